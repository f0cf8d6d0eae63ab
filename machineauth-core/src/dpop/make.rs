use serde_json::{Map, Value};

use crate::base64url;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::crypto::{self, SigningKey, sha256};
use crate::error::Error;
use crate::jws::sign_json;

/// Makes proofs, as a client does for each of its requests (RFC 9449 §4.2).
#[derive(Clone, Debug)]
#[must_use]
pub struct ProofBuilder {
    method: String,
    uri: String,
    token: Option<String>,
    nonce: Option<String>,
    at: Option<Timestamp>,
}

impl ProofBuilder {
    /// A proof for a request with this method to this address, without query and fragment.
    pub fn new(method: impl Into<String>, uri: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            uri: uri.into(),
            token: None,
            nonce: None,
            at: None,
        }
    }

    /// For a request with this access token.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(base64url::encode(sha256(token.as_bytes())));
        self
    }

    /// With the nonce that the server gave.
    pub fn nonce(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }

    /// Made at this time instead of now.
    pub fn at(mut self, time: Timestamp) -> Self {
        self.at = Some(time);
        self
    }

    /// The proof, signed with the client's key, whose public half it carries.
    ///
    /// # Errors
    /// [`ErrorKind::CryptographyFailed`](crate::ErrorKind::CryptographyFailed) when the library fails.
    pub fn sign(self, key: &SigningKey) -> Result<String, Error> {
        let mut jwk = serde_json::to_value(key.public_jwk("")).expect("a key is plain data");
        // The proof is as short as can be: these say nothing that its header does not.
        if let Value::Object(members) = &mut jwk {
            members.retain(|name, _| !matches!(name.as_str(), "kid" | "use" | "alg"));
        }
        let header = serde_json::json!({
            "typ": "dpop+jwt",
            "alg": key.algorithm().as_str(),
            "jwk": jwk,
        });
        let id = base64url::encode(crypto::random::<16>());
        let at = self.at.unwrap_or_else(|| SystemClock.now());
        let mut claims = Map::new();
        claims.insert("jti".into(), id.into());
        claims.insert("htm".into(), self.method.into());
        claims.insert("htu".into(), self.uri.into());
        claims.insert("iat".into(), at.as_secs().into());
        for (name, value) in [("ath", self.token), ("nonce", self.nonce)] {
            if let Some(value) = value {
                claims.insert(name.into(), value.into());
            }
        }
        sign_json(key, &header, &Value::Object(claims))
    }
}
