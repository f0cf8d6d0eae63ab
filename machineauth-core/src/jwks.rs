//! The issuer's published keys, kept at hand (RFC 7517 §5).
//!
//! [`JwksCache`] answers from memory. It asks its source when a token names a key that it does not know, or when what
//! it has is due for a refresh, and is built so that nobody can make it ask too often, wait too long, or forget good
//! keys:
//!
//! * everybody who misses a key waits for one and the same fetch, for a bounded time;
//! * after each attempt, successful or not, the source is left alone for the cool-down, however many unknown keys
//!   are asked for meanwhile;
//! * an answer replaces the keys only when it is a key set with at least one usable key;
//! * while the source is away the last good keys serve, up to a stated age.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::crypto;
use crate::error::{Error, ErrorKind};
use crate::keyset::KeySet;

/// One attempt may take this long, whatever the source does.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The first pause before any keys are known; it doubles up to the cool-down. An API that starts a moment before its
/// issuer should not refuse everybody for a whole cool-down.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Where a [`JwksCache`] gets its keys from. [`HttpKeys`](crate::fetch::HttpKeys) asks an issuer.
pub trait FetchKeys: Send + Sync + fmt::Debug {
    /// Makes one attempt to get the JWK Set document, as it came. The cache bounds how long it may take.
    fn fetch(&self) -> FetchFuture<'_>;
}

/// What [`FetchKeys::fetch`] returns.
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send + 'a>>;

/// A key set together with the number that tells it from the ones before.
#[derive(Debug)]
pub struct Keys {
    set: KeySet,
    generation: u64,
    /// What the set was parsed from: the same document again is no new generation.
    document: Bytes,
}

impl Keys {
    /// The keys.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Moves each time the published document changes.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The last good keys of one issuer. Clones share them.
#[derive(Clone, Debug)]
pub struct JwksCache(Arc<Shared>);

impl JwksCache {
    /// A cache with the default limits, which [`JwksCacheBuilder`] states. Nothing is fetched before it is needed.
    pub fn new(source: impl FetchKeys + 'static) -> Self {
        let limits = Limits::default();
        Self(Arc::new(Shared::new(
            Box::new(source),
            Arc::new(SystemClock),
            limits,
        )))
    }

    /// A cache with limits of its own.
    pub fn builder(source: impl FetchKeys + 'static) -> JwksCacheBuilder {
        JwksCacheBuilder {
            source: Box::new(source),
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        }
    }

    /// The keys in force at `now`.
    ///
    /// When they are due for a refresh, one starts in the background; this call never waits.
    ///
    /// # Errors
    /// [`ErrorKind::KeysUnavailable`] while no keys are known, or when the last good ones are older than the maximum
    /// age.
    pub fn current(&self, now: Timestamp) -> Result<Arc<Keys>, Error> {
        self.generation(now)?;
        self.0.keys.load_full().ok_or_else(unavailable)
    }

    /// The generation of the keys in force at `now`, without touching the keys: what a warm check asks.
    ///
    /// # Errors
    /// As [`JwksCache::current`].
    pub fn generation(&self, now: Timestamp) -> Result<u64, Error> {
        let shared = &self.0;
        if now.as_millis() >= shared.refresh_at.load(Ordering::Relaxed) {
            self.refresh_in_background(now);
        }
        if now.as_millis() >= shared.usable_until.load(Ordering::Acquire) {
            return Err(unavailable());
        }
        Ok(shared.generation.load(Ordering::Acquire))
    }

    /// Asks the source for its present keys, unless somebody did within the cool-down; waits for the answer, and for
    /// that of an attempt under way, but not beyond the [patience](JwksCacheBuilder::patience).
    ///
    /// There is nothing to learn from the outcome but to look again. A caller that goes away does not stop the
    /// attempt. Call it inside a Tokio runtime with time enabled; elsewhere it does nothing.
    pub async fn refresh(&self) {
        let Some(mut landing) = self.join_or_start_fetch(self.0.clock.now()) else {
            return;
        };
        // The sender sends nothing: it goes away when the attempt is over, even by a panic.
        let landed = async { while landing.changed().await.is_ok() {} };
        // When patience ends first, the keys are simply still the old ones.
        let _ = timeout(self.0.limits.patience, landed).await;
    }

