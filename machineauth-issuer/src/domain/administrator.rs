//! Who administers.

use machineauth_core::crypto::{HmacKey, random};

use super::secret::SecretText;

/// The configured administrator's credentials, as a keyed hash under a key of this process.
#[derive(Debug)]
pub struct AdministratorCredentials {
    key: HmacKey,
    mac: [u8; 32],
}

impl AdministratorCredentials {
    /// The credentials of this administrator.
    pub fn new(email: &str, password: &SecretText) -> Self {
        let key = HmacKey::new(&random::<32>());
        let mac = key.sign(&message(email, password.reveal()));
        Self { key, mac }
    }

    /// Whether both are right, in time that tells nothing about either.
    pub fn recognizes(&self, user: &str, password: &str) -> bool {
        self.key.verify(&message(user, password), &self.mac)
    }
}

fn message(user: &str, password: &str) -> Vec<u8> {
    // The user name of HTTP Basic holds no colon, so no two pairs give the same text.
    format!("{user}:{password}").into_bytes()
}
