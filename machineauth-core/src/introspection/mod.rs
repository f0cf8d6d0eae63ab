//! Tokens that only their issuer can read, by introspection (RFC 7662).
//!
//! [`Introspection`] asks the issuer what a token is and remembers the answer, so that a token which is used a thousand
//! times a minute is asked about once. It is built so that nobody can make it ask too often or trust too long:
//!
//! * an answer serves until the token expires, and never longer than a stated time; a verifier applies the
//!   [`RevocationSet`](crate::RevocationSet) to it at every request, so what is revoked is refused without asking again;
//! * "not active" is remembered too, for a shorter time, and in a place of its own: invented tokens push out no good one;
//! * everybody who waits for the same token waits for one and the same question;
//! * only so many questions are asked at once, and only so many wait;
//! * a question without an answer refuses the request with 503. It never lets a token through.
//!
//! A [`Verifier`](crate::Verifier) with an [`Introspector`] takes both kinds of token: JWTs are verified here, any other
//! text is asked about.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use machineauth_core::introspection::{HttpIntrospection, Introspection};
//! use machineauth_core::{HttpKeys, JwksCache, Verifier};
//!
//! # fn main() -> Result<(), machineauth_core::Error> {
//! let issuer = "https://auth.example.com";
//! let endpoint = HttpIntrospection::discover(issuer, "api-1", "its-secret")?;
//! let verifier = Verifier::builder(issuer, "https://api.example.com")
//!     .jwks(JwksCache::new(HttpKeys::discover(issuer)?))
//!     .introspection(Introspection::new(issuer, endpoint))
//!     .build()?;
//! # Ok(()) }
//! ```

mod answer;
mod cache;
mod flights;
#[cfg(feature = "http")]
mod http;
mod signed;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::answer::Judged;
use self::cache::Answers;
use self::flights::Flights;
#[cfg(feature = "http")]
pub use self::http::HttpIntrospection;
use self::signed::SignedAnswers;
use crate::base64url;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::jwks::JwksCache;
use crate::jws::MAX_TOKEN_LENGTH;
use crate::verifier::Agent;

/// Asks an issuer what tokens are.
///
/// Neither method looks at the audience, at revocations, or at the time beyond the answer's own: whoever calls does.
pub trait Introspector: Send + Sync + fmt::Debug {
    /// What is remembered of `token`; `None` when the issuer must be asked. Never waits.
    fn known(&self, token: &str) -> Option<Verdict>;

    /// What the issuer says of `token`, asked within the time that a remembered answer may serve.
    fn introspect<'a>(&'a self, token: &'a str) -> IntrospectFuture<'a>;
}

/// The agent that a token speaks for, or why it speaks for none:
///
/// * [`ErrorKind::Inactive`] when the issuer says so;
/// * [`ErrorKind::InvalidType`] when it is no access token, and other kinds when the answer is not one that a token of
///   this issuer can have;
/// * [`ErrorKind::IntrospectionUnavailable`] when there is no answer. It says nothing about the token.
pub type Verdict = Result<Arc<Agent>, Error>;

/// What [`Introspector::introspect`] returns.
pub type IntrospectFuture<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Where an [`Introspection`] gets its answers from. [`HttpIntrospection`] asks an issuer.
pub trait AskIssuer: Send + Sync + fmt::Debug {
    /// Asks once. The caller bounds how long that may take.
    fn ask<'a>(&'a self, token: &'a str, form: AnswerForm) -> AskFuture<'a>;
}

/// What [`AskIssuer::ask`] returns: the body of an answer that came in the form asked for.
pub type AskFuture<'a> = Pin<Box<dyn Future<Output = Result<Bytes, AskError>> + Send + 'a>>;

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// `application/json` (RFC 7662 §2.2).
    Json,
    /// `application/token-introspection+jwt` (RFC 9701 §4).
    Jwt,
}

