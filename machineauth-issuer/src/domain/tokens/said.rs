//! What a token says of itself. Nothing of it is known to be true.

use machineauth_core::base64url;
use serde_json::{Map, Value};

/// The two readable parts of a JWT (RFC 7519 §3).
#[derive(Debug, Clone)]
pub struct Said {
    /// How it is signed.
    pub header: Map<String, Value>,
    /// Its claims.
    pub payload: Map<String, Value>,
}

impl Said {
    /// Reads `token` as generously as it can be read, since it is only looked at. `None` when it is no JWT.
    pub fn read(token: &str) -> Option<Self> {
        let parts: Vec<_> = token.split('.').collect();
        let [header, payload, _signature] = parts[..] else {
            return None;
        };
        Some(Self {
            header: object(header)?,
            payload: object(payload)?,
        })
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&base64url::decode(part)?).ok()
}
