//! The key that seals the audit trail.
//!
//! It is kept as other private keys are: sealed by the vault, so that whoever can write to the store but does not have the
//! server key cannot seal a trail of its own making.

use std::collections::BTreeMap;

use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{Algorithm, SigningKey, VerifyingKey, random};
use machineauth_core::jwk::Jwk;
use serde::{Deserialize, Serialize};

use super::event::{self, Action, By, Fact};
use super::vault::Vault;
use crate::store::{Batch, Key, KeyName, Outcome, Partition, Store, StoreError, Table};

const SEALING_KEYS: Table<StoredKey> = Table::new("sealing_key", 1);
const MAX_KEYS: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
struct StoredKey {
    /// The PKCS #8 private key, sealed by the vault for this row.
    private: String,
    created_at: Timestamp,
}

/// Why the trail cannot be sealed or verified.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// A stored key does not open or does not parse.
    #[error("the sealing key {0:?} cannot be read: it is damaged, or was sealed for another store")]
    Unreadable(String),
    /// Making a key or a signature failed.
    #[error("sealing failed: {0}")]
    Cryptography(machineauth_core::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that seals.
#[derive(Debug)]
pub struct SealingKey {
    kid: String,
    key: SigningKey,
}

impl SealingKey {
    /// What the key is called in seals.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The signature over `message`.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SealingError> {
        self.key.sign(message).map_err(SealingError::Cryptography)
    }

    /// The public half, to keep beside exported seals.
    pub fn public_jwk(&self) -> Jwk {
        self.key.public_jwk(&self.kid)
    }

    /// The store's key, made where there is none.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub async fn open(
        store: &dyn Store,
        vault: &Vault,
        now: Timestamp,
    ) -> Result<Self, SealingError> {
        loop {
            if let Some(key) = load(store, vault).await?.into_iter().next_back() {
                return Ok(key);
            }
            let key = SigningKey::generate(Algorithm::EdDSA).map_err(SealingError::Cryptography)?;
            let kid: String = random::<4>()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let name = KeyName::try_from(format!("seal-{kid}").as_str());
            let row = row(&name.expect("hexadecimal digits name a row"));
            let stored = StoredKey {
                private: vault.seal(&key.to_pkcs8(), &row),
                created_at: now,
            };
            // Whoever comes second finds the first one's marker, and takes its key.
            let first = Partition::SYSTEM.key("sealing_key_made");
            let batch = Batch::new(Partition::SYSTEM)
                .absent(&first)
                .put(&first, bytes::Bytes::new())
                .put(&row, SEALING_KEYS.encode(&stored));
            let fact = Fact::new(Action::SigningKeyCreated).on("sealing_key", &row.last_part());
            let batch = event::record(batch, fact, &By::SYSTEM, now);
            match store.commit(&batch).await? {
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
    }

    /// The public halves of all keys that ever sealed, by what they are called in seals.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn all_public(
        store: &dyn Store,
        vault: &Vault,
    ) -> Result<BTreeMap<String, VerifyingKey>, SealingError> {
        let keys = load(store, vault).await?.into_iter().map(|key| {
            let public = key.key.verifying_key();
            Ok((key.kid, public.map_err(SealingError::Cryptography)?))
        });
        keys.collect()
    }
}

async fn load(store: &dyn Store, vault: &Vault) -> Result<Vec<SealingKey>, SealingError> {
    let prefix = SEALING_KEYS.key(Partition::SYSTEM);
    let rows = SEALING_KEYS.scan(store, &prefix, None, MAX_KEYS).await?;
    let keys = rows.into_iter().map(|(row, stored)| {
        let kid = row.last_part().to_owned();
        let private = vault.open_sealed(&stored.value.private, &row);
        let key = private.and_then(|key| SigningKey::from_pkcs8(Algorithm::EdDSA, &key).ok());
        match key {
            Some(key) => Ok(SealingKey { kid, key }),
            None => Err(SealingError::Unreadable(kid)),
        }
    });
    keys.collect()
}

fn row(name: &KeyName) -> Key {
    SEALING_KEYS.key(Partition::SYSTEM).with(name)
}
