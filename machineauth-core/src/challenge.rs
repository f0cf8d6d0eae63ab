//! What a resource server answers when it refuses (RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 9728 §5.1).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::dpop::{DPOP_NONCE, Dpop};
use crate::error::{Error, ErrorKind};
use crate::refusal::{Protocol, Refusal};
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
            .then(|| self.challenge("Bearer"))
            .flatten()
    }

    /// The value of a second `WWW-Authenticate` header, for the scheme `DPoP` (RFC 9449 §7.1); `None` where that is not
    /// accepted.
    pub fn dpop_authenticate(&self) -> Option<HeaderValue> {
        self.dpop.as_ref()?;
        self.challenge("DPoP")
    }

    fn challenge(&self, scheme: &'static str) -> Option<HeaderValue> {
        if !self.verdict.asks_for_credentials() {
            return None;
        }
        let mut parameters = Parameters::of(scheme);
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
        if scheme == "DPoP" {
            let algorithms = self.dpop.as_ref().map(|dpop| dpop.algorithms.as_str());
            parameters.add("algs", algorithms);
        }
        let value = HeaderValue::try_from(parameters.text);
        Some(value.expect("quoted strings keep to visible ASCII and space"))
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

/// What every challenge of one server says, whatever the error.
#[derive(Clone, Debug, Default)]
pub struct ProtectedResource {
    realm: Option<String>,
    metadata: Option<String>,
}

impl ProtectedResource {
    /// Names the protection space (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// Says where the resource's metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn metadata(mut self, url: impl Into<String>) -> Self {
        self.metadata = Some(url.into());
        self
    }

    /// Adds to a challenge what all of them say.
    pub fn complete(&self, mut challenge: Challenge) -> Challenge {
        if let Some(realm) = &self.realm {
            challenge = challenge.realm(realm);
        }
        if let Some(url) = &self.metadata {
            challenge = challenge.resource_metadata(url);
        }
        challenge
    }
}

/// The few ways to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No credentials: how to authenticate.
    Unauthenticated,
    /// The request itself is wrong.
    InvalidRequest,
    /// The token is no good.
    InvalidToken,
    /// The proof of possession is no good (RFC 9449 §7.1).
    InvalidProof,
    /// The proof of possession needs a nonce (RFC 9449 §9).
    NonceNeeded,
    /// The token is good and not enough.
    InsufficientScope,
    /// The token is good, and the authentication behind it does not suffice.
    InsufficientUserAuthentication,
    /// Nothing that this token, or another one like it, can be used for.
    Forbidden,
    /// It cannot be told at the moment whether the token is good.
    Unavailable,
    /// A defect on this side, of which no request can be the cause.
    Misconfigured,
}

impl Verdict {
    /// The one mapping from errors to the wire.
    fn on(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::MissingToken => Self::Unauthenticated,
            ErrorKind::MultipleTokens
            | ErrorKind::UnsupportedTokenTransport
            | ErrorKind::MalformedRequest
            | ErrorKind::AmbiguousPath => Self::InvalidRequest,
            ErrorKind::MalformedToken
            | ErrorKind::UnsupportedAlgorithm
            | ErrorKind::UnknownKey
            | ErrorKind::InvalidSignature
            | ErrorKind::InvalidType
            | ErrorKind::InvalidClaim(_)
            | ErrorKind::Expired
            | ErrorKind::NotYetValid
            | ErrorKind::WrongIssuer
            | ErrorKind::WrongAudience
            | ErrorKind::Revoked
            | ErrorKind::Inactive => Self::InvalidToken,
            ErrorKind::InvalidProof => Self::InvalidProof,
            ErrorKind::UseDpopNonce => Self::NonceNeeded,
            ErrorKind::InsufficientScope => Self::InsufficientScope,
            ErrorKind::InsufficientUserAuthentication => Self::InsufficientUserAuthentication,
            ErrorKind::BrokenBinding | ErrorKind::Forbidden => Self::Forbidden,
            ErrorKind::KeysUnavailable
            | ErrorKind::IntrospectionUnavailable
            | ErrorKind::RevocationsStale
            | ErrorKind::ReplayGuardFull => Self::Unavailable,
            ErrorKind::InvalidKey
            | ErrorKind::InvalidConfiguration
            | ErrorKind::CryptographyFailed
            | ErrorKind::InvalidSeal => Self::Misconfigured,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated
            | Self::InvalidToken
            | Self::InvalidProof
            | Self::NonceNeeded
            | Self::InsufficientUserAuthentication => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_code(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthorized",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InvalidProof => "invalid_dpop_proof",
            Self::NonceNeeded => "use_dpop_nonce",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::Forbidden => "access_denied",
            Self::Unavailable => "temporarily_unavailable",
            Self::Misconfigured => "server_error",
        }
    }

