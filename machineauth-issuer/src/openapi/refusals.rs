//! Refusals that many operations have in common. Each is described once, among the components, and operations refer to it:
//! because one of their types does, or in `#[utoipa::path(…, responses(Conflict))]`.

use std::collections::BTreeMap;

use utoipa::openapi::header::Header;
use utoipa::openapi::{Content, Ref, RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use crate::error::ErrorBody;

/// What a header of a refusal means.
const RETRY_AFTER: (&str, &str) = ("Retry-After", "After how many seconds to try again.");
const CHALLENGE: (&str, &str) = (
    "WWW-Authenticate",
    "How to authenticate (RFC 9110 §11.6.1).",
);

macro_rules! refusals {
    ($($(#[doc = $meaning:literal])+ $name:ident = $status:literal $(with $header:ident)?;)+) => {
        $(
            $(#[doc = $meaning])+
            #[derive(Debug)]
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    let reference = Ref::from_response_name(stringify!($name));
                    BTreeMap::from([(stringify!($status).to_owned(), reference.into())])
                }
            }
        )+

        /// All of them by name, as the components that operations refer to.
        pub(super) fn components() -> BTreeMap<String, RefOr<Response>> {
            BTreeMap::from([$({
                let headers: &[(&str, &str)] = &[$($header)?];
                let meaning = concat!($($meaning),+).trim();
                (stringify!($name).to_owned(), refusal(meaning, headers).into())
            }),+])
        }
    };
}

refusals! {
    /// The request is malformed; `message` names the field, the parameter or the header.
    BadRequest = 400;
    /// The caller did not authenticate, or may not administer anything.
    Unauthorized = 401 with CHALLENGE;
    /// The client did not authenticate (RFC 6749 §5.2).
    InvalidClient = 401 with CHALLENGE;
    /// The access token or API key is missing, or good for nothing here (RFC 6750 §3.1).
    InvalidToken = 401 with CHALLENGE;
    /// The caller may not do this; or the request came without TLS, where the server insists on it.
    Forbidden = 403;
    /// There is no such object, or it is another tenant's.
    NotFound = 404;
    /// The request took too long.
    Timeout = 408;
    /// The object, as it is now, does not allow this; or many are changing it at once.
    Conflict = 409;
    /// The object has changed since the version that `If-Match` names.
    PreconditionFailed = 412;
    /// The body is larger than any request needs.
    TooLarge = 413;
    /// Too many requests, or too many wrong secrets.
    TooManyRequests = 429 with RETRY_AFTER;
    /// The server failed; its log says why.
    ServerError = 500;
    /// The store cannot be reached; whether the request took effect is unknown.
    Unavailable = 503 with RETRY_AFTER;
}

fn refusal(meaning: &str, headers: &[(&str, &str)]) -> Response {
    let mut response = Response::new(meaning);
    let body = Content::new(Some(Ref::from_schema_name(ErrorBody::name())));
    response
        .content
        .insert("application/json".to_owned(), body.into());
    for (name, meaning) in headers {
        let mut header = Header::default();
        header.description = Some((*meaning).to_owned());
        response
            .headers
            .insert((*name).to_owned(), RefOr::T(header));
    }
    response
}
