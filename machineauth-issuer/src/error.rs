//! Errors on the wire: every error of the domain becomes one of two types here, and each type one answer.
//!
//! Every body is JSON with `error` and `error_description` (RFC 6749 §5.2), and `message` with the same text as the
//! description, which the documented clients read.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::domain::agents::{AgentError, AuthenticationError};
use crate::domain::grants::GrantError;
use crate::domain::tokens::RevokeError;
use crate::store::StoreError;

/// Seconds after which a request that met an unreachable store is worth repeating.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
const CLIENT_CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"machineauth\", charset=\"UTF-8\"");

/// An error of the OAuth endpoints (RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 7662 §2.3).
#[derive(Debug)]
pub enum OAuthError {
    /// The request is malformed.
    InvalidRequest(Cow<'static, str>),
    /// The body is larger than any request needs.
    TooLarge,
    /// The client did not authenticate.
    InvalidClient(&'static str),
    /// The refresh token gets nothing.
    InvalidGrant,
    /// The client may not do this.
    UnauthorizedClient(&'static str),
    /// The grant type is none of ours.
    UnsupportedGrantType,
    /// No requested scope can be granted, or a scope is malformed.
    InvalidScope(&'static str),
    /// The store is away; nothing is known about the outcome.
    TemporarilyUnavailable,
    /// A fault of ours, logged where it happened.
    ServerError,
}

/// An error of the API beside OAuth.
#[derive(Debug)]
pub enum ApiError {
    /// The request is malformed; the text names the field.
    InvalidRequest(Cow<'static, str>),
    /// The body is larger than any request needs.
    TooLarge,
    /// Administrator credentials are missing or wrong.
    Unauthorized,
    /// There is no such object.
    NotFound(&'static str),
    /// There is no such method on this path.
    MethodNotAllowed,
    /// Somebody else changed the same object.
    Conflict(&'static str),
    /// The request took too long to arrive or to answer.
    Timeout,
    /// The store is away; nothing is known about the outcome.
    TemporarilyUnavailable,
    /// A fault of ours, logged where it happened.
    ServerError,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
    message: &'a str,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (status, error, description) = match &self {
            Self::InvalidRequest(what) => {
                (StatusCode::BAD_REQUEST, "invalid_request", what.as_ref())
            }
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                "the body is larger than 64 KiB",
            ),
            Self::InvalidClient(what) => {
                headers.insert(WWW_AUTHENTICATE, CLIENT_CHALLENGE);
                (StatusCode::UNAUTHORIZED, "invalid_client", *what)
            }
            Self::InvalidGrant => (
                StatusCode::BAD_REQUEST,
                "invalid_grant",
                "the refresh token is invalid, expired or already used",
            ),
            Self::UnauthorizedClient(what) => {
                (StatusCode::BAD_REQUEST, "unauthorized_client", *what)
            }
            Self::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "grant_type must be client_credentials or refresh_token",
            ),
            Self::InvalidScope(what) => (StatusCode::BAD_REQUEST, "invalid_scope", *what),
            Self::TemporarilyUnavailable => unavailable(&mut headers),
            Self::ServerError => SERVER_ERROR,
        };
        (
            status,
            headers,
            Json(Body {
                error,
                error_description: description,
                message: description,
            }),
        )
            .into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (status, error, description) = match &self {
            Self::InvalidRequest(what) => {
                (StatusCode::BAD_REQUEST, "invalid_request", what.as_ref())
            }
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                "the body is larger than 1 MiB",
            ),
            Self::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, CLIENT_CHALLENGE);
                (
                    StatusCode::UNAUTHORIZED,
                    "unauthorized",
                    "administrator credentials are required: HTTP Basic with ADMIN_EMAIL and ADMIN_PASSWORD",
                )
            }
            Self::NotFound(what) => (StatusCode::NOT_FOUND, "not_found", *what),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path has other methods; see the Allow header",
            ),
            Self::Conflict(what) => (StatusCode::CONFLICT, "conflict", *what),
            Self::Timeout => (
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the request took longer than 30 seconds",
            ),
            Self::TemporarilyUnavailable => unavailable(&mut headers),
            Self::ServerError => SERVER_ERROR,
        };
        (
            status,
            headers,
            Json(Body {
                error,
                error_description: description,
                message: description,
            }),
        )
            .into_response()
    }
}

const SERVER_ERROR: (StatusCode, &str, &str) = (
    StatusCode::INTERNAL_SERVER_ERROR,
    "server_error",
    "the server failed; its log says why",
);

fn unavailable(headers: &mut HeaderMap) -> (StatusCode, &'static str, &'static str) {
    headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        "the store cannot be reached; whether the request took effect is unknown; try again",
    )
}

impl From<GrantError> for OAuthError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::InvalidClient => INVALID_CLIENT,
            GrantError::InvalidGrant => Self::InvalidGrant,
            GrantError::InvalidScope => Self::InvalidScope(
                "none of the requested scopes, or not all of them, may be granted to this client",
            ),
            GrantError::Contended => Self::TemporarilyUnavailable,
            GrantError::Signing(error) => {
                tracing::error!(%error, "signing a token failed");
                Self::ServerError
            }
            GrantError::Store(error) => error.into(),
        }
    }
}

const INVALID_CLIENT: OAuthError = OAuthError::InvalidClient("invalid client credentials");

impl From<AuthenticationError> for OAuthError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Refused => INVALID_CLIENT,
            AuthenticationError::Store(error) => error.into(),
        }
    }
}

impl From<RevokeError> for OAuthError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::NotYours => {
                Self::UnauthorizedClient("the token was issued to another client")
            }
            RevokeError::Store(error) => error.into(),
        }
    }
}

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::NotFound => Self::NotFound("there is no such agent"),
            AgentError::Invalid(what) => Self::InvalidRequest(what.to_string().into()),
            AgentError::Contended => {
                Self::Conflict("the agent is being changed by many at once; try again")
            }
            AgentError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        if is_outage(&error) {
            Self::TemporarilyUnavailable
        } else {
            Self::ServerError
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if is_outage(&error) {
            Self::TemporarilyUnavailable
        } else {
            Self::ServerError
        }
    }
}

/// Logs the error, the one time that it passes here, and tells whether waiting helps.
fn is_outage(error: &StoreError) -> bool {
    let outage = error.is_unavailable();
    match outage {
        true => tracing::warn!(error = %Chain(error), "the store cannot be reached"),
        false => tracing::error!(error = %Chain(error), "the store failed"),
    }
    outage
}

/// An error with its causes, on one line.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
