//! The issuer's revocation feed: a connection that stays open, so that no request has to ask.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind};
use crate::follower::{Fault, Follower, Progress};
use crate::outbound::{PlainHttp, basic, client, has_type};
use crate::revocation::RevocationSet;
use crate::sse::EventReader;

const EVENT_STREAM: &str = "text/event-stream";

/// Between one connection and the next.
const PAUSES: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
};

/// Follows `GET {issuer}/oauth/revocations` in a background task and keeps a [`RevocationSet`] up to date.
///
/// The task connects, takes a snapshot, then increments; when the connection breaks or falls silent it connects
/// again, with pauses that grow to 5 s, and resumes where it was. What is known stays in force meanwhile, and
/// [`RevocationSet::staleness`] grows: the verifier's policy decides how long that is acceptable.
///
/// The task ends when this value is dropped.
///
/// ```no_run
/// use machineauth_core::{RevocationFeed, RevocationSet};
///
/// # async fn example() -> Result<(), machineauth_core::Error> {
/// let revocations = RevocationSet::new();
/// let feed = RevocationFeed::of("https://issuer.example", revocations.clone())
///     .client_credentials("api-1", "its-secret")
///     .start()?;
/// feed.ready().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RevocationFeed {
    status: watch::Receiver<FeedStatus>,
    task: AbortHandle,
}

/// How the feed is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedStatus {
    /// A whole snapshot has been taken since the start.
    pub ready: bool,
    /// The connection is up, and the issuer vouches that nothing is missing.
    pub live: bool,
    /// How many connections have failed or ended since the start.
    pub disconnects: u64,
}

impl RevocationFeed {
    /// Follows the feed of `issuer` once [started](RevocationFeedBuilder::start).
    pub fn of(issuer: impl Into<String>, set: RevocationSet) -> RevocationFeedBuilder {
        RevocationFeedBuilder {
            issuer: issuer.into(),
            set,
            authorization: Ok(None),
            clock: Arc::new(SystemClock),
            idle_timeout: Duration::from_secs(30),
            plain_http: PlainHttp::LoopbackOnly,
        }
    }

    /// Waits until the set holds a whole snapshot. Returns at once when it does already; never, while the issuer
    /// cannot be reached: set a time limit around it when the service should start all the same.
    pub async fn ready(&self) {
        let mut status = self.status.clone();
        if status.wait_for(|status| status.ready).await.is_err() {
            // The task is gone together with its runtime; whoever still waits here waits for something else.
            std::future::pending::<()>().await;
        }
    }

    /// How the feed is doing, for metrics and health checks.
    pub fn status(&self) -> FeedStatus {
        *self.status.borrow()
    }
}

impl Drop for RevocationFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says how to follow a feed.
pub struct RevocationFeedBuilder {
    issuer: String,
    set: RevocationSet,
    authorization: Result<Option<HeaderValue>, Error>,
    clock: Arc<dyn Clock>,
    idle_timeout: Duration,
    plain_http: PlainHttp,
}

impl RevocationFeedBuilder {
    /// Authenticates with HTTP Basic, form-encoded first as RFC 6749 §2.3.1 has it. Default: no credentials.
    #[must_use]
    pub fn client_credentials(mut self, client_id: &str, client_secret: &str) -> Self {
        self.authorization = Ok(Some(basic(client_id, client_secret)));
        self
    }

    /// Authenticates with an organization's API key that has the scope `revocations:read`. The feed then has what concerns
    /// that organization.
    #[must_use]
    pub fn api_key(mut self, key: &str) -> Self {
        let value = HeaderValue::try_from(format!("Bearer {key}"));
        self.authorization = value
            .map(|mut value| {
                value.set_sensitive(true);
                Some(value)
            })
            .map_err(|_| Error::because(ErrorKind::InvalidConfiguration, "this is no API key"));
        self
    }

    /// How long the feed may be silent before the connection is given up. Heartbeats count as sound, bytes that mean
    /// nothing do not. Default 30 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Follows a feed over plain http from any host: whoever is in between can hide revocations.
    #[must_use]
    pub fn danger_allow_plain_http(mut self) -> Self {
        self.plain_http = PlainHttp::DangerAnywhere;
        self
    }

    /// Whether it could be started, anywhere.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the issuer is no https URL (or http on loopback), or the API key cannot be one.
    pub fn check(&self) -> Result<(), Error> {
        self.authorization.as_ref().map_err(|error| *error)?;
        self.url().map(drop)
    }

    fn url(&self) -> Result<Url, Error> {
        let base = self.issuer.trim_end_matches('/');
        self.plain_http.parse(&format!("{base}/oauth/revocations"))
    }

