//! Request bodies: what they say they are, and reading them within a limit.

use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::LengthLimitError;

/// What a body says it is, without its parameters (RFC 9110 §8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
    /// Something else, or nothing.
    Other,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than this many bytes.
    TooLarge(usize),
    /// It ended early.
    Incomplete,
}

impl MediaType {
    /// Reads `Content-Type`.
    pub fn of(headers: &HeaderMap) -> Self {
        let value = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = value.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Self::Form
        } else {
            Self::Other
        }
    }
}

/// Reads the body, up to `limit` bytes.
///
/// # Errors
/// Why it was not read.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, BodyError> {
    axum::body::to_bytes(request.into_body(), limit)
        .await
        .map_err(|error| {
            match std::error::Error::source(&error)
                .is_some_and(|source| source.is::<LengthLimitError>())
            {
                true => BodyError::TooLarge(limit),
                false => BodyError::Incomplete,
            }
        })
}
