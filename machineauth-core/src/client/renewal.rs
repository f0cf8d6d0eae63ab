//! When to ask for a token, and who waits for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{AccessToken, IssuedToken, TokenError, TokenErrorKind, TokenFuture, TokenSource};
use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};
use crate::crypto;

/// One request may take this long, whatever the issuer does.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A token is renewed this long before it expires, or a fifth of its life before where that is shorter.
const RENEWAL_WINDOW: Duration = Duration::from_secs(5 * 60);

/// A token is not sent any more this long before it expires, or a tenth of its life before where that is shorter: it is on
/// the way for a while, and clocks differ.
const MARGIN: Duration = Duration::from_secs(10);

/// How long a token lives whose issuer does not say.
const ASSUMED_LIFE: Duration = Duration::from_secs(5 * 60);

/// A token that lives shorter is of no use: every call would ask for one.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// How long the issuer is left alone after failures.
const PAUSES: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};

/// An issuer that asks for more is asked again all the same.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How long after one token was given up no other is.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(10);

/// Makes one attempt to get a token. [`ClientCredentials`](super::ClientCredentials) asks an issuer.
pub trait RequestToken: Send + Sync + fmt::Debug {
    /// Asks once. The caller bounds how long that may take.
    fn request(&self) -> RequestFuture<'_>;
}

/// What [`RequestToken::request`] returns.
pub type RequestFuture<'a> =
    Pin<Box<dyn Future<Output = Result<IssuedToken, TokenError>> + Send + 'a>>;

/// Keeps a token of its source at hand. Clones share it. See the [module](super) for when it asks.
#[derive(Clone, Debug)]
pub struct Renewing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Box<dyn RequestToken>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    held: ArcSwapOption<Held>,
    asking: Mutex<Asking>,
}

/// A token, and what to do with it when.
#[derive(Debug)]
struct Held {
    token: Arc<AccessToken>,
    renew_at: Timestamp,
    usable_until: Timestamp,
}

/// When the issuer may be asked, and whether an answer is awaited.
#[derive(Debug, Default)]
struct Asking {
    landing: Option<watch::Receiver<()>>,
    failures: u32,
    last_error: Option<TokenError>,
    not_before: Timestamp,
    last_failure: Timestamp,
    given_up_at: Option<Timestamp>,
    tokens: u64,
}

enum Turn {
    Wait(watch::Receiver<()>),
    Leave(TokenError),
}

impl Renewing {
    /// Keeps tokens of `source` at hand. Nothing is asked before one is needed. One caller waits for `patience` at most.
    pub fn new(
        source: impl RequestToken + 'static,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Self {
        Self(Arc::new(Shared {
            source: Box::new(source),
            clock,
            patience,
            held: ArcSwapOption::empty(),
            asking: Mutex::default(),
        }))
    }

    async fn wait_for_token(&self) -> Result<Arc<AccessToken>, TokenError> {
        if let Some(token) = self.current() {
            return Ok(token);
        }
        let mut landing = match self.join_or_ask(self.0.clock.now()) {
            Turn::Wait(landing) => landing,
            Turn::Leave(error) => return Err(error),
        };
        // The sender sends nothing: it goes away when the request is over, even by a panic.
        let landed = async { while landing.changed().await.is_ok() {} };
        if timeout(self.0.patience, landed).await.is_err() {
            return Err(TokenErrorKind::TimedOut.into());
        }
        match self.0.usable(self.0.clock.now()) {
            Some(held) => Ok(Arc::clone(&held.token)),
            None => Err(self.0.last_error()),
        }
    }

    fn join_or_ask(&self, now: Timestamp) -> Turn {
        let mut asking = self.0.asking();
        if let Some(landing) = asking.under_way() {
            return Turn::Wait(landing);
        }
        if let Some(error) = asking.must_not_ask(now) {
            return Turn::Leave(error);
        }
        let Ok(runtime) = Handle::try_current() else {
            return Turn::Leave(TokenErrorKind::NoRuntime.into());
        };
        let (in_flight, landing) = watch::channel(());
        asking.landing = Some(landing.clone());
        let shared = Arc::clone(&self.0);
        // A task of its own: a caller that goes away must not end a request that others wait for.
        runtime.spawn(async move {
            shared.ask_once(now).await;
            drop(in_flight);
        });
        Turn::Wait(landing)
    }
}

