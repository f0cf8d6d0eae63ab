//! What the address of a page asks for.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::error::ApiError;

/// The parts of a page's path that name something. What is no text names nothing.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

/// The query of a page's address. One that cannot be read is answered with a page that says so.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let axum::extract::Path(path) =
            path.map_err(|_| Failure::Refused(ApiError::NO_SUCH_PATH))?;
        Ok(Self(path))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let axum::extract::Query(query) = query.map_err(|_| {
            let what = "the address of this page holds something that cannot be read";
            Failure::Refused(ApiError::InvalidRequest(what.into()))
        })?;
        Ok(Self(query))
    }
}
