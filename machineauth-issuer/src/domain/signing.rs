//! The key that signs access tokens, and the keys that verify them.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::{Algorithm, SigningKey};
use machineauth_core::jwks::{FetchError, FetchFuture, FetchKeys, JwksCache};
use machineauth_core::keyset::KeySet;
use serde::{Deserialize, Serialize};

use super::revocation::LONGEST_LIFETIME;
use super::vault::Vault;
use crate::store::{Batch, DynStore, Key, KeyName, Outcome, Partition, Store, StoreError, Table};

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

/// The key that signs, and the `kid` that its tokens carry.
#[derive(Debug)]
pub struct ActiveKey {
    /// The `kid` header of tokens (RFC 7515 §4.1.4).
    pub kid: String,
    /// The private key.
    pub key: SigningKey,
}

impl ActiveKey {
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
                let (kid, key) = keys.swap_remove(at);
                return Ok(Self { kid, key });
            }
        }
        Err(SigningError::NameTaken(kid.to_string()))
    }
}

/// The public half of every stored key, whichever issuer on the store made it: what the key set document shows and what
/// our own verifier trusts.
pub struct PublishedKeys {
    /// Where the keys are.
    pub store: DynStore,
    /// Opens them.
    pub vault: Arc<Vault>,
}

impl PublishedKeys {
    /// Keeps the published keys at hand. A `kid` that another issuer made a moment ago is looked for at once.
    ///
    /// # Errors
    /// When the limits contradict each other, which is a programming error.
    pub fn cached(self, clock: Arc<dyn Clock>) -> Result<JwksCache, machineauth_core::Error> {
        JwksCache::builder(self)
            .clock(clock)
            .cool_down(Duration::from_secs(1))
            .refresh_every(Duration::from_secs(60))
            .max_age(LONGEST_LIFETIME)
            .build()
    }
}

impl fmt::Debug for PublishedKeys {
    /// What a log calls this source of keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store")
    }
}

impl FetchKeys for PublishedKeys {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(async {
            let keys = load(&*self.store, &self.vault).await.map_err(|error| {
                tracing::warn!(%error, "the published keys cannot be read");
                FetchError::Unreachable
            })?;
            let public = keys.iter().map(|(kid, key)| key.public_jwk(kid));
            Ok(KeySet::from_jwks(public).to_json().into())
        })
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
