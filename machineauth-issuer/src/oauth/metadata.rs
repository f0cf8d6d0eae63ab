//! What clients and verifiers read first: the server's metadata (RFC 8414, OpenID Connect Discovery 1.0) and its keys.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;

use crate::app::App;
use crate::domain::signing::SigningKeys;
use crate::routes;

/// How long the documents may be cached. A key is published long before it signs.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The documents, serialized once.
#[derive(Debug)]
pub struct Documents {
    metadata: Bytes,
    jwks: Bytes,
}

impl Documents {
    /// The documents of the server named `issuer` that signs with `keys`.
    pub fn new(issuer: &str, keys: &SigningKeys) -> Self {
        let at = |path: &str| format!("{issuer}{path}");
        let authentication = ["client_secret_basic", "client_secret_post"];
        let metadata = json!({
            "issuer": issuer,
            "token_endpoint": at(routes::TOKEN),
            "jwks_uri": at(routes::JWKS),
            "introspection_endpoint": at(routes::INTROSPECT),
            "revocation_endpoint": at(routes::REVOKE),
            "revocation_feed": at(routes::REVOCATIONS),
            "grant_types_supported": ["client_credentials", "refresh_token"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": authentication,
            "introspection_endpoint_auth_methods_supported": authentication,
            "revocation_endpoint_auth_methods_supported": authentication,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [keys.active().key.algorithm().as_str()],
        });
        Self {
            metadata: metadata.to_string().into(),
            jwks: keys.published().to_json().into(),
        }
    }
}

fn document(body: &Bytes) -> Response {
    let headers = [
        (CACHE_CONTROL, CACHEABLE),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    (headers, body.clone()).into_response()
}

/// `GET /.well-known/oauth-authorization-server` and `GET /.well-known/openid-configuration`
pub async fn metadata(State(app): State<App>) -> Response {
    document(&app.documents.metadata)
}

/// `GET /.well-known/jwks.json` (RFC 7517 §5)
pub async fn jwks(State(app): State<App>) -> Response {
    document(&app.documents.jwks)
}
