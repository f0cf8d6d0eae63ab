//! The administrator that is configured: always there, and always an owner.

use machineauth_core::crypto::{HmacKey, random};

use crate::domain::id::AdministratorId;
use crate::domain::secret::SecretText;

/// The configured administrator's credentials, as a keyed hash under a key of this process.
#[derive(Debug)]
pub(super) struct Configured {
    id: AdministratorId,
    email: Box<str>,
    password: SecretText,
    key: HmacKey,
    mac: [u8; 32],
}

impl Configured {
    pub(super) fn new(email: &str, password: &SecretText) -> Self {
        let key = HmacKey::new(&random::<32>());
        Self {
            id: super::id_of(email),
            email: email.into(),
            password: password.clone(),
            mac: key.sign(&message(email, password)),
            key,
        }
    }

    pub(super) fn id(&self) -> AdministratorId {
        self.id
    }

    pub(super) fn email(&self) -> &str {
        &self.email
    }

    pub(super) fn password(&self) -> &SecretText {
        &self.password
    }

    /// Whether both are right, in time that tells nothing about either.
    pub(super) fn recognizes(&self, user: &str, password: &SecretText) -> bool {
        self.key.verify(&message(user, password), &self.mac)
    }
}

fn message(email: &str, password: &SecretText) -> Vec<u8> {
    // The user name of HTTP Basic holds no colon, so no two pairs give the same text.
    format!("{email}:{}", password.reveal()).into_bytes()
}
