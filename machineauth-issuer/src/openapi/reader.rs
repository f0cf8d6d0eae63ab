//! The description for programs and for people: the document, and a reader that this server brings along whole.

use std::sync::{Arc, LazyLock};

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_swagger_ui::Config;

use super::document::Document;
use super::refusals::NotFound;
use crate::error::ApiError;

/// Where the reader finds the document, from where it is itself.
const DOCUMENT: &str = "../openapi.json";
/// The reader is another one only in another version of this program.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=3600");
/// The reader runs its own scripts, calls this server, and does nothing else.
const READER_ONLY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The base layout: without the bar that asks for other documents.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from(DOCUMENT).use_base_layout();
    Arc::new(config.validator_url("none").default_models_expand_depth(0))
});

/// Which part of the reader.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ReaderPart {
    /// The name of its file.
    file: String,
}

/// Get this description
///
/// OpenAPI 3.1, generated from the handlers.
#[utoipa::path(get, path = "", responses((status = 200, body = Object, description = "The document.")))]
pub async fn document(State(document): State<Document>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, CACHEABLE),
    ];
    (headers, document.json()).into_response()
}

/// Find the reader of this description
#[utoipa::path(get, path = "", responses(
    (status = 308, description = "It is at `/docs/`.", headers(("Location", description = "Where it is."))),
))]
pub async fn to_index() -> Response {
    // Relative, so that it also leads there from behind a proxy that serves us below a path.
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "docs/")]).into_response()
}

/// Read this description
#[utoipa::path(get, path = "", responses(
    (status = 200, body = String, content_type = "text/html", description = "A page.")
))]
pub async fn index() -> Result<Response, ApiError> {
    part("index.html")
}

/// Get a part of the reader
#[utoipa::path(get, path = "", responses(
    (status = 200, body = String, content_type = "*/*", description = "A script, a style, a picture."),
    NotFound,
))]
pub async fn file(Path(part_of): Path<ReaderPart>) -> Result<Response, ApiError> {
    part(&part_of.file)
}

fn part(name: &str) -> Result<Response, ApiError> {
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).map_err(|error| {
        tracing::error!(%error, "the reader of the API's description cannot be configured");
        ApiError::ServerError
    })?;
    let file = found.ok_or(ApiError::NO_SUCH_PATH)?;
    let content_type = [(CONTENT_TYPE, file.content_type)];
    let mut response = (content_type, file.bytes.into_owned()).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, CACHEABLE);
    headers.insert(CONTENT_SECURITY_POLICY, READER_ONLY);
    if file.gzpipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
