//! The server's metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3).

use bytes::Bytes;
use machineauth_core::crypto::Algorithm;
use serde_json::json;

use crate::paths;

/// The metadata document of the issuer `issuer`, whose tokens are signed with `algorithm` and handed out by the server at
/// `server`.
pub fn metadata(issuer: &str, server: &str, algorithm: Algorithm) -> Bytes {
    let at = |path: &str| format!("{server}{path}");
    let authentication = ["client_secret_basic", "client_secret_post"];
    let metadata = json!({
        "issuer": issuer,
        "token_endpoint": at(paths::TOKEN),
        "jwks_uri": format!("{issuer}{}", paths::JWKS),
        "introspection_endpoint": at(paths::INTROSPECT),
        "revocation_endpoint": at(paths::REVOKE),
        "revocation_feed": at(paths::REVOCATIONS),
        "grant_types_supported": ["client_credentials", "refresh_token"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": authentication,
        "introspection_endpoint_auth_methods_supported": authentication,
        "revocation_endpoint_auth_methods_supported": authentication,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [algorithm.as_str()],
    });
    metadata.to_string().into()
}
