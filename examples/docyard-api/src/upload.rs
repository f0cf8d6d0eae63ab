//! The two forms in which artifacts come: JSON that announces one, and a multipart form with its content.

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// An artifact to be.
#[derive(Deserialize)]
pub(crate) struct Upload {
    pub(crate) filename: String,
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
    #[serde(skip)]
    pub(crate) content_type: Option<String>,
    /// Empty when only announced.
    #[serde(skip)]
    pub(crate) content: Bytes,
}

/// Why it is none.
pub(crate) struct NoUpload(StatusCode, String);

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = NoUpload;

    async fn from_request(request: Request, state: &S) -> Result<Self, NoUpload> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_form =
            content_type.is_some_and(|value| value.as_bytes().starts_with(b"multipart/form-data"));
        if is_form {
            let form = Multipart::from_request(request, state).await;
            let form = form.map_err(|error| NoUpload(error.status(), error.body_text()))?;
            return Self::from_form(form).await;
        }
        let upload = Json::from_request(request, state).await;
        let Json(upload) = upload.map_err(|error| NoUpload(error.status(), error.body_text()))?;
        Ok(upload)
    }
}

impl Upload {
    /// The file is the part that has a file name, whatever the part itself is called.
    async fn from_form(mut form: Multipart) -> Result<Self, NoUpload> {
        let (mut upload, mut metadata) = (None, Map::new());
        while let Some(part) = form.next_field().await? {
            if part.file_name().is_some() {
                upload = Some(Self::from_file(part).await?);
            } else if part.name() == Some("metadata") {
                metadata = serde_json::from_slice(&part.bytes().await?)
                    .map_err(|error| NoUpload::bad(format!("`metadata` is no object: {error}")))?;
            }
        }
        let upload = upload.ok_or(NoUpload::bad("no part of the form is a file".into()))?;
        Ok(Self { metadata, ..upload })
    }

    async fn from_file(part: Field<'_>) -> Result<Self, NoUpload> {
        Ok(Self {
            filename: part.file_name().unwrap_or_default().to_owned(),
            content_type: part.content_type().map(str::to_owned),
            content: part.bytes().await?,
            metadata: Map::new(),
        })
    }
}

impl NoUpload {
    fn bad(message: String) -> Self {
        Self(StatusCode::BAD_REQUEST, message)
    }
}

impl From<MultipartError> for NoUpload {
    fn from(error: MultipartError) -> Self {
        Self(error.status(), error.body_text())
    }
}

impl IntoResponse for NoUpload {
    fn into_response(self) -> Response {
        let body = json!({ "error": "invalid_request", "message": self.1 });
        (self.0, Json(body)).into_response()
    }
}
