//! What a resource server answers when it refuses (RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 9728 §5.1).

mod auth_params;
mod protected_resource;
mod verdict;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use auth_params::AuthParams;
pub use protected_resource::ProtectedResource;
use verdict::Verdict;

use crate::bearer::Scheme;
use crate::dpop::{DPOP_NONCE, Dpop};
use crate::error::Error;
pub use crate::refusal::Protocol;
use crate::refusal::Refusal;
use crate::scope::ScopeSet;

/// Seconds after which keys or revocations may be back. Short: both heal within a moment of the issuer's return.
const RETRY_AFTER_SECONDS: u16 = 5;

/// The answer to a request that is refused: status, `WWW-Authenticate` and a JSON body, from one [`Error`].
///
/// ```
/// use machineauth_core::{Challenge, Error, ErrorKind, ScopeSet};
///
/// let error = Error::from(ErrorKind::InsufficientScope);
/// let needed: ScopeSet = "artifacts:read artifacts:write".parse()?;
/// let challenge = Challenge::new(&error).realm("artifacts").scopes(&needed);
///
/// assert_eq!(challenge.status(), 403);
/// assert_eq!(
///     challenge.www_authenticate().unwrap(),
///     "Bearer realm=\"artifacts\", error=\"insufficient_scope\", \
///      error_description=\"the access token lacks a scope that this request needs\", \
///      scope=\"artifacts:read artifacts:write\"",
/// );
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Challenge {
    error: Error,
    verdict: Verdict,
    description: Option<String>,
    realm: Option<String>,
    scopes: Option<String>,
    resource_metadata: Option<String>,
    dpop: Option<DpopChallenge>,
    acr_values: Option<String>,
    max_age: Option<u64>,
    protocol: Protocol,
}

/// What a client must know to prove possession.
#[derive(Clone, Debug)]
struct DpopChallenge {
    algorithms: String,
    nonce: Option<HeaderValue>,
}

impl Challenge {
    /// The answer to `error`.
    pub fn new(error: &Error) -> Self {
        Self {
            error: *error,
            verdict: Verdict::on(error.kind()),
            description: None,
            realm: None,
            scopes: None,
            resource_metadata: None,
            dpop: None,
            acr_values: None,
            max_age: None,
            protocol: Protocol::Http,
        }
    }

