//! JSON request bodies of the API.

use std::str::FromStr;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use utoipa::ToSchema;
use utoipa::openapi::Required;

use crate::body::{self, MediaType};
use crate::error::ApiError;
use crate::openapi::{BadRequest, DescribeRequest, Description, TooLarge};

const MAX_BODY: usize = 1024 * 1024;

/// A JSON object, read into `T`. What does not fit is refused with the name of the field.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

/// As [`JsonBody`], and `T::default()` where there is no body.
#[derive(Debug)]
pub struct OptionalJsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let media_type = MediaType::of(request.headers());
        parse(media_type, &body::read(request, MAX_BODY).await?).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let media_type = MediaType::of(request.headers());
        let body = body::read(request, MAX_BODY).await?;
        match body.is_empty() {
            true => Ok(Self(T::default())),
            false => parse(media_type, &body).map(Self),
        }
    }
}

impl<T: ToSchema> DescribeRequest for JsonBody<T> {
    fn describe(operation: &mut Description<'_>) {
        operation
            .json_body::<T>(Required::True)
            .refuses::<BadRequest>()
            .refuses::<TooLarge>();
    }
}

impl<T: ToSchema> DescribeRequest for OptionalJsonBody<T> {
    fn describe(operation: &mut Description<'_>) {
        operation
            .json_body::<T>(Required::False)
            .refuses::<BadRequest>()
            .refuses::<TooLarge>();
    }
}

fn parse<T: DeserializeOwned>(media_type: MediaType, body: &Bytes) -> Result<T, ApiError> {
    if media_type != MediaType::Json {
        return Err(ApiError::invalid(
            "send JSON, and say so: Content-Type: application/json",
        ));
    }
    // A sequence would be taken for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::invalid("expected a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let what = expectation(error.inner());
        // Where the syntax is broken, the path may lead through names that are none of ours.
        let what = match error.path().iter().next() {
            Some(_) if error.inner().is_data() => format!("{}: {what}", error.path()),
            _ => what,
        };
        ApiError::InvalidRequest(what.into())
    })?;
    deserializer
        .end()
        .map_err(|_| ApiError::invalid("something follows the JSON object"))?;
    Ok(value)
}

/// What would fit, without what was sent instead: that may be a secret in the wrong place, and answers end up in logs.
fn expectation(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => text,
    }
}

/// Tells null from nothing at all, for a field that can be unset.
///
/// # Errors
/// As for the type itself.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The object that a field of a body names; none when the field is absent or empty.
///
/// # Errors
/// `missing`, when what the field holds can name nothing.
pub fn named<T: FromStr>(
    text: Option<String>,
    missing: impl Into<ApiError>,
) -> Result<Option<T>, ApiError> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map(Some).map_err(|_| missing.into()),
        None => Ok(None),
    }
}