    #[cold]
    fn refresh_in_background(&self, now: Timestamp) {
        // Whatever comes of it, no request needs to look before the cool-down is over.
        self.0.refresh_due(now, self.0.limits.cool_down);
        self.join_or_start_fetch(now);
    }

    fn join_or_start_fetch(&self, now: Timestamp) -> Option<watch::Receiver<()>> {
        let mut fetching = self.0.fetching();
        if let Some(landing) = fetching.under_way() {
            return Some(landing);
        }
        let runtime = Handle::try_current().ok()?;
        let has_keys = self.0.keys.load().is_some();
        if !fetching.may_start(now, has_keys, self.0.limits.cool_down) {
            return None;
        }
        let (in_flight, landing) = watch::channel(());
        fetching.started(now, landing.clone());
        let shared = Arc::clone(&self.0);
        // A task of its own: a client that hangs up must not end a fetch that others wait for.
        runtime.spawn(async move {
            shared.fetch_once(now).await;
            drop(in_flight);
        });
        Some(landing)
    }
}

/// Sets the limits of a [`JwksCache`].
#[derive(Debug)]
pub struct JwksCacheBuilder {
    source: Box<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl JwksCacheBuilder {
    /// How long the source is left alone after each attempt. Default 30 s, at least 1 s.
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.limits.cool_down = cool_down;
        self
    }

    /// How old the keys may get before the next use starts a refresh in the background. Default 5 min, at least the
    /// cool-down. Each time it is shortened by a random part of up to a tenth, so that a fleet does not ask at once.
    #[must_use]
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.limits.refresh_every = interval;
        self
    }

    /// How long the last good keys serve while the source fails. Default 24 h, at least the refresh interval.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.limits.max_age = max_age;
        self
    }

    /// How long one request waits for keys at most. Default 5 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.limits.patience = patience;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The cache.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the limits contradict each other.
    pub fn build(self) -> Result<JwksCache, Error> {
        self.limits.validate()?;
        Ok(JwksCache(Arc::new(Shared::new(
            self.source,
            self.clock,
            self.limits,
        ))))
    }
}

/// Why one attempt to get keys failed; it is logged, and shown to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// An answer with another status than 200. Redirects are never followed.
    Status(u16),
    /// An answer longer than 512 KiB.
    TooLarge,
    /// The issuer's metadata is no JSON object with `issuer` and `jwks_uri` (RFC 8414 §2).
    InvalidMetadata,
    /// The metadata names another issuer than the one asked (RFC 8414 §3.3).
    WrongIssuer,
    /// The metadata points to a URL that may not be asked: neither https nor loopback, or less safe than the issuer's.
    ForbiddenUrl,
    /// The answer is no JWK Set (RFC 7517 §5).
    InvalidKeySet,
    /// The answer is a JWK Set in which no key can be used.
    NoUsableKey,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the connection failed",
            Self::TimedOut => "no answer in time",
            Self::Status(status) => return write!(f, "answered with status {status}"),
            Self::TooLarge => "the answer is longer than 512 KiB",
            Self::InvalidMetadata => "the metadata has no `issuer` and `jwks_uri`",
            Self::WrongIssuer => "the metadata names another issuer",
            Self::ForbiddenUrl => "the metadata's `jwks_uri` is neither https nor loopback",
            Self::InvalidKeySet => "the answer is no JWK Set",
            Self::NoUsableKey => "the JWK Set has no usable key",
        })
    }
}

impl std::error::Error for FetchError {}

#[derive(Debug)]
struct Limits {
    cool_down: Duration,
    refresh_every: Duration,
    max_age: Duration,
    patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cool_down: Duration::from_secs(30),
            refresh_every: Duration::from_secs(5 * 60),
            max_age: Duration::from_secs(24 * 60 * 60),
            patience: Duration::from_secs(5),
        }
    }
}

