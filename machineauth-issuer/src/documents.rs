//! The server's metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3) and key set (RFC 7517 §5) as documents.

use bytes::Bytes;
use serde_json::json;

use crate::domain::signing::SigningKeys;
use crate::paths;

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
            "token_endpoint": at(paths::TOKEN),
            "jwks_uri": at(paths::JWKS),
            "introspection_endpoint": at(paths::INTROSPECT),
            "revocation_endpoint": at(paths::REVOKE),
            "revocation_feed": at(paths::REVOCATIONS),
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

    /// The metadata document.
    pub fn metadata(&self) -> &Bytes {
        &self.metadata
    }

    /// The key set document.
    pub fn jwks(&self) -> &Bytes {
        &self.jwks
    }
}
