//! Optimistic concurrency: the entity tag of a record is its version (RFC 9110 §8.8.3).

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::openapi::{DescribeAnswer, DescribeRequest, Description, PreconditionFailed};
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

impl<T: ToSchema> DescribeAnswer for Tagged<T> {
    fn describe(operation: &mut Description<'_>) {
        operation
            .json_answer::<T>()
            .answer_header("ETag", "The version of the object, for `If-Match`.");
    }
}

/// The versions that a change insists on (RFC 9110 §13.1.1). Without any it insists on nothing.
#[derive(Debug)]
pub struct IfMatch(Vec<HeaderValue>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(
            parts.headers.get_all(IF_MATCH).iter().cloned().collect(),
        ))
    }
}

impl DescribeRequest for IfMatch {
    fn describe(operation: &mut Description<'_>) {
        operation
            .header(
                "If-Match",
                "The version to change, from `ETag`; any without it.",
            )
            .refuses::<PreconditionFailed>();
    }
}

impl IfMatch {
    /// The version that the change insists on, which is `current` when the request names it. `None` when the request
    /// insists on nothing.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] when it names only other versions.
    pub fn version(&self, current: Version) -> Result<Option<Version>, ApiError> {
        let mut tags = self
            .0
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
}

fn tag(version: Version) -> String {
    format!("\"{version}\"")
}