impl TokenSource for Renewing {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(self.wait_for_token())
    }

    fn current(&self) -> Option<Arc<AccessToken>> {
        let now = self.0.clock.now();
        let held = self.0.usable(now)?;
        if now >= held.renew_at {
            self.join_or_ask(now);
        }
        Some(Arc::clone(&held.token))
    }

    fn refused(&self, token: &AccessToken) -> bool {
        let now = self.0.clock.now();
        let mut asking = self.0.asking();
        let held = self.0.held.load();
        if held
            .as_ref()
            .is_none_or(|held| held.token.serial != token.serial)
        {
            return true;
        }
        if asking
            .given_up_at
            .is_some_and(|at| at <= now && now < at.saturating_add(BETWEEN_REFUSALS))
        {
            return false;
        }
        asking.given_up_at = Some(now);
        self.0.held.store(None);
        true
    }
}

impl Shared {
    fn usable(&self, now: Timestamp) -> Option<Arc<Held>> {
        let held = self.held.load_full()?;
        (now < held.usable_until).then_some(held)
    }

    async fn ask_once(&self, started: Timestamp) {
        let asked = timeout(REQUEST_TIMEOUT, self.source.request()).await;
        let issued = asked.unwrap_or(Err(TokenErrorKind::TimedOut.into()));
        let mut asking = self.asking();
        let held = issued.and_then(|issued| {
            Held::from(issued, started, asking.tokens).ok_or(TokenErrorKind::MalformedAnswer.into())
        });
        match held {
            Ok(held) => {
                asking.succeeded();
                self.held.store(Some(Arc::new(held)));
            }
            Err(error) => {
                let now = self.clock.now();
                asking.failed(error, now);
                let pause = asking.not_before.duration_since(now);
                tracing::warn!(reason = %error, ?pause, "no access token");
            }
        }
    }

    fn last_error(&self) -> TokenError {
        let error = self.asking().last_error;
        error.unwrap_or(TokenErrorKind::MalformedAnswer.into())
    }

    /// No code between lock and unlock can leave it half changed.
    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn from(issued: IssuedToken, asked_at: Timestamp, serial: u64) -> Option<Self> {
        let life = issued.expires_in.unwrap_or(ASSUMED_LIFE);
        if life < SHORTEST_LIFE {
            return None;
        }
        let expires_at = asked_at.saturating_add(life);
        let [random] = crypto::random::<1>();
        let window = RENEWAL_WINDOW.min(life / 5);
        let earlier = window.mul_f64(f64::from(random) / 2550.0);
        Some(Self {
            token: Arc::new(AccessToken::new(issued, expires_at, serial)?),
            renew_at: expires_at.saturating_sub(window + earlier),
            usable_until: expires_at.saturating_sub(MARGIN.min(life / 10)),
        })
    }
}

impl Asking {
    fn under_way(&self) -> Option<watch::Receiver<()>> {
        let landing = self.landing.as_ref()?;
        landing.has_changed().is_ok().then(|| landing.clone())
    }

    /// The last error, while the issuer is to be left alone.
    fn must_not_ask(&self, now: Timestamp) -> Option<TokenError> {
        // A clock that was put back must not freeze the source until it has caught up.
        let waiting = self.last_failure <= now && now < self.not_before;
        let left = self.not_before.duration_since(now);
        let error = self.last_error.filter(|_| waiting)?;
        Some(error.retry_after(error.asked_pause().map(|_| left)))
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.last_error = None;
        self.not_before = Timestamp::default();
        self.tokens += 1;
    }

    fn failed(&mut self, error: TokenError, now: Timestamp) {
        let asked = error.asked_pause().unwrap_or_default();
        let pause = PAUSES
            .after(self.failures)
            .max(asked.min(LONGEST_ASKED_PAUSE));
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error);
        self.last_failure = now;
        self.not_before = now.saturating_add(pause);
    }
}

#[cfg(test)]
#[path = "renewal_tests.rs"]
mod tests;
