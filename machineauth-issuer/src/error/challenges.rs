//! How a refused request could authenticate: the values of `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3).

use http::HeaderValue;

/// Asks for client credentials or administrator credentials, which come in the same scheme (RFC 6749 §5.2).
pub const BASIC: HeaderValue =
    HeaderValue::from_static("Basic realm=\"machineauth\", charset=\"UTF-8\"");
/// Asks for a token. To whoever sent none, nothing is said of errors (RFC 6750 §3.1).
pub const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"machineauth\"");
/// The request presents its credentials as it may not.
pub const INVALID_REQUEST: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"machineauth\", error=\"invalid_request\"");
/// The token is good for nothing here.
pub const INVALID_TOKEN: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"machineauth\", error=\"invalid_token\"");
/// The client lacks a scope.
pub const INSUFFICIENT_SCOPE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"machineauth\", error=\"insufficient_scope\"");

/// The credentials lack `scope`, which would do.
pub fn lacking(scope: &str) -> HeaderValue {
    let challenge =
        format!("Bearer realm=\"machineauth\", error=\"insufficient_scope\", scope=\"{scope}\"");
    HeaderValue::try_from(challenge).expect("scopes are visible ASCII")
}
