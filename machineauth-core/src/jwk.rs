//! One public key as JSON (RFC 7517 §4).

mod spki;

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::base64url;
use crate::crypto::{Algorithm, VerifyingKey, sha256};
use crate::dpop::Thumbprint;
use crate::error::{Error, ErrorKind};
use crate::jws::MAX_KID_LENGTH;

/// A public key that verifies signatures of exactly one [`Algorithm`], fixed from `kty`, `crv` and `alg`:
///
/// | `kty` | `crv` | `alg` |
/// |---|---|---|
/// | `RSA` | | `RS256` `RS384` `RS512` `PS256` `PS384` `PS512`; **absent means `RS256`** and nothing else |
/// | `EC` | `P-256` | `ES256` or absent |
/// | `EC` | `P-384` | `ES384` or absent |
/// | `OKP` | `Ed25519` | `EdDSA` or absent |
///
/// Serializes with its algorithm always stated, and has no room for a private member.
#[derive(Clone, PartialEq, Eq)]
pub struct Jwk {
    kid: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

/// Raw big-endian bytes, as they are in the key's JSON before base64url.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    EllipticCurve { x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
}

impl Jwk {
    /// Reads one member of a key set. Members that this crate does not know are ignored, `x5u` and `x5c` among them:
    /// nothing is ever fetched or trusted because of them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] when the key is malformed, of an unsupported type, too weak, meant for encryption, or
    /// published together with its private half.
    pub fn from_json(members: &Map<String, Value>) -> Result<Self, Error> {
        check_intent(members)?;
        let kid = optional_text(members, "kid")?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID_LENGTH) {
            return Err(invalid("`kid` is longer than 256 bytes"));
        }
        let alg = optional_text(members, "alg")?;
        let crv = optional_text(members, "crv")?;
        let (algorithm, material) = match (optional_text(members, "kty")?, crv) {
            (Some("RSA"), _) => (
                pinned(alg, Algorithm::RS256, is_rsa)?,
                Material::Rsa {
                    n: bytes(members, "n")?,
                    e: bytes(members, "e")?,
                },
            ),
            (Some("EC"), Some("P-256")) => (
                pinned(alg, Algorithm::ES256, |named| named == Algorithm::ES256)?,
                Material::EllipticCurve {
                    x: bytes(members, "x")?,
                    y: bytes(members, "y")?,
                },
            ),
            (Some("EC"), Some("P-384")) => (
                pinned(alg, Algorithm::ES384, |named| named == Algorithm::ES384)?,
                Material::EllipticCurve {
                    x: bytes(members, "x")?,
                    y: bytes(members, "y")?,
                },
            ),
            (Some("OKP"), Some("Ed25519")) => (
                pinned(alg, Algorithm::EdDSA, |named| named == Algorithm::EdDSA)?,
                Material::Ed25519 {
                    x: bytes(members, "x")?,
                },
            ),
            _ => return Err(invalid("`kty` or `crv` is not supported")),
        };
        Ok(Self {
            kid: kid.map(str::to_owned),
            algorithm,
            material,
        })
    }

    /// Reads a public key in PEM (`-----BEGIN PUBLIC KEY-----`, RFC 7468 §13). An RSA key is for `RS256`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] when it is none, or of a type that is not supported, or too weak.
    pub fn from_public_pem(text: &str) -> Result<Self, Error> {
        let key = spki::read_pem(text).ok_or(invalid("not a supported public key in PEM"))?;
        key.verifying_key()?;
        Ok(key)
    }

    pub(crate) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8], kid: &str) -> Self {
        Self::named(
            kid,
            algorithm,
            Material::Rsa {
                n: n.to_vec(),
                e: e.to_vec(),
            },
        )
    }

    /// From an uncompressed SEC 1 point: 4, then x and y.
    pub(crate) fn elliptic_curve(algorithm: Algorithm, point: &[u8], kid: &str) -> Self {
        let (x, y) = point[1..].split_at(point.len() / 2);
        Self::named(
            kid,
            algorithm,
            Material::EllipticCurve {
                x: x.to_vec(),
                y: y.to_vec(),
            },
        )
    }

    pub(crate) fn ed25519(x: &[u8], kid: &str) -> Self {
        Self::named(kid, Algorithm::EdDSA, Material::Ed25519 { x: x.to_vec() })
    }

    fn named(kid: &str, algorithm: Algorithm, material: Material) -> Self {
        Self {
            kid: Some(kid.to_owned()),
            algorithm,
            material,
        }
    }

    /// The key's name, at most 256 bytes when it was read from outside.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm this key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's SHA-256 thumbprint (RFC 7638 §3).
    pub fn thumbprint(&self) -> Thumbprint {
        let text = |bytes: &[u8]| base64url::encode(bytes);
        // The required members in the order of their names, without a space between them.
        let members = match &self.material {
            Material::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n))
            }
            Material::EllipticCurve { x, y } => format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                self.curve(),
                text(x),
                text(y)
            ),
            Material::Ed25519 { x } => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x))
            }
        };
        Thumbprint(sha256(members.as_bytes()))
    }

    /// `crv` of an elliptic curve.
    fn curve(&self) -> &'static str {
        match self.algorithm {
            Algorithm::ES384 => "P-384",
            _ => "P-256",
        }
    }

    /// Parses the key for use.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] when its numbers are no key: an RSA modulus outside 2048–8192 bits, an exponent that
    /// is even, below 3 or above 33 bits, a point off its curve, an Ed25519 key of small order.
    pub fn verifying_key(&self) -> Result<VerifyingKey, Error> {
        match &self.material {
            Material::Rsa { n, e } => VerifyingKey::rsa(self.algorithm, n, e),
            Material::EllipticCurve { x, y } => VerifyingKey::elliptic_curve(self.algorithm, x, y),
            Material::Ed25519 { x } => VerifyingKey::ed25519(x),
        }
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        let mut member = |name, value: &str| members.serialize_entry(name, value);
        match &self.material {
            Material::Rsa { n, e } => {
                member("kty", "RSA")?;
                member("n", &base64url::encode(n))?;
                member("e", &base64url::encode(e))?;
            }
            Material::EllipticCurve { x, y } => {
                member("kty", "EC")?;
                member("crv", self.curve())?;
                member("x", &base64url::encode(x))?;
                member("y", &base64url::encode(y))?;
            }
            Material::Ed25519 { x } => {
                member("kty", "OKP")?;
                member("crv", "Ed25519")?;
                member("x", &base64url::encode(x))?;
            }
        }
        member("alg", self.algorithm.as_str())?;
        member("use", "sig")?;
        if let Some(kid) = &self.kid {
            member("kid", kid)?;
        }
        members.end()
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Refuses keys that are not meant for verifying signatures (RFC 7517 §4.2, §4.3), and keys that are no longer secret.
fn check_intent(members: &Map<String, Value>) -> Result<(), Error> {
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
        .iter()
        .any(|name| members.contains_key(*name))
    {
        return Err(invalid(
            "its private half is published, so anybody can sign with it",
        ));
    }
    if !matches!(optional_text(members, "use")?, None | Some("sig")) {
        return Err(invalid("`use` is not `sig`"));
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations))
            if operations.iter().any(|operation| operation == "verify") =>
        {
            Ok(())
        }
        Some(_) => Err(invalid("`key_ops` has no `verify`")),
    }
}

