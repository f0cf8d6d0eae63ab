//! JSON request bodies of the API.

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

const MAX_BODY: usize = 1024 * 1024;

/// A JSON body, read into `T`. What does not fit is refused with the name of the field.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let media_type = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::InvalidRequest(
                "send JSON, and say so: Content-Type: application/json".into(),
            ));
        }
        let body = axum::body::to_bytes(body, MAX_BODY)
            .await
            .map_err(|error| {
                match std::error::Error::source(&error)
                    .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
                {
                    true => ApiError::TooLarge,
                    false => ApiError::InvalidRequest("the body ended early".into()),
                }
            })?;
        read(&body).map(Self)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let what = match error.path().iter().next() {
            Some(_) => error.to_string(),
            None => error.inner().to_string(),
        };
        ApiError::InvalidRequest(what.into())
    })?;
    deserializer
        .end()
        .map_err(|_| ApiError::InvalidRequest("something follows the JSON value".into()))?;
    Ok(value)
}