    /// Starts to follow, in a task on the present Tokio runtime.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`ErrorKind::InvalidConfiguration`] outside a Tokio runtime.
    pub fn start(self) -> Result<RevocationFeed, Error> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::because(
                ErrorKind::InvalidConfiguration,
                "a revocation feed must be started inside a Tokio runtime",
            )
        })?;
        let (report, status) = watch::channel(FeedStatus::default());
        let connector = Connector {
            url: self.url()?,
            client: client()?,
            authorization: self.authorization?,
            clock: self.clock,
            idle_timeout: self.idle_timeout,
            report,
        };
        let task = runtime.spawn(connector.run(Follower::new(self.set)));
        Ok(RevocationFeed {
            status,
            task: task.abort_handle(),
        })
    }
}

impl fmt::Debug for RevocationFeedBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationFeedBuilder")
            .field("issuer", &self.issuer)
            .field("authenticated", &matches!(self.authorization, Ok(Some(_))))
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

/// Keeps a connection, whatever happens to it.
struct Connector {
    url: Url,
    client: Client,
    authorization: Option<HeaderValue>,
    clock: Arc<dyn Clock>,
    idle_timeout: Duration,
    report: watch::Sender<FeedStatus>,
}

/// Why a connection ended; it is logged.
enum Ended {
    Unreachable,
    Status(StatusCode),
    ContentType,
    Silent,
    Closed,
    MalformedStream,
    Fault(Fault),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no connection"),
            Self::Status(status) => write!(f, "the issuer answered {status}"),
            Self::ContentType => f.write_str("the answer is no event stream"),
            Self::Silent => f.write_str("no event in time"),
            Self::Closed => f.write_str("the connection was closed"),
            Self::MalformedStream => f.write_str("the stream is malformed"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl Connector {
    async fn run(self, mut follower: Follower) {
        let mut failures = 0;
        loop {
            let ended = self.follow_once(&mut follower).await;
            follower.disconnected();
            let was_live = self.report.borrow().live;
            self.report.send_modify(|status| {
                status.live = false;
                status.disconnects += 1;
            });
            failures = if was_live { 0 } else { failures + 1 };
            let pause = PAUSES.after(failures);
            tracing::warn!(url = %self.url, reason = %ended, ?pause, "the revocation feed is down");
            sleep(pause).await;
        }
    }

    async fn follow_once(&self, follower: &mut Follower) -> Ended {
        match self.connect(follower.last_event_id()).await {
            Ok(response) => self.read(response, follower).await,
            Err(ended) => ended,
        }
    }

    async fn connect(&self, last_event_id: Option<&str>) -> Result<Response, Ended> {
        let request = self
            .client
            .get(self.url.clone())
            .headers(self.headers(last_event_id));
        let response = timeout_at(self.deadline(), request.send())
            .await
            .map_err(|_| Ended::Silent)?
            .map_err(|_| Ended::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(Ended::Status(response.status()));
        }
        if !has_type(response.headers(), EVENT_STREAM) {
            return Err(Ended::ContentType);
        }
        Ok(response)
    }

    fn headers(&self, last_event_id: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        // An id that is no header value cannot be sent back; without one the issuer starts with a snapshot.
        if let Some(Ok(id)) = last_event_id.map(HeaderValue::from_str) {
            headers.insert("last-event-id", id);
        }
        headers
    }

    async fn read(&self, mut response: Response, follower: &mut Follower) -> Ended {
        let mut reader = EventReader::default();
        let mut deadline = self.deadline();
        loop {
            let bytes = match timeout_at(deadline, response.chunk()).await {
                Err(_) => return Ended::Silent,
                Ok(Err(_) | Ok(None)) => return Ended::Closed,
                Ok(Ok(Some(bytes))) => bytes,
            };
            let Ok(events) = reader.push(&bytes) else {
                return Ended::MalformedStream;
            };
            for event in events {
                match follower.take(event, self.clock.now()) {
                    Ok(Progress::Ignored) => {}
                    Ok(Progress::Moving) => deadline = self.deadline(),
                    Ok(Progress::Live) => {
                        deadline = self.deadline();
                        self.report_live();
                    }
                    Err(fault) => return Ended::Fault(fault),
                }
            }
        }
    }

    fn report_live(&self) {
        let went_live = self.report.send_if_modified(|status| {
            let was_live = std::mem::replace(&mut status.live, true);
            status.ready = true;
            !was_live
        });
        if went_live {
            tracing::info!(url = %self.url, "the revocation feed is live");
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.idle_timeout
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
