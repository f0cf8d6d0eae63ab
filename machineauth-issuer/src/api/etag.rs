//! Optimistic concurrency: the entity tag of a record is its version (RFC 9110 §8.8.3).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use crate::error::ApiError;
use crate::store::Version;

/// An answer about one record, with the tag that a later change can insist on.
#[derive(Debug)]
pub struct Tagged<T> {
    /// The record's version.
    pub version: Version,
    /// The body.
    pub value: T,
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.value).into_response();
        let tag =
            HeaderValue::try_from(tag(self.version)).expect("hexadecimal digits fit a header");
        response.headers_mut().insert(ETAG, tag);
        response
    }
}

/// The version that a change insists on, which is `current` when the request names it (RFC 9110 §13.1.1). `None` when the
/// request insists on nothing.
///
/// # Errors
/// [`ApiError::PreconditionFailed`] when it names only other versions.
pub fn if_match(headers: &HeaderMap, current: Version) -> Result<Option<Version>, ApiError> {
    let mut tags = headers
        .get_all(IF_MATCH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .peekable();
    if tags.peek().is_none() {
        return Ok(None);
    }
    let current_tag = tag(current);
    let named = tags.any(|named| named == b"*" || named == current_tag.as_bytes());
    if named {
        Ok(Some(current))
    } else {
        Err(ApiError::PreconditionFailed)
    }
}

fn tag(version: Version) -> String {
    format!("\"{version}\"")
}
