//! The server's metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3).

use bytes::Bytes;
use machineauth_core::crypto::Algorithm;
use serde::Serialize;
use utoipa::ToSchema;

use crate::paths;

/// How clients say who they are.
const AUTHENTICATION: [&str; 3] = [
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
];
/// What they may sign assertions with.
const ASSERTIONS: [Algorithm; 9] = Algorithm::ALL;

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
    token_endpoint_auth_methods_supported: [&'static str; 3],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 9],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 9],
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 9],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    /// What proofs of possession may be signed with (RFC 9449 §5.1).
    dpop_signing_alg_values_supported: Vec<String>,
}

/// The metadata document of the issuer `issuer`, whose tokens are signed with `algorithm` and handed out by the server at
/// `server`, bound to a key by proofs that are signed with one of `proof_algorithms` (RFC 9449 §5.1).
pub fn metadata(
    issuer: &str,
    server: &str,
    algorithm: Algorithm,
    proof_algorithms: &[String],
) -> Bytes {
    let at = |path: &str| format!("{server}{path}");
    let assertions = ASSERTIONS.map(Algorithm::as_str);
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
        token_endpoint_auth_signing_alg_values_supported: assertions,
        introspection_endpoint_auth_methods_supported: AUTHENTICATION,
        introspection_endpoint_auth_signing_alg_values_supported: assertions,
        revocation_endpoint_auth_methods_supported: AUTHENTICATION,
        revocation_endpoint_auth_signing_alg_values_supported: assertions,
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [algorithm.as_str()],
        dpop_signing_alg_values_supported: proof_algorithms.to_vec(),
    };
    serde_json::to_vec(&metadata)
        .expect("metadata is plain data")
        .into()
}
