//! Answers about something that was just made.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::openapi::{DescribeAnswer, Description};

/// The answer `T`, with the status 201.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: IntoResponse> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, self.0).into_response()
    }
}

impl<T: DescribeAnswer> DescribeAnswer for Created<T> {
    fn describe(operation: &mut Description<'_>) {
        T::describe(operation);
        operation.succeeds_with(StatusCode::CREATED);
    }
}
