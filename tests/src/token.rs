//! What is written in an access token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The claims of `token`, verified by nobody.
///
/// # Panics
/// When it is no JWT.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The name of the key that signed `token`, as it says.
///
/// # Panics
/// When it is no JWT, or names no key.
pub fn kid(token: &str) -> String {
    let kid = part(token, 0)["kid"].as_str().map(str::to_owned);
    kid.expect("the header names a key")
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).expect("a JWT has three parts");
    let part = URL_SAFE_NO_PAD
        .decode(part)
        .expect("the parts are base64url");
    serde_json::from_slice(&part).expect("the parts are JSON")
}
