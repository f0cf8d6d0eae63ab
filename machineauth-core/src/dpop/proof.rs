//! What a proof says (RFC 9449 §4.2), and that its own key signed it.

use serde_json::{Map, Value};

use super::{Thumbprint, invalid};
use crate::base64url;
use crate::clock::Timestamp;
use crate::crypto::{Algorithm, sha256};
use crate::error::Error;
use crate::json;
use crate::jwk::Jwk;
use crate::jws::{Jws, is_media_type};

/// A longer `jti` is refused, in bytes.
const MAX_ID_LENGTH: usize = 256;

/// A proof is small; a longer one is refused before anything is done with it, in bytes.
const MAX_LENGTH: usize = 4 * 1024;

/// A proof that is good for the request it came with. It says which key the client has.
#[derive(Clone, Debug)]
pub struct Proof {
    thumbprint: Thumbprint,
    key: [u8; 32],
    until: Timestamp,
}

impl Proof {
    pub(super) fn new(thumbprint: Thumbprint, id: &str, until: Timestamp) -> Self {
        // Other clients may choose the same `jti`.
        let key = sha256(&[thumbprint.as_bytes(), id.as_bytes()].concat());
        Self {
            thumbprint,
            key,
            until,
        }
    }

    /// The key that signed it.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// What tells it from every other proof.
    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// From when on it is too old.
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }
}

/// The claims of a proof.
pub(super) struct Content {
    pub(super) id: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) issued_at: Timestamp,
    pub(super) token_hash: Option<String>,
    pub(super) nonce: Option<String>,
}

/// Takes a proof apart and checks its signature with the key that it carries.
pub(super) fn open(text: &str, algorithms: &[Algorithm]) -> Result<(Content, Thumbprint), Error> {
    if text.len() > MAX_LENGTH {
        return Err(invalid("it is longer than 4 KiB"));
    }
    let jws = Jws::parse(text).map_err(|_| invalid("it is not a well-formed signed JWT"))?;
    if !jws
        .header()
        .typ()
        .is_some_and(|typ| is_media_type(typ, "dpop+jwt"))
    {
        return Err(invalid("its `typ` is not `dpop+jwt`"));
    }
    let algorithm = jws.header().algorithm();
    if !algorithms.contains(&algorithm) {
        return Err(invalid("its algorithm is not accepted"));
    }
    let key = embedded_key(jws.header_text(), algorithm)?;
    let verifying = key.verifying_key();
    let verifying = verifying.map_err(|_| invalid("its `jwk` is no key that can be used"))?;
    verifying
        .verify(jws.signing_input(), jws.signature())
        .map_err(|_| invalid("its signature is wrong"))?;
    Ok((content(jws.payload())?, key.thumbprint()))
}

/// The public key in the header. It says nothing about who the client is: the token's binding does.
fn embedded_key(header: &str, algorithm: Algorithm) -> Result<Jwk, Error> {
    let malformed = invalid("its header has no `jwk`");
    let header = base64url::decode(header).ok_or(malformed)?;
    let mut header = json::parse_object(&header).map_err(|_| malformed)?;
    let Some(Value::Object(mut key)) = header.remove("jwk") else {
        return Err(malformed);
    };
    // A key that does not say what it is for is for what it was used for; one that does must have been used for that.
    key.entry("alg")
        .or_insert_with(|| algorithm.as_str().into());
    let key = Jwk::from_json(&key);
    let key = key.map_err(|_| invalid("its `jwk` is no public key that can be used"))?;
    if key.algorithm() == algorithm {
        Ok(key)
    } else {
        Err(invalid("its `alg` is not that of its `jwk`"))
    }
}

fn content(payload: &[u8]) -> Result<Content, Error> {
    let mut claims =
        json::parse_object(payload).map_err(|_| invalid("its payload is not strict JSON"))?;
    let id = text(&mut claims, "jti").ok_or(invalid("it has no `jti`"))?;
    if id.is_empty() || id.len() > MAX_ID_LENGTH {
        return Err(invalid("its `jti` is empty or longer than 256 bytes"));
    }
    let issued_at = claims.get("iat").and_then(seconds);
    Ok(Content {
        id,
        method: text(&mut claims, "htm").ok_or(invalid("it has no `htm`"))?,
        uri: text(&mut claims, "htu").ok_or(invalid("it has no `htu`"))?,
        issued_at: issued_at.ok_or(invalid("it has no `iat`"))?,
        token_hash: text(&mut claims, "ath"),
        nonce: text(&mut claims, "nonce"),
    })
}

fn text(claims: &mut Map<String, Value>, name: &str) -> Option<String> {
    match claims.remove(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// RFC 7519 §2 `NumericDate`: fractions are cut off.
fn seconds(value: &Value) -> Option<Timestamp> {
    let whole = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| *number >= 0.0)?;
        Some(number as u64)
    });
    whole.map(Timestamp::from_secs)
}
