//! What the address of a page asks for.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::error::ApiError;

/// The query of a page's address. One that cannot be read is answered with a page that says so.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

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