    fn asks_for_credentials(self) -> bool {
        match self {
            Self::Unauthenticated
            | Self::InvalidRequest
            | Self::InvalidToken
            | Self::InvalidProof
            | Self::NonceNeeded
            | Self::InsufficientUserAuthentication
            | Self::InsufficientScope => true,
            Self::Forbidden | Self::Unavailable | Self::Misconfigured => false,
        }
    }
}

/// A challenge with its auth-params as quoted strings (RFC 9110 §11.2, §5.6.4).
struct Parameters {
    scheme: &'static str,
    text: String,
}

impl Parameters {
    fn of(scheme: &'static str) -> Self {
        Self {
            scheme,
            text: scheme.to_owned(),
        }
    }

    fn add(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        let separator = if self.text.len() == self.scheme.len() {
            " "
        } else {
            ", "
        };
        let _ = write!(self.text, "{separator}{name}=\"");
        self.text.extend(value.chars().map(quotable));
        self.text.push('"');
    }
}

/// RFC 6750 §3 allows neither `"` nor `\` in these values, not even escaped, and nothing beyond ASCII.
fn quotable(character: char) -> char {
    match character {
        '"' | '\\' => '\'',
        ' '..='~' => character,
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, CONTENT_TYPE};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::error::ClaimName;

    fn challenge(kind: ErrorKind) -> Challenge {
        Challenge::new(&Error::from(kind))
    }

    #[test]
    fn who_sent_no_credentials_learns_how_to_authenticate_and_no_error_code() {
        let challenge = challenge(ErrorKind::MissingToken).realm("api");
        assert_eq!(challenge.status(), 401);
        assert_eq!(
            challenge.www_authenticate().unwrap(),
            "Bearer realm=\"api\""
        );
        let bare = Challenge::from(Error::from(ErrorKind::MissingToken));
        assert_eq!(bare.www_authenticate().unwrap(), "Bearer");
    }

    #[test]
    fn a_bad_token_is_401_invalid_token() {
        for kind in [
            ErrorKind::MalformedToken,
            ErrorKind::UnsupportedAlgorithm,
            ErrorKind::UnknownKey,
            ErrorKind::InvalidSignature,
            ErrorKind::InvalidType,
            ErrorKind::InvalidClaim(ClaimName::Audience),
            ErrorKind::Expired,
            ErrorKind::NotYetValid,
            ErrorKind::WrongIssuer,
            ErrorKind::WrongAudience,
            ErrorKind::Revoked,
            ErrorKind::Inactive,
        ] {
            let challenge = challenge(kind);
            assert_eq!(challenge.status(), 401, "{kind:?}");
            let header = challenge.www_authenticate().unwrap();
            let header = header.to_str().unwrap();
            assert!(
                header.starts_with("Bearer error=\"invalid_token\", error_description=\""),
                "{header}"
            );
        }
    }

    /// V18
    #[test]
    fn a_request_with_its_token_in_the_wrong_place_is_400_invalid_request() {
        for kind in [
            ErrorKind::MultipleTokens,
            ErrorKind::UnsupportedTokenTransport,
            ErrorKind::MalformedRequest,
        ] {
            let challenge = challenge(kind);
            assert_eq!(challenge.status(), 400);
            assert_eq!(challenge.error_code(), "invalid_request");
        }
    }

    /// V16, V24
    #[test]
    fn what_cannot_be_told_at_the_moment_is_503_and_asks_to_come_back() {
        for kind in [
            ErrorKind::KeysUnavailable,
            ErrorKind::IntrospectionUnavailable,
            ErrorKind::RevocationsStale,
        ] {
            let response: Response<Bytes> = challenge(kind).to_response();
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()[RETRY_AFTER], "5");
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
        }
    }

    #[test]
    fn the_body_repeats_the_description_as_message_and_must_not_be_stored() {
        let response: Response<Bytes> = challenge(ErrorKind::Expired).to_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["error"], "invalid_token");
        assert_eq!(
            body["error_description"],
            Error::from(ErrorKind::Expired).to_string()
        );
        assert_eq!(body["message"], body["error_description"]);
    }

    #[test]
    fn a_missing_scope_names_the_scopes_and_where_to_learn_more() {
        let challenge = challenge(ErrorKind::InsufficientScope)
            .scopes(&"read write".parse().unwrap())
            .resource_metadata("https://api.example/.well-known/oauth-protected-resource");
        let header = challenge.www_authenticate().unwrap();
        let header = header.to_str().unwrap();
        assert!(
            header.ends_with(
                "scope=\"read write\", \
                 resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\""
            ),
            "{header}"
        );
    }

    /// V22
    #[test]
    fn where_tokens_may_be_bound_the_challenge_says_how_in_its_own_scheme() {
        let dpop = Dpop::builder("https://api.example").algorithms([crate::Algorithm::ES256]);
        let dpop = dpop.require_nonces([7; 32]).build().unwrap();
        let challenges = |kind| {
            let response: Response<Bytes> = challenge(kind).dpop(&dpop).to_response();
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()[DPOP_NONCE], dpop.nonce().unwrap());
            let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
            let values = values.map(|value| value.to_str().unwrap().to_owned());
            values.collect::<Vec<_>>()
        };
        assert_eq!(
            challenges(ErrorKind::MissingToken),
            ["Bearer", "DPoP algs=\"ES256\""]
        );
        for (kind, error) in [
            (ErrorKind::InvalidProof, "invalid_dpop_proof"),
            (ErrorKind::UseDpopNonce, "use_dpop_nonce"),
        ] {
            let only = challenges(kind);
            assert_eq!(only.len(), 1);
            assert!(only[0].starts_with(&format!("DPoP error=\"{error}\"")));
        }
        let both = challenges(ErrorKind::Expired);
        assert!(both[0].starts_with("Bearer error=\"invalid_token\""));
        assert!(both[1].starts_with("DPoP error=\"invalid_token\""));
    }

    fn grpc(kind: ErrorKind) -> Response<Bytes> {
        let content_type = HeaderValue::from_static("application/grpc-web+proto");
        challenge(kind)
            .description("100% no")
            .protocol(Protocol::Grpc(content_type))
            .to_response()
    }

    #[test]
    fn grpc_callers_get_trailers_only_with_the_status_that_says_the_same() {
        for (kind, status) in [
            (ErrorKind::MissingToken, "16"),
            (ErrorKind::Expired, "16"),
            (ErrorKind::InsufficientScope, "7"),
            (ErrorKind::Forbidden, "7"),
            (ErrorKind::KeysUnavailable, "14"),
            (ErrorKind::MultipleTokens, "3"),
            (ErrorKind::InvalidConfiguration, "13"),
        ] {
            let response = grpc(kind);
            assert_eq!(response.status(), 200);
            assert_eq!(
                response.headers()[CONTENT_TYPE],
                "application/grpc-web+proto"
            );
            assert_eq!(response.headers()["grpc-status"], status, "{kind:?}");
            assert_eq!(response.headers()["grpc-message"], "100%25 no");
            assert!(response.body().is_empty());
        }
        let unavailable = grpc(ErrorKind::RevocationsStale);
        assert_eq!(unavailable.headers()["grpc-retry-pushback-ms"], "5000");
    }

    /// RFC 9470 §3
    #[test]
    fn who_must_authenticate_again_is_told_how() {
        let challenge = challenge(ErrorKind::InsufficientUserAuthentication)
            .acr_values("mfa pwd")
            .max_age(Duration::from_secs(300));
        assert_eq!(challenge.status(), 401);
        let header = challenge.www_authenticate().unwrap();
        let header = header.to_str().unwrap();
        assert!(
            header.starts_with("Bearer error=\"insufficient_user_authentication\", "),
            "{header}"
        );
        assert!(
            header.ends_with("acr_values=\"mfa pwd\", max_age=\"300\""),
            "{header}"
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_its_quotes(realm in any::<String>(), url in any::<String>()) {
            let challenge = challenge(ErrorKind::MissingToken).realm(&realm).resource_metadata(&url);
            let header = challenge.www_authenticate().unwrap();
            let header = header.to_str().unwrap();
            prop_assert_eq!(header.matches('"').count(), 4);
            prop_assert!(!header.contains('\\'));
        }
    }
}
