//! What goes on beside the requests: keys are fetched, tokens asked about, revocations followed.
//!
//! Pingora gives each service a runtime of its own. An HTTP client belongs to the one on which it opened its connections,
//! so all of them live here, on the runtime of one background service; a request that needs an answer waits for it and
//! never does the asking.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use machineauth_core::feed::RevocationFeedBuilder;
use machineauth_core::introspection::{AnswerForm, AskError, AskFuture, AskIssuer};
use machineauth_core::jwks::{AnswerFuture, FetchError, FetchFuture, FetchKeys, KeysAnswer};
use machineauth_core::{Error, JwksCache, RevocationFeed};
use pingora_core::server::ShutdownWatch;
use pingora_core::services::ServiceReadyNotifier;
use pingora_core::services::background::BackgroundService;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long listeners wait for the first keys, unless it is said otherwise.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(3);

/// The runtime of the background service, once that runs. Clones name the same one.
#[derive(Clone, Debug, Default)]
pub struct Home(Arc<OnceLock<Handle>>);

impl Home {
    /// A home on the present Tokio runtime: for programs that have one of their own.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn here() -> Self {
        let home = Self::default();
        home.settle();
        home
    }

    /// Has `source` asked for keys there.
    pub fn keys(&self, source: impl FetchKeys + 'static) -> impl FetchKeys + 'static {
        AtHome {
            home: self.clone(),
            inner: Arc::new(source),
        }
    }

    /// Has `source` asked about tokens there.
    pub fn introspection(&self, source: impl AskIssuer + 'static) -> impl AskIssuer + 'static {
        AtHome {
            home: self.clone(),
            inner: Arc::new(source),
        }
    }

    pub(crate) fn settle(&self) {
        let _ = self.0.set(Handle::current());
    }
}

/// Something that is asked on the runtime of the background service.
struct AtHome<T> {
    home: Home,
    inner: Arc<T>,
}

impl<T: fmt::Debug> fmt::Debug for AtHome<T> {
    /// As what it asks: a snapshot of keys is known by that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: FetchKeys + 'static> FetchKeys for AtHome<T> {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(async {
            let answer = self.fetch_if_changed(None).await?;
            answer.document.ok_or(FetchError::Status(304))
        })
    }

    fn fetch_if_changed<'a>(&'a self, etag: Option<&'a str>) -> AnswerFuture<'a> {
        let Some(home) = self.home.0.get() else {
            return Box::pin(async { Err(FetchError::Unreachable) });
        };
        let (inner, etag) = (Arc::clone(&self.inner), etag.map(str::to_owned));
        let asking: tokio::task::JoinHandle<Result<KeysAnswer, FetchError>> =
            home.spawn(async move { inner.fetch_if_changed(etag.as_deref()).await });
        Box::pin(async { asking.await.unwrap_or(Err(FetchError::Unreachable)) })
    }
}

impl<T: AskIssuer + 'static> AskIssuer for AtHome<T> {
    fn ask<'a>(&'a self, token: &'a str, form: AnswerForm) -> AskFuture<'a> {
        let Some(home) = self.home.0.get() else {
            return Box::pin(async { Err(AskError::Unreachable) });
        };
        let (inner, token) = (Arc::clone(&self.inner), token.to_owned());
        let asking: tokio::task::JoinHandle<Result<Bytes, AskError>> =
            home.spawn(async move { inner.ask(&token, form).await });
        Box::pin(async { asking.await.unwrap_or(Err(AskError::Unreachable)) })
    }
}

/// A background service for a Pingora server. Let the proxy's service depend on it: then it listens once the keys are
/// there, or the issuer has kept it waiting for long enough.
///
/// ```no_run
/// use machineauth_core::{HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
/// use machineauth_pingora::Background;
/// use pingora_core::services::background::background_service;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut server = pingora_core::server::Server::new(None)?;
/// let issuer = "https://issuer.example";
/// let background = Background::default();
/// let jwks = JwksCache::new(background.home().keys(HttpKeys::discover(issuer)?));
/// let revocations = RevocationSet::new();
/// let background = background
///     .load(jwks.clone())
///     .follow(RevocationFeed::of(issuer, revocations.clone()));
/// let verifier = Verifier::builder(issuer, "artifacts").jwks(jwks).revocations(revocations).build()?;
///
/// let background = server.add_service(background_service("issuer", background));
/// # let edge = background_service("edge", Background::default());
/// let edge = server.add_service(edge);
/// edge.add_dependency(&background);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Background {
    home: Home,
    keys: Vec<JwksCache>,
    /// Taken when the service starts.
    feeds: Mutex<Vec<RevocationFeedBuilder>>,
    patience: Duration,
}

impl Default for Background {
    fn default() -> Self {
        Self {
            home: Home::default(),
            keys: Vec::new(),
            feeds: Mutex::default(),
            patience: DEFAULT_PATIENCE,
        }
    }
}

impl Background {
    /// Where HTTP clients are to work.
    pub fn home(&self) -> Home {
        self.home.clone()
    }

    /// Fetches these keys before anybody asks for one.
    #[must_use]
    pub fn load(mut self, keys: JwksCache) -> Self {
        self.keys.push(keys);
        self
    }

    /// Follows this feed as long as the service runs.
    #[must_use]
    pub fn follow(self, feed: RevocationFeedBuilder) -> Self {
        self.feeds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(feed);
        self
    }

    /// How long the start waits for keys and for the first snapshot of each feed. Default 3 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn start_feeds(&self) -> Result<Vec<RevocationFeed>, Error> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.drain(..).map(RevocationFeedBuilder::start).collect()
    }
}

#[async_trait]
impl BackgroundService for Background {
    async fn start_with_ready_notifier(
        &self,
        _shutdown: ShutdownWatch,
        ready: ServiceReadyNotifier,
    ) {
        self.home.settle();
        let feeds = match self.start_feeds() {
            Ok(feeds) => feeds,
            Err(error) => {
                tracing::error!(%error, "the revocation feeds cannot be followed");
                Vec::new()
            }
        };
        wait_for(&self.keys, &feeds, self.patience).await;
        ready.notify_ready();
        // Also while the server shuts down: the requests that are left over are judged as well. The runtime's end ends it.
        std::future::pending::<()>().await;
        drop(feeds);
    }
}

/// Waits until there are keys and a whole snapshot of each feed, but not for longer than `patience`.
pub(crate) async fn wait_for<'a>(
    keys: impl IntoIterator<Item = &'a JwksCache>,
    feeds: impl IntoIterator<Item = &'a RevocationFeed>,
    patience: Duration,
) {
    let mut loading = JoinSet::new();
    for keys in keys {
        let keys = keys.clone();
        loading.spawn(async move { keys.load().await.is_ok() });
    }
    let all = async {
        for feed in feeds {
            feed.ready().await;
        }
        while loading.join_next().await.is_some() {}
    };
    if timeout(patience, all).await.is_err() {
        tracing::warn!(
            ?patience,
            "an issuer keeps us waiting; starting without its keys or revocations"
        );
    }
}
