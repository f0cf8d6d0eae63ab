//! What a resource server answers when it refuses (RFC 6750 §3, RFC 9728 §5.1).

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::error::{Error, ErrorKind};
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

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.verdict.status()
    }

    /// The value of the `error` member of the body, and of the challenge where RFC 6750 §3.1 has it there.
    pub fn error_code(&self) -> &'static str {
        self.verdict.error_code()
    }

    /// The value of the `WWW-Authenticate` header; `None` when better credentials would not help.
    pub fn www_authenticate(&self) -> Option<HeaderValue> {
        if !self.verdict.asks_for_credentials() {
            return None;
        }
        let mut parameters = Parameters::default();
        parameters.add("realm", self.realm.as_deref());
        // RFC 6750 §3.1: who sent no credentials is told how to authenticate, and nothing about errors.
        if self.verdict != Verdict::Unauthenticated {
            parameters.add("error", Some(self.error_code()));
            parameters.add("error_description", Some(&self.message()));
        }
        parameters.add("scope", self.scopes.as_deref());
        parameters.add("resource_metadata", self.resource_metadata.as_deref());
        let value = HeaderValue::try_from(parameters.0);
        Some(value.expect("quoted strings keep to visible ASCII and space"))
    }

    /// The value of the `Retry-After` header, in seconds, when the fault is on this side and will pass.
    pub fn retry_after(&self) -> Option<HeaderValue> {
        (self.verdict == Verdict::Unavailable).then(|| RETRY_AFTER_SECONDS.into())
    }

    /// The JSON body: `error`, `error_description`, and the same text again as `message`, which some clients read.
    pub fn body(&self) -> Bytes {
        let description = self.message();
        let body = serde_json::json!({
            "error": self.error_code(),
            "error_description": description,
            "message": description,
        });
        body.to_string().into()
    }

    /// What is wrong, in a sentence.
    pub fn message(&self) -> Cow<'_, str> {
        match &self.description {
            Some(text) => text.as_str().into(),
            None => self.error.to_string().into(),
        }
    }

    /// The whole answer.
    pub fn to_response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = Response::new(B::from(self.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.www_authenticate() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<Error> for Challenge {
    fn from(error: Error) -> Self {
        Self::new(&error)
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
    /// The token is good and not enough.
    InsufficientScope,
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
            ErrorKind::InsufficientScope => Self::InsufficientScope,
            ErrorKind::BrokenBinding | ErrorKind::Forbidden => Self::Forbidden,
            ErrorKind::KeysUnavailable
            | ErrorKind::IntrospectionUnavailable
            | ErrorKind::RevocationsStale => Self::Unavailable,
            ErrorKind::InvalidKey
            | ErrorKind::InvalidConfiguration
            | ErrorKind::CryptographyFailed
            | ErrorKind::InvalidSeal => Self::Misconfigured,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::InvalidToken => StatusCode::UNAUTHORIZED,
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
            Self::InsufficientScope => "insufficient_scope",
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
            | Self::InsufficientScope => true,
            Self::Forbidden | Self::Unavailable | Self::Misconfigured => false,
        }
    }
}

/// A `Bearer` challenge with its auth-params as quoted strings (RFC 9110 §11.2, §5.6.4).
struct Parameters(String);

impl Default for Parameters {
    fn default() -> Self {
        Self("Bearer".to_owned())
    }
}

impl Parameters {
    fn add(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        let separator = if self.0.len() == "Bearer".len() {
            " "
        } else {
            ", "
        };
        let _ = write!(self.0, "{separator}{name}=\"");
        self.0.extend(value.chars().map(quotable));
        self.0.push('"');
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
