//! The administrator that is configured, and the tokens that a login gets.

use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{HmacKey, random};

use super::secret::SecretText;
use super::vault::Vault;

/// How the tokens of administrators begin.
pub const SESSION_PREFIX: &str = "mas_";
/// How long a token of an administrator works: a working day.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3600);
const MAC_LENGTH: usize = 32;

/// The configured administrator's credentials, as a keyed hash under a key of this process.
#[derive(Debug)]
pub(super) struct Configured {
    email: String,
    password: SecretText,
    key: HmacKey,
    mac: [u8; 32],
}

impl Configured {
    pub(super) fn new(email: &str, password: &SecretText) -> Self {
        let key = HmacKey::new(&random::<32>());
        Self {
            email: email.to_owned(),
            password: password.clone(),
            mac: key.sign(&message(email, password.reveal())),
            key,
        }
    }

    pub(super) fn email(&self) -> &str {
        &self.email
    }

    /// Whether both are right, in time that tells nothing about either.
    pub(super) fn recognizes(&self, user: &str, password: &SecretText) -> bool {
        self.key
            .verify(&message(user, password.reveal()), &self.mac)
    }

    /// The sessions that begin with the configured password.
    pub(super) fn sessions(&self, epoch: &str, vault: &Vault) -> Sessions {
        Sessions::new(&self.email, self.password.reveal(), epoch, vault)
    }
}

/// Makes and recognises tokens of an administrator.
///
/// A login gets a signed value that says until when it works. It is stored nowhere, works at every issuer on the store,
/// and ends with the password that it was got with, and when all sessions end.
#[derive(Debug, Clone)]
pub struct Sessions(HmacKey);

impl Sessions {
    /// Those of the administrator with this address, and what makes its password its own, since `epoch`.
    pub(super) fn new(email: &str, password: &str, epoch: &str, vault: &Vault) -> Self {
        let of_the_administrator = vault
            .administrator_sessions()
            .sign(&message(email, password));
        let since = HmacKey::new(&of_the_administrator).sign(epoch.as_bytes());
        Self(HmacKey::new(&since))
    }

    /// A token for whoever has just proved to be the administrator.
    pub fn begin(&self, now: Timestamp) -> SecretText {
        let end = now.saturating_add(SESSION_LIFETIME).as_secs().to_be_bytes();
        let mut bytes = end.to_vec();
        bytes.extend_from_slice(&self.0.sign(&end));
        let mut text = SESSION_PREFIX.to_owned();
        base64url::encode_to(bytes, &mut text);
        text.into()
    }

    /// Whether the token is one of these, and still works at `now`.
    pub(super) fn recognize(&self, text: &str, now: Timestamp) -> bool {
        let bytes = text
            .strip_prefix(SESSION_PREFIX)
            .and_then(base64url::decode);
        let Some(bytes) = bytes.filter(|bytes| bytes.len() == 8 + MAC_LENGTH) else {
            return false;
        };
        let (end, mac) = bytes.split_at(8);
        let end_seconds = end.try_into().map_or(0, u64::from_be_bytes);
        self.0.verify(end, mac) && now < Timestamp::from_secs(end_seconds)
    }
}

fn message(email: &str, password: &str) -> Vec<u8> {
    // The user name of HTTP Basic holds no colon, so no two pairs give the same text.
    format!("{email}:{password}").into_bytes()
}