/// Why a question had no answer; it is logged, and shown to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The issuer does not take our credentials.
    Unauthorized,
    /// An answer with another status than 200.
    Status(u16),
    /// An answer longer than 64 KiB.
    TooLarge,
    /// The issuer's metadata does not say where its introspection endpoint is, or says so in a way that is not to be
    /// trusted.
    NoEndpoint,
    /// The answer is not of the type that was asked for.
    WrongContentType,
    /// The answer is no introspection answer, or it is not signed as it must be.
    Unacceptable(ErrorKind),
    /// The credentials could not be read.
    NoCredentials,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the connection failed",
            Self::TimedOut => "no answer in time",
            Self::Unauthorized => "the issuer refuses our credentials",
            Self::Status(status) => return write!(f, "answered with status {status}"),
            Self::TooLarge => "the answer is longer than 64 KiB",
            Self::NoEndpoint => "the metadata does not name a usable introspection endpoint",
            Self::WrongContentType => "the answer is not of the type that was asked for",
            Self::Unacceptable(kind) => return write!(f, "the answer is not acceptable: {kind:?}"),
            Self::NoCredentials => "the client secret could not be read",
        })
    }
}

impl std::error::Error for AskError {}

/// Asks one issuer about tokens, and remembers what it said. Clones share everything.
#[derive(Clone, Debug)]
pub struct Introspection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    issuer: String,
    source: Box<dyn AskIssuer>,
    signed: Option<SignedAnswers>,
    missing_audience: Option<String>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    answers: Answers,
    flights: Flights,
    asking: Semaphore,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    max_age: Duration,
    inactive_age: Duration,
    patience: Duration,
    max_concurrent: usize,
    cache_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(60),
            inactive_age: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            max_concurrent: 32,
            cache_bytes: 16 * 1024 * 1024,
        }
    }
}

impl Introspection {
    /// Asks `source` about tokens of `issuer`, with the default limits, which [`IntrospectionBuilder`] states.
    pub fn new(issuer: impl Into<String>, source: impl AskIssuer + 'static) -> Self {
        Self::builder(issuer, source).made()
    }

    /// With limits of its own.
    pub fn builder(
        issuer: impl Into<String>,
        source: impl AskIssuer + 'static,
    ) -> IntrospectionBuilder {
        IntrospectionBuilder {
            issuer: issuer.into(),
            source: Box::new(source),
            signed: None,
            missing_audience: None,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        }
    }

    async fn answer_for(&self, token: &str) -> Verdict {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(Error::because(
                ErrorKind::MalformedToken,
                "it is longer than 16 KiB",
            ));
        }
        if let Some(verdict) = self.known(token) {
            return verdict;
        }
        let shared = Arc::clone(&self.0);
        let flight = self.0.flights.join_or_start(token, async move |token| {
            shared.ask_and_remember(&token).await
        });
        let verdict = match flight {
            Some(landing) => landing.verdict().await,
            None => None,
        };
        verdict.unwrap_or(Err(unavailable()))
    }
}

impl Introspector for Introspection {
    fn known(&self, token: &str) -> Option<Verdict> {
        self.0.answers.get(token, self.0.clock.now())
    }

    fn introspect<'a>(&'a self, token: &'a str) -> IntrospectFuture<'a> {
        Box::pin(self.answer_for(token))
    }
}

impl Shared {
    async fn ask_and_remember(&self, token: &str) -> Verdict {
        let asked = timeout(self.limits.patience, self.ask(token)).await;
        let judged = match asked.unwrap_or(Err(AskError::TimedOut)) {
            Ok(judged) => judged,
            Err(error) => {
                tracing::warn!(issuer = %self.issuer, reason = %error, "a token could not be introspected");
                return Err(unavailable());
            }
        };
        if let Err(error) = &judged.verdict
            && error.kind() != ErrorKind::Inactive
        {
            tracing::warn!(issuer = %self.issuer, reason = %error, "an introspection answer is not acceptable");
        }
        self.answers.insert(token, &judged);
        judged.verdict
    }

    async fn ask(&self, token: &str) -> Result<Judged, AskError> {
        let _turn = self.asking.acquire().await;
        let form = match self.signed {
            Some(_) => AnswerForm::Jwt,
            None => AnswerForm::Json,
        };
        // Before the question, so that no answer serves longer than it says.
        let now = self.clock.now();
        let body = self.source.ask(token, form).await?;
        let members = match &self.signed {
            Some(signed) => signed.open(&body, &self.issuer, now).await,
            None => answer::members(&body),
        };
        // What the issuer fails to say is not the token's fault.
        let members = members.map_err(|error| AskError::Unacceptable(error.kind()))?;
        let verdict = match answer::is_active(&members) {
            None => return Err(AskError::Unacceptable(ErrorKind::MalformedToken)),
            Some(false) => Err(ErrorKind::Inactive.into()),
            Some(true) => self.judge(members, now),
        };
        Ok(Judged::at(now, verdict, &self.limits))
    }

