use machineauth_core::Jwk;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::InvalidAgent;

/// The key with which an agent signs assertions of who it is (RFC 7523 §2.2): the public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PublicKey(Jwk);

impl PublicKey {
    /// Reads a PEM document, or a JWK (RFC 7517 §4).
    ///
    /// # Errors
    /// [`InvalidAgent::PublicKey`]
    pub fn parse(value: &Value) -> Result<Self, InvalidAgent> {
        let key = match value {
            Value::String(pem) => Jwk::from_public_pem(pem),
            Value::Object(members) => Jwk::from_json(members),
            _ => return Err(InvalidAgent::PublicKey),
        };
        // A key that cannot be used is noticed now and not when the agent comes.
        key.and_then(|key| key.verifying_key().map(|_| Self(key)))
            .map_err(|_| InvalidAgent::PublicKey)
    }

    /// The key.
    pub fn jwk(&self) -> &Jwk {
        &self.0
    }
}

impl From<Jwk> for PublicKey {
    fn from(key: Jwk) -> Self {
        Self(key)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        Jwk::from_json(&members)
            .map(Self)
            .map_err(|_| D::Error::custom("not a public key"))
    }
}
