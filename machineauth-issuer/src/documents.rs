//! The server's metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3).

use bytes::Bytes;
use machineauth_core::crypto::Algorithm;
use serde::Serialize;
use utoipa::ToSchema;

use crate::paths;

const AUTHENTICATION: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// What a client and a verifier need to know of an issuer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    /// Where verifiers listen to revocations.
    revocation_feed: String,
    grant_types_supported: [&'static str; 2],
    /// None: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
}

/// The metadata document of the issuer `issuer`, whose tokens are signed with `algorithm` and handed out by the server at
/// `server`.
pub fn metadata(issuer: &str, server: &str, algorithm: Algorithm) -> Bytes {
    let at = |path: &str| format!("{server}{path}");
    let metadata = Metadata {
        issuer: issuer.to_owned(),
        token_endpoint: at(paths::TOKEN),
        jwks_uri: format!("{issuer}{}", paths::JWKS),
        introspection_endpoint: at(paths::INTROSPECT),
        revocation_endpoint: at(paths::REVOKE),
        revocation_feed: at(paths::REVOCATIONS),
        grant_types_supported: ["client_credentials", "refresh_token"],
        response_types_supported: [],
        token_endpoint_auth_methods_supported: AUTHENTICATION,
        introspection_endpoint_auth_methods_supported: AUTHENTICATION,
        revocation_endpoint_auth_methods_supported: AUTHENTICATION,
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [algorithm.as_str()],
    };
    serde_json::to_vec(&metadata)
        .expect("metadata is plain data")
        .into()
}
