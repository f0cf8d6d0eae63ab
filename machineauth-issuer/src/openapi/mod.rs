//! The description of the HTTP API (OpenAPI 3.1), which the handlers give of themselves.
//!
//! The table in `routes.rs` says which handlers a path has. What a handler takes and what it gives say most of the rest,
//! by [`DescribeRequest`] and [`DescribeAnswer`]: parameters, bodies, credentials, statuses. Its doc comment is the summary
//! and the description. Its `#[utoipa::path]` names the method, and what no type can say. So a description changes when
//! its handler does, and the tests hold every answer of an issuer against it.

mod describe;
mod document;
pub mod reader;
mod refusals;
mod schemas;
pub mod security;
mod table;

pub use self::describe::{DescribeAnswer, DescribeRequest, Described, Description};
pub use self::document::{Document, beginning};
pub use self::refusals::{
    BadRequest, Conflict, Forbidden, InvalidClient, InvalidToken, NotFound, PreconditionFailed,
    ServerError, Timeout, TooLarge, TooManyRequests, Unauthorized, Unavailable,
};
pub use self::schemas::Scopes;
pub(crate) use self::table::handlers;
pub use self::table::{Entry, Table};
