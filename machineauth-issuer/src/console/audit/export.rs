//! The trail as a file, to be kept elsewhere.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;

use super::list::Asked;
use crate::app::App;
use crate::console::address::Query;
use crate::console::failure::Failure;
use crate::console::session::Administrator;
use crate::events::audit::export::{self, Format};
use crate::store::{DynStore, StoreError};

/// In which form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Form {
    format: String,
}

/// Everything that is asked for.
pub async fn export(
    _: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
    Query(form): Query<Form>,
) -> Result<Response, Failure> {
    let format = Format::named(&form.format).unwrap_or(Format::Csv);
    let events = export::export(&app.trail, asked.filter()?, format);
    Ok(file(format.content_type(), format.file_name(), events))
}

/// All seals.
pub async fn seals(_: Administrator, State(app): State<App>) -> Response {
    let (content_type, name) = export::SEALS;
    let seals = export::seals(DynStore::clone(&app.store), app.sealer.key());
    file(content_type, name, seals)
}

fn file(
    content_type: &'static str,
    name: &str,
    text: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static,
) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let disposition = HeaderValue::try_from(disposition).expect("a plain name fits a header");
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_DISPOSITION, disposition),
    ];
    (head, Body::from_stream(text)).into_response()
}
