//! One request to a token endpoint (RFC 6749 §4.4.2), and its answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::credentials::ClientAuthentication;
use super::{
    ClientSecret, IssuedToken, Refusal, RequestFuture, RequestToken, TokenError, TokenErrorKind,
};
use crate::base64url;
use crate::clock::{Clock, Timestamp};
use crate::crypto::{self, SigningKey};
use crate::discovery::Place;
use crate::jws::sign_json;
use crate::outbound::{CallError, basic, body, form};
use crate::scope::ScopeSet;

/// The most that is read of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// RFC 7523 §2.2
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Long enough for a request, and for clocks that differ a little.
const ASSERTION_LIFE: Duration = Duration::from_secs(60);

/// Asks for a token with the client credentials grant.
#[derive(Debug)]
pub(super) struct TokenRequest {
    pub(super) client: Client,
    pub(super) place: Place,
    pub(super) client_id: String,
    pub(super) identity: Identity,
    pub(super) authentication: ClientAuthentication,
    /// Beside `grant_type`: `scope`, `audience`, `resource`.
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What proves who the client is.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    Secret(ClientSecret),
    Key(Arc<SigningKey>),
}

impl RequestToken for TokenRequest {
    fn request(&self) -> RequestFuture<'_> {
        Box::pin(self.request_once())
    }
}

impl TokenRequest {
    async fn request_once(&self) -> Result<IssuedToken, TokenError> {
        let url = self.place.url(&self.client).await?;
        let proof = match &self.identity {
            Identity::Secret(secret) => {
                let secret = secret.read().await;
                secret.map_err(|_| TokenError::new(TokenErrorKind::NoSecret))?
            }
            Identity::Key(key) => Arc::new(Zeroizing::new(self.assertion(key, url.as_str())?)),
        };
        let mut parameters = vec![("grant_type", "client_credentials")];
        let mut headers = HeaderMap::new();
        match (&self.identity, self.authentication) {
            (Identity::Secret(_), ClientAuthentication::Basic) => {
                headers.insert(AUTHORIZATION, basic(&self.client_id, &proof));
            }
            (Identity::Secret(_), ClientAuthentication::Post) => {
                parameters.push(("client_id", &self.client_id));
                parameters.push(("client_secret", &proof));
            }
            (Identity::Key(_), _) => {
                parameters.push(("client_assertion_type", ASSERTION_TYPE));
                parameters.push(("client_assertion", &proof));
            }
        }
        let own = self.parameters.iter();
        parameters.extend(own.map(|(name, value)| (*name, value.as_str())));
        let response = self
            .client
            .post(url)
            .headers(headers)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(&parameters))
            .send()
            .await
            .map_err(CallError::from);
        let response = response.inspect_err(|_| self.place.forget())?;
        self.read(response).await
    }

    /// RFC 7523 §3
    fn assertion(&self, key: &SigningKey, endpoint: &str) -> Result<String, TokenError> {
        let now = self.clock.now();
        let header = serde_json::json!({"alg": key.algorithm().as_str(), "typ": "JWT"});
        let claims = serde_json::json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": endpoint,
            "iat": now.as_secs(),
            "exp": now.saturating_add(ASSERTION_LIFE).as_secs(),
            "jti": base64url::encode(crypto::random::<16>()),
        });
        sign_json(key, &header, &claims).map_err(|_| TokenErrorKind::SigningFailed.into())
    }

    async fn read(&self, response: Response) -> Result<IssuedToken, TokenError> {
        let status = response.status();
        if status == StatusCode::OK {
            return issued(&Zeroizing::new(body(response, MAX_ANSWER).await?.to_vec()));
        }
        let pause = retry_after(response.headers(), self.clock.now());
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(TokenError::new(TokenErrorKind::Unavailable).retry_after(pause));
        }
        if status == StatusCode::NOT_FOUND {
            self.place.forget();
        }
        let body = body(response, MAX_ANSWER).await?;
        let refusal = serde_json::from_slice::<ErrorAnswer>(&body);
        let refusal = refusal.map_or(Refusal::Other, |answer| Refusal::of(&answer.error));
        Err(TokenError::new(TokenErrorKind::Refused(refusal)).retry_after(pause))
    }
}

/// RFC 6749 §5.1. Some issuers write `expires_in` as a string.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: Option<Seconds>,
    scope: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Fraction(f64),
    Text(String),
}

impl Seconds {
    fn whole(&self) -> Option<u64> {
        match self {
            Self::Number(seconds) => Some(*seconds),
            Self::Fraction(seconds) => (*seconds >= 0.0).then_some(*seconds as u64),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// RFC 6749 §5.2
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

fn issued(body: &[u8]) -> Result<IssuedToken, TokenError> {
    let malformed = TokenError::new(TokenErrorKind::MalformedAnswer);
    let answer: Answer = serde_json::from_slice(body).map_err(|_| malformed)?;
    // A token of another type must be used in another way (RFC 6749 §7.1).
    if !answer.token_type.eq_ignore_ascii_case("bearer") || answer.access_token.is_empty() {
        return Err(malformed);
    }
    let scope = answer.scope.as_deref().map(ScopeSet::parse).transpose();
    Ok(IssuedToken {
        text: answer.access_token,
        expires_in: answer
            .expires_in
            .and_then(|seconds| seconds.whole())
            .map(Duration::from_secs),
        scope: scope.map_err(|_| malformed)?,
    })
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER).map(HeaderValue::to_str)?.ok()?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    let date = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(
        Timestamp::default()
            .saturating_add(date)
            .duration_since(now),
    )
}

impl From<CallError> for TokenError {
    fn from(error: CallError) -> Self {
        Self::new(match error {
            CallError::Unreachable => TokenErrorKind::Unreachable,
            CallError::TimedOut => TokenErrorKind::TimedOut,
            CallError::Status(_) => TokenErrorKind::Unavailable,
            CallError::TooLarge => TokenErrorKind::MalformedAnswer,
            CallError::InvalidMetadata | CallError::WrongIssuer | CallError::ForbiddenUrl => {
                TokenErrorKind::NoEndpoint
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = Timestamp::from_secs(784_111_777);
        for (value, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            let pause = retry_after(&headers, now);
            assert_eq!(pause, seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn an_answer_is_a_bearer_token_or_malformed() {
        let good = r#"{"access_token":"t","token_type":"bearer","expires_in":60,"scope":"a b"}"#;
        let token = issued(good.as_bytes()).unwrap();
        assert_eq!(token.expires_in, Some(Duration::from_secs(60)));
        assert_eq!(token.scope, Some("a b".parse().unwrap()));
        for (life, expected) in [("\"60\"", Some(60)), ("60.9", Some(60)), ("null", None)] {
            let body =
                format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{life}}}"#);
            let life = issued(body.as_bytes()).unwrap().expires_in;
            assert_eq!(life, expected.map(Duration::from_secs));
        }
        for bad in [
            "",
            "<html>",
            "[]",
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"t","token_type":"DPoP"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"t","token_type":"Bearer","scope":"\""}"#,
        ] {
            let error = issued(bad.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), TokenErrorKind::MalformedAnswer, "{bad}");
        }
    }
}