    /// Names the protection space (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(mut self, realm: &str) -> Self {
        self.realm = Some(realm.to_owned());
        self
    }

    /// Says it in these words instead of the error's own.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Says which scopes the request needs (RFC 6750 §3).
    #[must_use]
    pub fn scopes(mut self, scopes: &ScopeSet) -> Self {
        self.scopes = (!scopes.is_empty()).then(|| scopes.to_string());
        self
    }

    /// Says where the protected resource's metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn resource_metadata(mut self, url: &str) -> Self {
        self.resource_metadata = Some(url.to_owned());
        self
    }

    /// Says that tokens may be bound to keys, and what proofs must be like (RFC 9449 §7.1, §8).
    #[must_use]
    pub fn dpop(mut self, dpop: &Dpop) -> Self {
        self.dpop = Some(DpopChallenge {
            algorithms: dpop.algorithms(),
            nonce: dpop.nonce(),
        });
        self
    }

    /// Says which authentication context classes would do, space-delimited, the best first (RFC 9470 §3).
    #[must_use]
    pub fn acr_values(mut self, values: &str) -> Self {
        self.acr_values = Some(values.to_owned());
        self
    }

    /// Says how long ago the authentication may have been (RFC 9470 §3), in whole seconds.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age.as_secs());
        self
    }

    /// Answers in the protocol of the request: [`Protocol::of`] its headers. Default: HTTP.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.verdict.status()
    }

    /// The value of the `error` member of the body, and of the challenge where RFC 6750 §3.1 has it there.
    pub fn error_code(&self) -> &'static str {
        self.verdict.error_code()
    }

    /// The value of the `WWW-Authenticate` header; `None` when better credentials would not help, or when it is the proof
    /// of possession that was no good.
    pub fn www_authenticate(&self) -> Option<HeaderValue> {
        let is_about_proof = matches!(self.verdict, Verdict::InvalidProof | Verdict::NonceNeeded);
        (!is_about_proof)
            .then(|| self.challenge(Scheme::Bearer))
            .flatten()
    }

    /// The value of a second `WWW-Authenticate` header, for the scheme `DPoP` (RFC 9449 §7.1); `None` where that is not
    /// accepted.
    pub fn dpop_authenticate(&self) -> Option<HeaderValue> {
        self.dpop.as_ref()?;
        self.challenge(Scheme::Dpop)
    }

    fn challenge(&self, scheme: Scheme) -> Option<HeaderValue> {
        if !self.verdict.asks_for_credentials() {
            return None;
        }
        let mut parameters = AuthParams::of(scheme);
        parameters.add("realm", self.realm.as_deref());
        // RFC 6750 §3.1: who sent no credentials is told how to authenticate, and nothing about errors.
        if self.verdict != Verdict::Unauthenticated {
            parameters.add("error", Some(self.error_code()));
            parameters.add("error_description", Some(&self.message()));
        }
        parameters.add("scope", self.scopes.as_deref());
        parameters.add("acr_values", self.acr_values.as_deref());
        let max_age = self.max_age.map(|seconds| seconds.to_string());
        parameters.add("max_age", max_age.as_deref());
        parameters.add("resource_metadata", self.resource_metadata.as_deref());
        if scheme == Scheme::Dpop {
            let algorithms = self.dpop.as_ref().map(|dpop| dpop.algorithms.as_str());
            parameters.add("algs", algorithms);
        }
        Some(parameters.into_header())
    }

    /// The value of the `Retry-After` header, in seconds, when the fault is on this side and will pass.
    pub fn retry_after(&self) -> Option<HeaderValue> {
        (self.verdict == Verdict::Unavailable).then(|| RETRY_AFTER_SECONDS.into())
    }

    /// The JSON body: `error`, `error_description`, and the same text again as `message`, which some clients read.
    pub fn body(&self) -> Bytes {
        self.refusal(&self.message()).body()
    }

    /// What is wrong, in a sentence.
    pub fn message(&self) -> Cow<'_, str> {
        match &self.description {
            Some(text) => text.as_str().into(),
            None => self.error.to_string().into(),
        }
    }

    fn refusal<'a>(&self, message: &'a str) -> Refusal<'a> {
        Refusal {
            status: self.status(),
            code: self.error_code(),
            message,
        }
    }

    /// The whole answer, in the [protocol](Self::protocol) of the request.
    pub fn to_response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = self.refusal(&self.message()).to_response(&self.protocol);
        let headers = response.headers_mut();
        self.say_when_to_come_back(headers);
        self.say_how_to_authenticate(headers);
        response.map(B::from)
    }

    fn say_when_to_come_back(&self, headers: &mut HeaderMap) {
        let Some(seconds) = self.retry_after() else {
            return;
        };
        match self.protocol {
            Protocol::Http => headers.insert(RETRY_AFTER, seconds),
            Protocol::Grpc(_) => {
                let milliseconds = u32::from(RETRY_AFTER_SECONDS) * 1000;
                headers.insert("grpc-retry-pushback-ms", milliseconds.into())
            }
        };
    }

    /// The same headers in every protocol: those of gRPC have a place for them too.
    fn say_how_to_authenticate(&self, headers: &mut HeaderMap) {
        let challenges = [self.www_authenticate(), self.dpop_authenticate()];
        for challenge in challenges.into_iter().flatten() {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        if let Some(nonce) = self.dpop.as_ref().and_then(|dpop| dpop.nonce.clone()) {
            headers.insert(DPOP_NONCE, nonce);
        }
    }
}

impl From<Error> for Challenge {
    fn from(error: Error) -> Self {
        Self::new(&error)
    }
}

#[cfg(test)]
mod tests;
