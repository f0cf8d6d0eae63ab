//! The keys that sign access tokens, and the key set that verifies them.

use std::str::FromStr as _;
use std::sync::Arc;

use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::{Algorithm, SigningKey};
use machineauth_core::jwk::Jwk;
use machineauth_core::keyset::KeySet;
use serde::{Deserialize, Serialize};

use super::vault::Vault;
use crate::store::{Batch, Key, KeyName, Outcome, Partition, Store, StoreError, Table};

const SIGNING_KEYS: Table<StoredKey> = Table::new("signing_key", 1);
/// More keys than an issuer ever publishes at once.
const MAX_KEYS: usize = 100;

#[derive(Serialize, Deserialize)]
struct StoredKey {
    algorithm: String,
    /// The PKCS #8 private key, sealed by the vault for this row.
    private: String,
    created_at: Timestamp,
}

/// Why the signing keys could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A stored key does not open or does not parse.
    #[error(
        "the stored signing key {0:?} cannot be read: it is damaged, or was sealed for another store"
    )]
    Unreadable(String),
    /// Every derived name for a new key is taken by a key of another algorithm.
    #[error(
        "JWT_KEY_ID {0:?} and the name derived from it are taken by keys of other algorithms: choose another"
    )]
    NameTaken(String),
    /// A new key could not be generated.
    #[error("generating a signing key failed: {0}")]
    Generate(machineauth_core::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The key in use for new tokens, and the public half of every key whose tokens may still be alive.
#[derive(Debug)]
pub struct SigningKeys {
    active: ActiveKey,
    published: Arc<KeySet>,
}

/// The key that signs, and the `kid` that its tokens carry.
#[derive(Debug)]
pub struct ActiveKey {
    /// The `kid` header of tokens (RFC 7515 §4.1.4).
    pub kid: String,
    /// The private key.
    pub key: SigningKey,
}

impl SigningKeys {
    /// Loads all stored keys and picks the one for `algorithm`, generating it when there is none.
    ///
    /// A new key is named `kid`; when a key of another algorithm has that name, `kid` with the algorithm behind it,
    /// since the older key stays published for the tokens that it signed.
    ///
    /// # Errors
    /// When a stored key is unreadable, the name is taken, or the store fails.
    pub async fn open(
        store: &dyn Store,
        vault: &Vault,
        clock: &dyn Clock,
        algorithm: Algorithm,
        kid: &KeyName,
    ) -> Result<Self, SigningError> {
        let mut keys = load(store, vault).await?;
        let suffixed = format!("{kid}-{}", algorithm.as_str().to_lowercase());
        let candidates = [
            kid.clone(),
            KeyName::try_from(suffixed.as_str()).unwrap_or_else(|_| kid.clone()),
        ];
        for candidate in &candidates {
            if !keys.iter().any(|(name, _)| name == candidate.as_str()) {
                generate(store, vault, clock, algorithm, candidate).await?;
                // Read back: another issuer may have stored its key of that name first.
                keys = load(store, vault).await?;
            }
            if let Some(at) = keys
                .iter()
                .position(|(name, key)| name == candidate.as_str() && key.algorithm() == algorithm)
            {
                return Ok(Self::assemble(keys, at));
            }
        }
        Err(SigningError::NameTaken(kid.to_string()))
    }

    fn assemble(mut keys: Vec<(String, SigningKey)>, active: usize) -> Self {
        let published: Vec<Jwk> = keys.iter().map(|(kid, key)| key.public_jwk(kid)).collect();
        let (kid, key) = keys.swap_remove(active);
        Self {
            active: ActiveKey { kid, key },
            published: Arc::new(KeySet::from_jwks(published)),
        }
    }

    /// The key that signs new tokens.
    pub fn active(&self) -> &ActiveKey {
        &self.active
    }

    /// The public keys, as verifiers see them (RFC 7517 §5).
    pub fn published(&self) -> &Arc<KeySet> {
        &self.published
    }
}

fn row(kid: &KeyName) -> Key {
    SIGNING_KEYS.key(Partition::SYSTEM).with(kid)
}

async fn load(store: &dyn Store, vault: &Vault) -> Result<Vec<(String, SigningKey)>, SigningError> {
    let prefix = SIGNING_KEYS.key(Partition::SYSTEM);
    let rows = SIGNING_KEYS.scan(store, &prefix, None, MAX_KEYS).await?;
    rows.into_iter()
        .map(|(key, stored)| {
            let kid = key.last_part().to_owned();
            let signing = open_key(vault, &key, &stored.value)
                .ok_or_else(|| SigningError::Unreadable(kid.clone()))?;
            Ok((kid, signing))
        })
        .collect()
}

fn open_key(vault: &Vault, row: &Key, stored: &StoredKey) -> Option<SigningKey> {
    let algorithm = Algorithm::from_str(&stored.algorithm).ok()?;
    let private = vault.open_sealed(&stored.private, row)?;
    SigningKey::from_pkcs8(algorithm, &private).ok()
}

async fn generate(
    store: &dyn Store,
    vault: &Vault,
    clock: &dyn Clock,
    algorithm: Algorithm,
    kid: &KeyName,
) -> Result<(), SigningError> {
    let key = SigningKey::generate(algorithm).map_err(SigningError::Generate)?;
    let row = row(kid);
    let stored = StoredKey {
        algorithm: algorithm.as_str().to_owned(),
        private: vault.seal(&key.to_pkcs8(), &row),
        created_at: clock.now(),
    };
    let batch = Batch::new(Partition::SYSTEM)
        .absent(&row)
        .put(&row, SIGNING_KEYS.encode(&stored));
    match store.commit(&batch).await? {
        Outcome::Committed => {
            tracing::info!(%kid, algorithm = algorithm.as_str(), "generated a signing key")
        }
        Outcome::Conflict => tracing::info!(%kid, "another issuer generated the signing key first"),
    }
    Ok(())
}