fn pinned(
    alg: Option<&str>,
    default: Algorithm,
    fits: impl Fn(Algorithm) -> bool,
) -> Result<Algorithm, Error> {
    let Some(name) = alg else { return Ok(default) };
    match name.parse() {
        Ok(algorithm) if fits(algorithm) => Ok(algorithm),
        _ => Err(invalid("`alg` is not supported for this `kty` and `crv`")),
    }
}

fn is_rsa(algorithm: Algorithm) -> bool {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
}

fn optional_text<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, Error> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid("a member that must be a string is none")),
    }
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Error> {
    optional_text(members, name)?
        .and_then(base64url::decode)
        .ok_or(invalid("a member of the key is missing or not base64url"))
}

const fn invalid(detail: &'static str) -> Error {
    Error::because(ErrorKind::InvalidKey, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// RFC 7638 §3.1
    #[test]
    fn the_thumbprint_of_the_rfcs_key_is_the_published_one() {
        let text = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let key = Jwk::from_json(&json::parse_object(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            key.thumbprint().to_string(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    /// RFC 8037 §A.3
    #[test]
    fn the_thumbprint_of_an_ed25519_key_is_the_published_one() {
        let text =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = Jwk::from_json(&json::parse_object(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            key.thumbprint().to_string(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }
}