impl Limits {
    fn validate(&self) -> Result<(), Error> {
        let wrong = |detail| Err(Error::because(ErrorKind::InvalidConfiguration, detail));
        if self.cool_down < Duration::from_secs(1) {
            return wrong("the key cache's cool-down must be at least 1 s");
        }
        if self.refresh_every < self.cool_down {
            return wrong(
                "the key cache's refresh interval must not be shorter than its cool-down",
            );
        }
        if self.max_age < self.refresh_every {
            return wrong(
                "the key cache's maximum age must not be shorter than its refresh interval",
            );
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Shared {
    source: Box<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    keys: ArcSwapOption<Keys>,
    /// Of `keys`, and stored after them; zero while there are none.
    generation: AtomicU64,
    /// Unix milliseconds; zero while there are no keys.
    usable_until: AtomicU64,
    /// Unix milliseconds; never, while there are no keys: then requests ask by themselves.
    refresh_at: AtomicU64,
    fetching: Mutex<Fetching>,
}

impl Shared {
    fn new(source: Box<dyn FetchKeys>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            source,
            clock,
            limits,
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            usable_until: AtomicU64::new(0),
            refresh_at: AtomicU64::new(u64::MAX),
            fetching: Mutex::default(),
        }
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_once(&self, asked_at: Timestamp) {
        let answer = timeout(FETCH_TIMEOUT, self.source.fetch()).await;
        let accepted = answer
            .unwrap_or(Err(FetchError::TimedOut))
            .and_then(|document| self.accept(document, asked_at));
        if let Err(error) = accepted {
            let serving = self.keys.load().is_some();
            tracing::warn!(source = ?self.source, %error, serving_last_good_keys = serving, "fetching keys failed");
        }
    }

    /// Parses first and swaps then, so that a bad answer changes nothing.
    fn accept(&self, document: Bytes, asked_at: Timestamp) -> Result<(), FetchError> {
        let known = self.keys.load_full();
        if known.as_ref().is_none_or(|keys| keys.document != document) {
            let set = KeySet::parse(&document).map_err(|_| FetchError::InvalidKeySet)?;
            if set.is_empty() {
                return Err(FetchError::NoUsableKey);
            }
            let generation = known.map_or(0, |keys| keys.generation) + 1;
            tracing::info!(source = ?self.source, generation, keys = set.len(), skipped = set.skipped(), "new keys");
            self.keys.store(Some(Arc::new(Keys {
                set,
                generation,
                document,
            })));
            self.generation.store(generation, Ordering::Release);
        }
        // Counted from before the question: an answer that was long under way is as old as that.
        let usable_until = asked_at.saturating_add(self.limits.max_age);
        self.usable_until
            .store(usable_until.as_millis(), Ordering::Release);
        self.refresh_due(asked_at, shortened(self.limits.refresh_every));
        Ok(())
    }

    fn refresh_due(&self, now: Timestamp, after: Duration) {
        let at = now.saturating_add(after).as_millis();
        self.refresh_at.store(at, Ordering::Relaxed);
    }
}

/// By a random part of up to a tenth.
fn shortened(interval: Duration) -> Duration {
    let [random] = crypto::random::<1>();
    interval.mul_f64(1.0 - f64::from(random) / 2550.0)
}

/// When the source was asked last, and whether the answer is still awaited.
#[derive(Debug, Default)]
struct Fetching {
    last_start: Option<Timestamp>,
    attempts: u32,
    landing: Option<watch::Receiver<()>>,
}

impl Fetching {
    fn under_way(&self) -> Option<watch::Receiver<()>> {
        let landing = self.landing.as_ref()?;
        landing.has_changed().is_ok().then(|| landing.clone())
    }

    fn may_start(&self, now: Timestamp, has_keys: bool, cool_down: Duration) -> bool {
        let Some(last_start) = self.last_start else {
            return true;
        };
        let pause = if has_keys {
            cool_down
        } else {
            let doublings = self.attempts.saturating_sub(1).min(16);
            cool_down.min(FIRST_PAUSE * (1 << doublings))
        };
        // A clock that was put back must not freeze the cache until it has caught up.
        now < last_start || now.duration_since(last_start) >= pause
    }

    fn started(&mut self, now: Timestamp, landing: watch::Receiver<()>) {
        self.last_start = Some(now);
        self.attempts = self.attempts.saturating_add(1);
        self.landing = Some(landing);
    }
}

fn unavailable() -> Error {
    ErrorKind::KeysUnavailable.into()
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