    fn judge(
        &self,
        members: serde_json::Map<String, serde_json::Value>,
        now: Timestamp,
    ) -> Verdict {
        let latest = now.saturating_add(self.limits.max_age);
        let audience = self.missing_audience.as_deref();
        let claims = answer::claims(members, &self.issuer, audience, latest)?;
        if now >= Timestamp::from_secs(claims.expires_at) {
            return Err(ErrorKind::Expired.into());
        }
        Ok(Arc::new(Agent::introspected(claims)))
    }
}

/// Whether `token` is meant to be a JWT (RFC 7519 §3): its first part is the encoding of something in braces. Then it is
/// judged as one, and nobody is asked.
pub(crate) fn is_jwt(token: &str) -> bool {
    let Some((header, _)) = token.split_once('.') else {
        return false;
    };
    base64url::decode(header).is_some_and(|header| header.trim_ascii_start().starts_with(b"{"))
}

fn unavailable() -> Error {
    ErrorKind::IntrospectionUnavailable.into()
}

/// Sets the limits of an [`Introspection`].
#[derive(Debug)]
#[must_use]
pub struct IntrospectionBuilder {
    issuer: String,
    source: Box<dyn AskIssuer>,
    signed: Option<SignedAnswers>,
    missing_audience: Option<String>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl IntrospectionBuilder {
    /// How long an answer serves at most. Default 60 s. Without a revocation feed, this is also how long a revoked token
    /// lives on.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.limits.max_age = max_age;
        self
    }

    /// How long a token that is not active is refused without asking again. Default 10 s.
    pub fn inactive_age(mut self, age: Duration) -> Self {
        self.limits.inactive_age = age;
        self
    }

    /// How long one request waits for an answer at most, in the queue and for the issuer. Default 5 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.limits.patience = patience;
        self
    }

    /// How many questions are asked at once. Default 32. Up to 32 times as many tokens wait; more are refused at once.
    pub fn max_concurrent(mut self, questions: usize) -> Self {
        self.limits.max_concurrent = questions;
        self
    }

    /// How much memory answers may take, in bytes. Default 16 MiB; a fifth of it is for tokens that are not active.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.limits.cache_bytes = bytes;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Demands answers as JWTs (RFC 9701), signed by one of the issuer's `keys` and meant for `client_id`, which is the
    /// client that asks. An unsigned answer is then no answer.
    pub fn signed_answers(mut self, keys: JwksCache, client_id: impl Into<String>) -> Self {
        self.signed = Some(SignedAnswers::new(keys, client_id.into()));
        self
    }

    /// Takes an answer without `aud` as one for `audience`.
    ///
    /// For an issuer that never says for whom a token is, and says "active" only to whom it is for. With any other, a
    /// token for one service opens all (RFC 9700 §2.3).
    pub fn danger_assume_audience(mut self, audience: impl Into<String>) -> Self {
        self.missing_audience = Some(audience.into());
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the issuer is empty, or nothing could be asked at once.
    pub fn build(self) -> Result<Introspection, Error> {
        let invalid = |what| Err(Error::because(ErrorKind::InvalidConfiguration, what));
        if self.issuer.is_empty() {
            return invalid("the issuer must not be empty");
        }
        if !(1..=Semaphore::MAX_PERMITS / 32).contains(&self.limits.max_concurrent) {
            return invalid("at least one question must be asked at once");
        }
        Ok(self.made())
    }

    fn made(self) -> Introspection {
        let limits = self.limits;
        Introspection(Arc::new(Shared {
            issuer: self.issuer,
            source: self.source,
            signed: self.signed,
            missing_audience: self.missing_audience,
            clock: self.clock,
            limits,
            answers: Answers::new(limits.cache_bytes),
            flights: Flights::new(limits.max_concurrent.saturating_mul(32)),
            asking: Semaphore::new(limits.max_concurrent),
        }))
    }
}

#[cfg(test)]
mod tests;
