//! Errors on the wire: every error of the domain becomes one of two types here, and each type one answer.
//!
//! Every body is JSON with `error` and `error_description` (RFC 6749 §5.2), and `message` with the same text as the
//! description, which the documented clients read.

mod causes;

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use machineauth_core::quota::Exhausted;
use serde::Serialize;
use utoipa::ToSchema;

use crate::openapi::{self, DescribeAnswer, Description};

/// Seconds after which a request that met an unreachable store is worth repeating.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// Asks for client credentials or administrator credentials, which come in the same scheme (RFC 6749 §5.2).
const BASIC_CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"machineauth\", charset=\"UTF-8\"");
const BEARER_CHALLENGE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"machineauth\", error=\"insufficient_scope\"");
const INVALID_TOKEN_CHALLENGE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"machineauth\", error=\"invalid_token\"");
const SERVER_ERROR: &str = "the server failed; its log says why";

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
    /// Administrator credentials are missing or wrong.
    Unauthorized,
    /// The access token or API key is missing, or good for nothing here (RFC 6750 §3.1).
    InvalidToken,
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
    /// There is no session of that name, or it is another administrator's.
    pub const NO_SUCH_SESSION: Self = Self::NotFound("there is no such session");
    /// There is no API key of that name in the organization.
    pub const NO_SUCH_API_KEY: Self = Self::NotFound("there is no such API key");
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
    /// The access token or API key is good for nothing here (RFC 6750 §3.1).
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

fn answer(status: StatusCode, error: ErrorCode, description: &str) -> Response {
    let body = ErrorBody {
        error,
        error_description: description,
        message: description,
    };
    (status, Json(body)).into_response()
}

fn challenged(challenge: HeaderValue, mut answer: Response) -> Response {
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

fn too_large(limit: usize) -> Response {
    let description = format!("the body is larger than {} KiB", limit / 1024);
    answer(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::InvalidRequest,
        &description,
    )
}

fn too_many_requests(exhausted: Exhausted) -> Response {
    let mut answer = answer(
        StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::TooManyRequests,
        "too many requests, or too many wrong secrets; Retry-After says when to try again",
    );
    let seconds = exhausted.retry_after_header();
    answer.headers_mut().insert(RETRY_AFTER, seconds);
    answer
}

fn unavailable(why: Unavailable) -> Response {
    let mut answer = answer(
        StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::TemporarilyUnavailable,
        why.description(),
    );
    answer
        .headers_mut()
        .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    answer
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let bad_request = |error, description| answer(StatusCode::BAD_REQUEST, error, description);
        match self {
            Self::InvalidRequest(what) => bad_request(ErrorCode::InvalidRequest, &what),
            Self::TooLarge(limit) => too_large(limit),
            Self::InvalidClient(what) => challenged(
                BASIC_CHALLENGE,
                answer(StatusCode::UNAUTHORIZED, ErrorCode::InvalidClient, what),
            ),
            Self::InvalidGrant => bad_request(
                ErrorCode::InvalidGrant,
                "the refresh token is invalid, expired or already used",
            ),
            Self::InvalidProof(error) => {
                bad_request(ErrorCode::InvalidDpopProof, &error.to_string())
            }
            Self::UnauthorizedClient(what) => bad_request(ErrorCode::UnauthorizedClient, what),
            Self::InsufficientScope(what) => challenged(
                BEARER_CHALLENGE,
                answer(StatusCode::FORBIDDEN, ErrorCode::InsufficientScope, what),
            ),
            Self::UnsupportedGrantType => bad_request(
                ErrorCode::UnsupportedGrantType,
                "grant_type must be client_credentials or refresh_token",
            ),
            Self::InvalidScope(what) => bad_request(ErrorCode::InvalidScope, what),
            Self::InvalidTarget(what) => bad_request(ErrorCode::InvalidTarget, what),
            Self::TooManyRequests(exhausted) => too_many_requests(exhausted),
            Self::TemporarilyUnavailable(why) => unavailable(why),
            Self::ServerError => answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                ErrorCode::ServerError,
                SERVER_ERROR,
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::InvalidRequest(what) => {
                answer(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, &what)
            }
            Self::TooLarge(limit) => too_large(limit),
            Self::Unauthorized => challenged(
                BASIC_CHALLENGE,
                answer(
                    StatusCode::UNAUTHORIZED,
                    ErrorCode::Unauthorized,
                    "administrator credentials are required: HTTP Basic with ADMIN_EMAIL and ADMIN_PASSWORD, or an organization's API key",
                ),
            ),
            Self::InvalidToken => challenged(
                INVALID_TOKEN_CHALLENGE,
                answer(
                    StatusCode::UNAUTHORIZED,
                    ErrorCode::InvalidToken,
                    "a valid access token is required: Authorization: Bearer …",
                ),
            ),
            Self::Forbidden(what) => answer(StatusCode::FORBIDDEN, ErrorCode::Forbidden, what),
            Self::HttpsRequired => answer(
                StatusCode::FORBIDDEN,
                ErrorCode::HttpsRequired,
                "this server is reached by https only",
            ),
            Self::TooManyRequests(exhausted) => too_many_requests(exhausted),
            Self::NotFound(what) => answer(StatusCode::NOT_FOUND, ErrorCode::NotFound, what),
            Self::MethodNotAllowed => answer(
                StatusCode::METHOD_NOT_ALLOWED,
                ErrorCode::MethodNotAllowed,
                "this path has other methods; see the Allow header",
            ),
            Self::QuotaExceeded(what) => {
                answer(StatusCode::CONFLICT, ErrorCode::QuotaExceeded, &what)
            }
            Self::Conflict(what) => answer(StatusCode::CONFLICT, ErrorCode::Conflict, what),
            Self::PreconditionFailed => answer(
                StatusCode::PRECONDITION_FAILED,
                ErrorCode::PreconditionFailed,
                "the object has changed since; read it again",
            ),
            Self::Timeout => answer(
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::Timeout,
                "the request took too long",
            ),
            Self::TemporarilyUnavailable(why) => unavailable(why),
            Self::ServerError => answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                ErrorCode::ServerError,
                SERVER_ERROR,
            ),
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
