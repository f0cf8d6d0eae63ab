//! Secrets that we mint: a prefix that scanners recognise, 256 random bits, a checksum. And what is kept of secrets, of
//! ours and of those that were brought along from elsewhere.
//!
//! Only `[A-Za-z0-9_-]` occur, so that HTTP Basic carries a secret unchanged whether or not the client
//! percent-encodes it (RFC 6749 §2.3.1).

use std::fmt;

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{random, sha256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::id::SecretId;
use super::password_hash::PasswordHash;

/// The text of a secret. Shown once, to the one who asked for it; `Debug` never prints it.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// A fresh secret: `prefix`, 43 characters of randomness, 6 of checksum.
    pub fn generate(prefix: &'static str) -> Self {
        let random = Zeroizing::new(random::<32>());
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 49));
        text.push_str(prefix);
        base64url::encode_to(random.as_slice(), &mut text);
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self(text)
    }

    /// The text itself, for the answer that carries it and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    /// Takes what a client presented.
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Lets a scanner tell a leaked secret from a random word without asking us.
fn checksum(text: &str) -> String {
    let digest = sha256(text.as_bytes());
    base64url::encode(&digest[..4])
}

/// What is kept of a client secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredSecret {
    /// Names this secret among those of its agent.
    pub id: SecretId,
    /// What a presented secret is compared with.
    #[serde(flatten)]
    pub hash: SecretHash,
    /// When the secret was made.
    pub created_at: Timestamp,
    /// When the secret stops working: the end of a rotation's grace. `None` while it is the current one.
    pub expires_at: Option<Timestamp>,
}

/// What a presented secret is compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SecretHash {
    /// Of a secret with 256 random bits, for which a fast hash is enough: a keyed one, so that a copy of the store can
    /// check nothing.
    Keyed {
        /// The data key under which `mac` was made.
        key: String,
        /// HMAC-SHA-256 over the owner and the secret.
        #[serde(with = "mac_as_text")]
        mac: [u8; 32],
    },
    /// Another system's, of a secret that an import brought along. It becomes a keyed one when the secret is first used.
    Brought {
        /// The other system's hash.
        password_hash: PasswordHash,
    },
}

impl StoredSecret {
    /// Whether the secret still works at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

mod mac_as_text {
    use machineauth_core::base64url;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        mac: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url::encode(mac))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64url::decode(text).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| D::Error::custom("a keyed hash is 32 bytes in base64url"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_both_basic_encodings() {
        for _ in 0..100 {
            let secret = SecretText::generate("cs_");
            assert!(
                secret
                    .reveal()
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            );
            assert_eq!(secret.reveal().len(), 52);
        }
    }

    #[test]
    fn the_end_of_a_secret_is_the_checksum_of_its_beginning() {
        let secret = SecretText::generate("cs_");
        let (body, end) = secret.reveal().split_at(46);
        assert_eq!(checksum(body), end);
    }

    #[test]
    fn debug_output_hides_a_secret() {
        let secret = SecretText::generate("cs_");
        assert!(!format!("{secret:?}").contains(&secret.reveal()[3..]));
    }
}
