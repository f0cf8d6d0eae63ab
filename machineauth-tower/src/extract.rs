//! The verified agent as an argument of axum handlers.
//!
//! [`VerifiedAgent`] where somebody must have been verified, `Option<VerifiedAgent>` behind
//! [`MachineAuthLayer::optional`](crate::MachineAuthLayer::optional).

use std::convert::Infallible;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use machineauth_core::{Challenge, Error, ErrorKind};

use crate::agent::VerifiedAgent;

impl<S: Sync> FromRequestParts<S> for VerifiedAgent {
    type Rejection = NoVerifiedAgent;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoVerifiedAgent> {
        parts.extensions.get().cloned().ok_or(NoVerifiedAgent)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for VerifiedAgent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

/// Nobody has been verified: the request had no token, or no layer looked for one. Answered with 401.
#[derive(Clone, Copy, Debug)]
pub struct NoVerifiedAgent;

impl IntoResponse for NoVerifiedAgent {
    fn into_response(self) -> Response {
        Challenge::from(Error::from(ErrorKind::MissingToken)).to_response()
    }
}
