//! What clients and verifiers read first: the server's metadata (RFC 8414, OpenID Connect Discovery 1.0) and its keys.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::app::App;
use crate::error::{OAuthError, Unavailable};

/// How long the documents may be cached. A verifier that meets an unknown key asks again at once.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

fn document(body: Bytes) -> Response {
    let headers = [
        (CACHE_CONTROL, CACHEABLE),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    (headers, body).into_response()
}

/// `GET /.well-known/oauth-authorization-server` and `GET /.well-known/openid-configuration`
pub async fn metadata(State(app): State<App>) -> Response {
    document(app.metadata.clone())
}

/// `GET /.well-known/jwks.json` (RFC 7517 §5)
pub async fn jwks(State(app): State<App>) -> Result<Response, OAuthError> {
    let mut keys = app.keys.current(app.clock.now());
    if keys.is_err() {
        app.keys.refresh().await;
        keys = app.keys.current(app.clock.now());
    }
    match keys {
        Ok(keys) => Ok(document(keys.set().to_json().into())),
        Err(_) => Err(OAuthError::TemporarilyUnavailable(Unavailable::Store)),
    }
}
