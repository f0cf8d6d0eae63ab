//! Who administers the server.

use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{HmacKey, random, sha256};
use uuid::Uuid;

use super::secret::SecretText;
use super::vault::Vault;

/// How the tokens of administrators begin.
pub const SESSION_PREFIX: &str = "mas_";
/// How long a token of an administrator works: a working day.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3600);
const MAC_LENGTH: usize = 32;

/// The configured administrator's credentials, as a keyed hash under a key of this process.
///
/// A login gets a signed value that says until when it works. It is stored nowhere, works at every issuer on the store,
/// and ends with the password that it was got with.
#[derive(Debug)]
pub struct AdministratorCredentials {
    email: String,
    key: HmacKey,
    mac: [u8; 32],
    sessions: HmacKey,
}

impl AdministratorCredentials {
    /// The credentials of this administrator.
    pub fn new(email: &str, password: &SecretText, vault: &Vault) -> Self {
        let key = HmacKey::new(&random::<32>());
        let message = message(email, password.reveal());
        Self {
            email: email.to_owned(),
            mac: key.sign(&message),
            sessions: HmacKey::new(&vault.administrator_sessions().sign(&message)),
            key,
        }
    }

    /// The administrator's address.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// Names the administrator, the same as long as the address is the same.
    pub fn id(&self) -> Uuid {
        let digest = sha256(format!("administrator {}", self.email).as_bytes());
        let (bytes, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        uuid::Builder::from_custom_bytes(*bytes).into_uuid()
    }

    /// Whether both are right, in time that tells nothing about either.
    pub fn recognizes(&self, user: &str, password: &str) -> bool {
        self.key.verify(&message(user, password), &self.mac)
    }

    /// A token for whoever has just proved to be the administrator.
    pub fn begin_session(&self, now: Timestamp) -> SecretText {
        let end = now.saturating_add(SESSION_LIFETIME).as_secs().to_be_bytes();
        let mut bytes = end.to_vec();
        bytes.extend_from_slice(&self.sessions.sign(&end));
        let mut text = SESSION_PREFIX.to_owned();
        base64url::encode_to(bytes, &mut text);
        text.into()
    }

    /// Whether the token was got with these credentials and still works at `now`.
    pub fn recognizes_session(&self, text: &str, now: Timestamp) -> bool {
        let bytes = text
            .strip_prefix(SESSION_PREFIX)
            .and_then(base64url::decode);
        let Some(bytes) = bytes.filter(|bytes| bytes.len() == 8 + MAC_LENGTH) else {
            return false;
        };
        let (end, mac) = bytes.split_at(8);
        let end_seconds = end.try_into().map_or(0, u64::from_be_bytes);
        self.sessions.verify(end, mac) && now < Timestamp::from_secs(end_seconds)
    }
}

fn message(email: &str, password: &str) -> Vec<u8> {
    // The user name of HTTP Basic holds no colon, so no two pairs give the same text.
    format!("{email}:{password}").into_bytes()
}
