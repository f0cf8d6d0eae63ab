//! The published keys of one issuer (RFC 7517 §5).

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::crypto::{Algorithm, VerifyingKey};
use crate::error::{Error, ErrorKind};
use crate::json;
use crate::jwk::Jwk;

/// A longer document is refused unread, in bytes.
const MAX_DOCUMENT: usize = 512 * 1024;

/// A document with more keys is refused; each costs memory and a parse.
const MAX_KEYS: usize = 100;

/// An immutable set of parsed keys. It belongs to one issuer: keep one set per issuer, so that a key of one can never
/// vouch for another.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Arc<PublishedKey>>,
    skipped: usize,
}

/// A key of the set, with the JSON it came from.
pub(crate) struct PublishedKey {
    pub(crate) jwk: Jwk,
    pub(crate) verifying: VerifyingKey,
}

impl KeySet {
    /// Reads a JWK Set document. A key that cannot be used is skipped and counted, never a reason to drop the others:
    /// an unknown `kty`, a weak or malformed key, one for encryption, one published with its private half, or one
    /// whose `kid` and algorithm another key has already.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] when the document is longer than 512 KiB, not strict JSON, has no `keys` array, or
    /// more than 100 keys.
    pub fn parse(document: &[u8]) -> Result<Self, Error> {
        if document.len() > MAX_DOCUMENT {
            return Err(invalid("the key set is longer than 512 KiB"));
        }
        let object =
            json::parse_object(document).map_err(|_| invalid("the key set is not strict JSON"))?;
        let Some(Value::Array(items)) = object.get("keys") else {
            return Err(invalid("the key set has no array `keys`"));
        };
        if items.len() > MAX_KEYS {
            return Err(invalid("the key set has more than 100 keys"));
        }
        let mut set = Self::default();
        for item in items {
            let jwk = item
                .as_object()
                .ok_or(invalid("a key is not an object"))
                .and_then(Jwk::from_json);
            set.add(jwk);
        }
        Ok(set)
    }

    /// A set of keys made in this process. Unusable ones are skipped and counted, as in [`KeySet::parse`].
    pub fn from_jwks(jwks: impl IntoIterator<Item = Jwk>) -> Self {
        let mut set = Self::default();
        jwks.into_iter().for_each(|jwk| set.add(Ok(jwk)));
        set
    }

    fn add(&mut self, jwk: Result<Jwk, Error>) {
        let key = jwk.and_then(|jwk| {
            Ok(PublishedKey {
                verifying: jwk.verifying_key()?,
                jwk,
            })
        });
        match key {
            Ok(key) if !self.has_twin(&key.jwk) => self.keys.push(Arc::new(key)),
            _ => self.skipped += 1,
        }
    }

    /// Two keys that answer to the same header would leave it to chance which one judges.
    fn has_twin(&self, jwk: &Jwk) -> bool {
        jwk.kid().is_some()
            && self
                .jwks()
                .any(|own| own.kid() == jwk.kid() && own.algorithm() == jwk.algorithm())
    }

    /// The key that a header with this `kid` and `alg` asks for. Without a `kid`, the only key of that algorithm.
    ///
    /// # Errors
    /// * [`ErrorKind::UnsupportedAlgorithm`] when the key called `kid` is for another algorithm.
    /// * [`ErrorKind::UnknownKey`] when there is no such key; without a `kid`, also when several would fit.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&VerifyingKey, Error> {
        self.published(kid, algorithm).map(|key| &key.verifying)
    }

    pub(crate) fn published(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&Arc<PublishedKey>, Error> {
        let fits = |key: &&Arc<PublishedKey>| key.jwk.algorithm() == algorithm;
        let Some(kid) = kid else {
            let mut fitting = self.keys.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Ok(key),
                (None, _) => Err(Error::new(ErrorKind::UnknownKey)),
                (Some(_), Some(_)) => Err(Error::because(
                    ErrorKind::UnknownKey,
                    "it names no `kid`, and several keys would fit",
                )),
            };
        };
        let mut named = self
            .keys
            .iter()
            .filter(|key| key.jwk.kid() == Some(kid))
            .peekable();
        if named.peek().is_none() {
            return Err(Error::new(ErrorKind::UnknownKey));
        }
        named
            .find(fits)
            .ok_or(Error::new(ErrorKind::UnsupportedAlgorithm))
    }

    /// Whether any key is called `kid`.
    pub fn has(&self, kid: &str) -> bool {
        self.jwks().any(|jwk| jwk.kid() == Some(kid))
    }

    /// The keys as JSON.
    pub fn jwks(&self) -> impl Iterator<Item = &Jwk> {
        self.keys.iter().map(|key| &key.jwk)
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys of the document cannot be used.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The JWK Set document of the usable keys. It has public members only.
    pub fn to_json(&self) -> String {
        let keys: Vec<&Jwk> = self.jwks().collect();
        serde_json::json!({ "keys": keys }).to_string()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("keys", &self.keys)
            .field("skipped", &self.skipped)
            .finish()
    }
}

impl fmt::Debug for PublishedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jwk.fmt(f)
    }
}

const fn invalid(detail: &'static str) -> Error {
    Error::because(ErrorKind::InvalidKey, detail)
}
