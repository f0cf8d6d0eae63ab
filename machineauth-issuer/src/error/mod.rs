//! Errors on the wire: every error of the domain becomes one of two types here, and each type one answer.
//!
//! Every body is JSON with `error` and `error_description` (RFC 6749 §5.2), and `message` with the same text as the
//! description, which the documented clients read.

mod causes;
pub mod challenges;

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use machineauth_core::quota::Exhausted;
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::{self, DescribeAnswer, Description};

/// Seconds after which a request that met an unreachable store is worth repeating.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error of the OAuth endpoints (RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 7662 §2.3).
#[derive(Debug)]
pub enum OAuthError {
    /// The request is malformed.
    InvalidRequest(Cow<'static, str>),
    /// The body is larger than any request needs; the limit in bytes.
    TooLarge(usize),
    /// The client did not authenticate.
    InvalidClient(&'static str),
    /// The refresh token gets nothing.
    InvalidGrant,
    /// The proof of possession is no good (RFC 9449 §5).
    InvalidProof(machineauth_core::Error),
    /// The client may not do this.
    UnauthorizedClient(&'static str),
    /// The client lacks a scope (RFC 6750 §3.1).
    InsufficientScope(&'static str),
    /// The grant type is none of ours.
    UnsupportedGrantType,
    /// No requested scope can be granted, or a scope is malformed.
    InvalidScope(&'static str),
    /// The client may not have tokens for that audience (RFC 8707 §2).
    InvalidTarget(&'static str),
    /// Too many requests, or too many wrong secrets (RFC 6585 §4).
    TooManyRequests(Exhausted),
    /// Trying again will help.
    TemporarilyUnavailable(Unavailable),
    /// A fault of ours, logged where it happened.
    ServerError,
}

/// An error of the API beside OAuth.
#[derive(Debug)]
pub enum ApiError {
    /// The request is malformed; the text names the field.
    InvalidRequest(Cow<'static, str>),
    /// The body is larger than any request needs; the limit in bytes.
    TooLarge(usize),
    /// The request presents its credentials as it may not: twice, in its URL, or malformed (RFC 6750 §3.1).
    InvalidCredentials(&'static str),
    /// Administrator credentials are missing or wrong.
    Unauthorized,
    /// No access token or API key came with the request (RFC 6750 §3.1).
    TokenRequired,
    /// The access token or API key is good for nothing here (RFC 6750 §3.1).
    InvalidToken,
    /// The credentials lack this scope (RFC 6750 §3.1).
    InsufficientScope(&'static str),
    /// The caller is known and may not do this.
    Forbidden(&'static str),
    /// The request came without TLS.
    HttpsRequired,
    /// Too many requests, or too many wrong secrets (RFC 6585 §4).
    TooManyRequests(Exhausted),
    /// There is no such object.
    NotFound(&'static str),
    /// There is no such method on this path.
    MethodNotAllowed,
    /// The organization has as much as its plan allows; the text names the plan and the limit.
    QuotaExceeded(String),
    /// Somebody else changed the same object.
    Conflict(&'static str),
    /// The object is not at the version that the change was made for (RFC 9110 §13.1.1).
    PreconditionFailed,
    /// The request took too long to arrive or to answer.
    Timeout,
    /// Trying again will help.
    TemporarilyUnavailable(Unavailable),
    /// A fault of ours, logged where it happened.
    ServerError,
}

/// Why a request can only be answered later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The store is away; nothing is known about the outcome.
    Store,
    /// The clocks of this machine and of the store disagree.
    ClockSkew,
    /// Many others were changing the same object; nothing was done.
    Contended,
    /// Many secrets are being verified that are slow to verify; nothing was done.
    Overloaded,
    /// So many proofs of possession were used lately that no more can be remembered.
    Proofs,
}

impl OAuthError {
    /// Whatever is wrong with a client's credentials, the answer is this one (I3).
    pub const UNKNOWN_CLIENT: Self = Self::InvalidClient("invalid client credentials");
}

impl ApiError {
    /// There is nothing at this path.
    pub const NO_SUCH_PATH: Self = Self::NotFound("there is nothing at this path");
    /// There is no agent of that name.
    pub const NO_SUCH_AGENT: Self = Self::NotFound("there is no such agent");
    /// There is no organization of that name, or it is another tenant.
    pub const NO_SUCH_ORGANIZATION: Self = Self::NotFound("there is no such organization");
    /// There is no team of that name in the organization.
    pub const NO_SUCH_TEAM: Self = Self::NotFound("there is no such team");
    /// There is no webhook of that name, or it is another tenant's.
    pub const NO_SUCH_WEBHOOK: Self = Self::NotFound("there is no such webhook");
    /// There is no delivery of that name to the webhook, or it was long ago.
    pub const NO_SUCH_DELIVERY: Self = Self::NotFound("there is no such delivery");
    /// There is no administrator of that name.
    pub const NO_SUCH_ADMINISTRATOR: Self = Self::NotFound("there is no such administrator");
    /// There is no such secret of the agent, or it has ended.
    pub const NO_SUCH_SECRET: Self = Self::NotFound("there is no such secret");
    /// There is no session of that name, or it is another administrator's.
    pub const NO_SUCH_SESSION: Self = Self::NotFound("there is no such session");
    /// There is no API key of that name in the organization.
    pub const NO_SUCH_API_KEY: Self = Self::NotFound("there is no such API key");

    /// The request is malformed in this; the text names the field.
    pub fn invalid(what: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(what.into())
    }
}

impl Unavailable {
    const fn description(self) -> &'static str {
        match self {
            Self::Store => {
                "the store cannot be reached; whether the request took effect is unknown; try again"
            }
            Self::ClockSkew => {
                "the clocks of this machine and of its store disagree by more than 5 seconds; synchronise them"
            }
            Self::Contended => {
                "many are changing the same client at once; nothing was done; try again"
            }
            Self::Overloaded => {
                "too many secrets are being verified at the moment; nothing was done; try again"
            }
            Self::Proofs => {
                "too many DPoP proofs have been used lately to remember more; try again in a moment"
            }
        }
    }
}

/// Why a request was refused, for programs.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed.
    InvalidRequest,
    /// The client did not authenticate (RFC 6749 §5.2).
    InvalidClient,
    /// The refresh token gets nothing (RFC 6749 §5.2).
    InvalidGrant,
    /// The client may not do this (RFC 6749 §5.2).
    UnauthorizedClient,
    /// The grant type is none of ours (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// No requested scope can be granted, or one is malformed (RFC 6749 §5.2).
    InvalidScope,
    /// The client may not have tokens for that audience (RFC 8707 §2).
    InvalidTarget,
    /// The proof of possession proves nothing (RFC 9449 §5).
    InvalidDpopProof,
    /// The token or the client lacks a scope (RFC 6750 §3.1).
    InsufficientScope,
    /// The access token or API key is missing, or good for nothing here (RFC 6750 §3.1).
    InvalidToken,
    /// Administrator credentials are missing or wrong.
    Unauthorized,
    /// The caller is known and may not do this.
    Forbidden,
    /// The request came without TLS.
    HttpsRequired,
    /// There is no such object, or nothing at this path.
    NotFound,
    /// There is no such method on this path.
    MethodNotAllowed,
    /// The request took too long.
    Timeout,
    /// The object, as it is now, does not allow this.
    Conflict,
    /// The organization's plan does not allow this.
    QuotaExceeded,
    /// The object is not at the version that the change was made for.
    PreconditionFailed,
    /// Too many requests, or too many wrong secrets.
    TooManyRequests,
    /// Trying again will help.
    TemporarilyUnavailable,
    /// A fault of ours.
    ServerError,
}

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorBody<'a> {
    error: ErrorCode,
    /// For people.
    error_description: &'a str,
    /// The same as `error_description`.
    message: &'a str,
}

/// An answer that refuses, before it has a form. The response that it becomes has it among its extensions.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What it is in HTTP.
    pub status: StatusCode,
    /// What it says, for people.
    pub description: Cow<'static, str>,
    error: ErrorCode,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        let header = Some((name, value));
        Self { header, ..self }
    }

    /// What has to be said beside the body.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        self.header.clone()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.error,
            error_description: &self.description,
            message: &self.description,
        };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().extend(self.header());
        response.extensions_mut().insert(self);
        response
    }
}

fn refusal(
    status: StatusCode,
    error: ErrorCode,
    description: impl Into<Cow<'static, str>>,
) -> Refusal {
    Refusal {
        status,
        description: description.into(),
        error,
        header: None,
    }
}

fn too_large(limit: usize) -> Refusal {
    refusal(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::InvalidRequest,
        format!("the body is larger than {} KiB", limit / 1024),
    )
}

fn too_many_requests(exhausted: Exhausted) -> Refusal {
    refusal(
        StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::TooManyRequests,
        "too many requests, or too many wrong secrets; Retry-After says when to try again",
    )
    .with(RETRY_AFTER, exhausted.retry_after_header())
}

fn unavailable(why: Unavailable) -> Refusal {
    refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::TemporarilyUnavailable,
        why.description(),
    )
    .with(RETRY_AFTER, RETRY_AFTER_SECONDS)
}

fn server_error() -> Refusal {
    refusal(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::ServerError,
        "the server failed; its log says why",
    )
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        Refusal::from(self).into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Refusal::from(self).into_response()
    }
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        let bad_request = |error, what| refusal(StatusCode::BAD_REQUEST, error, what);
        match error {
            OAuthError::InvalidRequest(what) => {
                refusal(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, what)
            }
            OAuthError::TooLarge(limit) => too_large(limit),
            OAuthError::InvalidClient(what) => {
                refusal(StatusCode::UNAUTHORIZED, ErrorCode::InvalidClient, what)
                    .with(WWW_AUTHENTICATE, challenges::BASIC)
            }
            OAuthError::InvalidGrant => bad_request(
                ErrorCode::InvalidGrant,
                "the refresh token is invalid, expired or already used",
            ),
            OAuthError::InvalidProof(error) => refusal(
                StatusCode::BAD_REQUEST,
                ErrorCode::InvalidDpopProof,
                error.to_string(),
            ),
            OAuthError::UnauthorizedClient(what) => {
                bad_request(ErrorCode::UnauthorizedClient, what)
            }
            OAuthError::InsufficientScope(what) => {
                refusal(StatusCode::FORBIDDEN, ErrorCode::InsufficientScope, what)
                    .with(WWW_AUTHENTICATE, challenges::INSUFFICIENT_SCOPE)
            }
            OAuthError::UnsupportedGrantType => bad_request(
                ErrorCode::UnsupportedGrantType,
                "grant_type must be client_credentials or refresh_token",
            ),
            OAuthError::InvalidScope(what) => bad_request(ErrorCode::InvalidScope, what),
            OAuthError::InvalidTarget(what) => bad_request(ErrorCode::InvalidTarget, what),
            OAuthError::TooManyRequests(exhausted) => too_many_requests(exhausted),
            OAuthError::TemporarilyUnavailable(why) => unavailable(why),
            OAuthError::ServerError => server_error(),
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::InvalidRequest(what) => {
                refusal(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, what)
            }
            ApiError::TooLarge(limit) => too_large(limit),
            ApiError::InvalidCredentials(what) => {
                refusal(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, what)
                    .with(WWW_AUTHENTICATE, challenges::INVALID_REQUEST)
            }
            ApiError::Unauthorized => refusal(
                StatusCode::UNAUTHORIZED,
                ErrorCode::Unauthorized,
                "administrator credentials are required: HTTP Basic with ADMIN_EMAIL and ADMIN_PASSWORD, or an organization's API key",
            )
            .with(WWW_AUTHENTICATE, challenges::BASIC),
            ApiError::TokenRequired => refusal(
                StatusCode::UNAUTHORIZED,
                ErrorCode::InvalidToken,
                "an access token is required: Authorization: Bearer …",
            )
            .with(WWW_AUTHENTICATE, challenges::BEARER),
            ApiError::InvalidToken => refusal(
                StatusCode::UNAUTHORIZED,
                ErrorCode::InvalidToken,
                "a valid access token is required: Authorization: Bearer …",
            )
            .with(WWW_AUTHENTICATE, challenges::INVALID_TOKEN),
            ApiError::InsufficientScope(scope) => refusal(
                StatusCode::FORBIDDEN,
                ErrorCode::Forbidden,
                format!("these credentials lack the scope {scope}"),
            )
            .with(WWW_AUTHENTICATE, challenges::lacking(scope)),
            ApiError::Forbidden(what) => refusal(StatusCode::FORBIDDEN, ErrorCode::Forbidden, what),
            ApiError::HttpsRequired => refusal(
                StatusCode::FORBIDDEN,
                ErrorCode::HttpsRequired,
                "this server is reached by https only",
            ),
            ApiError::TooManyRequests(exhausted) => too_many_requests(exhausted),
            ApiError::NotFound(what) => refusal(StatusCode::NOT_FOUND, ErrorCode::NotFound, what),
            ApiError::MethodNotAllowed => refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                ErrorCode::MethodNotAllowed,
                "this path has other methods; see the Allow header",
            ),
            ApiError::QuotaExceeded(what) => {
                refusal(StatusCode::CONFLICT, ErrorCode::QuotaExceeded, what)
            }
            ApiError::Conflict(what) => refusal(StatusCode::CONFLICT, ErrorCode::Conflict, what),
            ApiError::PreconditionFailed => refusal(
                StatusCode::PRECONDITION_FAILED,
                ErrorCode::PreconditionFailed,
                "the object has changed since; read it again",
            ),
            ApiError::Timeout => refusal(
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::Timeout,
                "the request took too long",
            ),
            ApiError::TemporarilyUnavailable(why) => unavailable(why),
            ApiError::ServerError => server_error(),
        }
    }
}

impl DescribeAnswer for OAuthError {
    fn describe(operation: &mut Description<'_>) {
        operation
            .refuses::<openapi::ServerError>()
            .refuses::<openapi::Unavailable>();
    }
}

impl DescribeAnswer for ApiError {
    fn describe(operation: &mut Description<'_>) {
        operation
            .refuses::<openapi::ServerError>()
            .refuses::<openapi::Unavailable>();
    }
}
