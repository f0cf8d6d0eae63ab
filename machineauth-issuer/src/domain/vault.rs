//! The server key, and the data key that it wraps.
//!
//! Nothing in the store is usable without the server key: private keys are sealed and secrets are kept as keyed
//! hashes, both under a random *data key*, and the data key is stored only wrapped by the server key. That the
//! wrapped key opens is also the check that the configured server key belongs to this store.

use std::fmt;

use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::{AeadKey, HmacKey, hkdf_sha256, random};
use machineauth_core::{base64url, hex};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::event::{self, Action, By, Fact};
use super::id::ClientId;
use super::secret::SecretText;
use crate::store::{Batch, Key, KeyName, Outcome, Partition, Store, StoreError, Table};

const DATA_KEYS: Table<WrappedKey> = Table::new("data_key", 1);
const FIRST_DATA_KEY: &str = "1";

/// The 256-bit key that everything secret in the store depends on.
#[derive(Clone)]
pub struct ServerKey(Zeroizing<[u8; 32]>);

/// A text that is not a server key.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "expected 32 random bytes in base64url (43 characters) or hex (64 characters), as `openssl rand -hex 32` prints"
)]
pub struct ParseServerKeyError;

impl ServerKey {
    /// A fresh random key.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// Reads a key from base64url or hex text; white space around it is ignored.
    ///
    /// # Errors
    /// When the text does not hold exactly 32 bytes.
    pub fn parse(text: &str) -> Result<Self, ParseServerKeyError> {
        let text = text.trim();
        let bytes = Zeroizing::new(
            match text.len() {
                64 => hex::decode(text),
                _ => base64url::decode(text.trim_end_matches('=')),
            }
            .ok_or(ParseServerKeyError)?,
        );
        let key: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| ParseServerKeyError)?;
        // A placeholder is no key.
        if key.iter().all(|byte| *byte == key[0]) {
            return Err(ParseServerKeyError);
        }
        Ok(Self(Zeroizing::new(key)))
    }

    /// The key as base64url text, for the file that keeps a generated one.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::encode(self.0.as_slice()))
    }

    fn wrapping(&self) -> AeadKey {
        AeadKey::new(&hkdf_sha256(
            self.0.as_slice(),
            b"machineauth data key wrapping",
        ))
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(…)")
    }
}

/// Why the vault did not open.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The stored data key was wrapped by another server key.
    #[error(
        "the server key does not belong to this store: set SERVER_KEY or SERVER_KEY_FILE to the key that the store was \
         created with; every issuer on one store shares one key"
    )]
    WrongServerKey,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
struct WrappedKey {
    wrapped: String,
    created_at: Timestamp,
}

/// Seals what must be read again, and hashes what need only be recognised.
pub struct Vault {
    data_key: KeyName,
    sealing: AeadKey,
    tokens: AeadKey,
    client_secrets: HmacKey,
    refresh_tokens: HmacKey,
    api_keys: HmacKey,
    administrator_sessions: HmacKey,
    administrator_tokens: HmacKey,
}

impl Vault {
    /// Opens the store's data key with the server key, making one in a new store.
    ///
    /// A store that was opened with `previous` so far is from now on opened with `server_key`: the data key is wrapped
    /// anew, and nothing else changes.
    ///
    /// # Errors
    /// [`VaultError::WrongServerKey`] when the store belongs to another server key.
    pub async fn open(
        store: &dyn Store,
        server_key: &ServerKey,
        previous: Option<&ServerKey>,
        clock: &dyn Clock,
    ) -> Result<Self, VaultError> {
        let (name, row) = first_data_key();
        loop {
            if let Some(stored) = DATA_KEYS.get(store, &row).await? {
                let opened = unwrap(&row, &stored.value, server_key);
                let (Err(_), Some(previous)) = (&opened, previous) else {
                    return opened.map(|data_key| Self::new(name, &data_key));
                };
                let data_key = unwrap(&row, &stored.value, previous)?;
                let record = WrappedKey {
                    wrapped: wrap(&row, &data_key, server_key),
                    created_at: stored.value.created_at,
                };
                let batch = Batch::new(Partition::SYSTEM)
                    .at_version(&row, stored.version)
                    .put(&row, DATA_KEYS.encode(&record));
                let fact = Fact::new(Action::ServerKeyChanged);
                let batch = event::record(batch, fact, &By::SYSTEM, clock.now());
                if store.commit(&batch).await? == Outcome::Committed {
                    tracing::info!(
                        "the store is now opened with the new server key; SERVER_KEY_PREVIOUS can go"
                    );
                }
                continue;
            }
            let data_key = Zeroizing::new(random::<32>());
            let record = WrappedKey {
                wrapped: wrap(&row, &data_key, server_key),
                created_at: clock.now(),
            };
            let batch = Batch::new(Partition::SYSTEM)
                .absent(&row)
                .put(&row, DATA_KEYS.encode(&record));
            match store.commit(&batch).await? {
                Outcome::Committed => return Ok(Self::new(name, &data_key)),
                // Another issuer opened the new store first: its key is the one.
                Outcome::Conflict => {}
            }
        }
    }

    /// Whether the store has a data key, so that a server key is bound to it.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn exists_in(store: &dyn Store) -> Result<bool, StoreError> {
        Ok(store.get(&first_data_key().1).await?.is_some())
    }

    /// Whether `server_key` opens the data key, when that is what the row of a copy at `path` in `partition` holds.
    pub fn opens(
        partition: Partition,
        path: &str,
        value: &[u8],
        server_key: &ServerKey,
    ) -> Option<Result<bool, StoreError>> {
        let (_, row) = first_data_key();
        if partition != row.partition() || path != row.path() {
            return None;
        }
        let stored = DATA_KEYS.decode(value);
        Some(stored.map(|stored| unwrap(&row, &stored, server_key).is_ok()))
    }

    fn new(data_key: KeyName, key: &[u8; 32]) -> Self {
        Self {
            data_key,
            sealing: AeadKey::new(&hkdf_sha256(key, b"machineauth sealing")),
            tokens: AeadKey::new(&hkdf_sha256(key, b"machineauth opaque tokens")),
            client_secrets: HmacKey::new(&hkdf_sha256(key, b"machineauth client secrets")),
            refresh_tokens: HmacKey::new(&hkdf_sha256(key, b"machineauth refresh tokens")),
            api_keys: HmacKey::new(&hkdf_sha256(key, b"machineauth API keys")),
            administrator_sessions: HmacKey::new(&hkdf_sha256(
                key,
                b"machineauth administrator sessions",
            )),
            administrator_tokens: HmacKey::new(&hkdf_sha256(
                key,
                b"machineauth administrator tokens",
            )),
        }
    }

    /// The name of the data key in use.
    pub fn data_key(&self) -> &KeyName {
        &self.data_key
    }

    /// Encrypts `plaintext` for the row `row`; it opens in no other row.
    pub fn seal(&self, plaintext: &[u8], row: &Key) -> String {
        base64url::encode(self.sealing.seal(plaintext, row.path().as_bytes()))
    }

    /// Opens what [`Vault::seal`] made for the row `row`. `None` when it was not made under this data key for this row.
    pub fn open_sealed(&self, sealed: &str, row: &Key) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = base64url::decode(sealed)?;
        self.sealing.open(&sealed, row.path().as_bytes()).ok()
    }

    /// The keyed hash under which a client's secret is kept.
    pub fn client_secret_mac(&self, owner: ClientId, secret: &SecretText) -> [u8; 32] {
        let mut message = Zeroizing::new(Vec::with_capacity(16 + secret.reveal().len()));
        message.extend_from_slice(owner.as_bytes());
        message.extend_from_slice(secret.reveal().as_bytes());
        self.client_secrets.sign(&message)
    }

    /// Encrypts the claims of an opaque access token.
    pub fn seal_token(&self, claims: &[u8]) -> String {
        base64url::encode(self.tokens.seal(claims, b""))
    }

    /// Opens what [`Vault::seal_token`] made. `None` for everything else.
    pub fn open_token(&self, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.tokens.open(&base64url::decode(sealed)?, b"").ok()
    }

    /// The keyed hash under which an API key is found.
    pub fn api_key_mac(&self, key: &SecretText) -> [u8; 32] {
        self.api_keys.sign(key.reveal().as_bytes())
    }

    /// The keyed hash that is kept of the token of a session or an invitation.
    pub fn administrator_token_mac(&self, token: &SecretText) -> [u8; 32] {
        self.administrator_tokens.sign(token.reveal().as_bytes())
    }

    /// The key of what administrators' sessions depend on.
    pub fn administrator_sessions(&self) -> &HmacKey {
        &self.administrator_sessions
    }

    /// The key that signs refresh tokens.
    pub fn refresh_tokens(&self) -> &HmacKey {
        &self.refresh_tokens
    }
}

fn wrap(row: &Key, data_key: &[u8; 32], server_key: &ServerKey) -> String {
    let wrapping = server_key.wrapping();
    base64url::encode(wrapping.seal(data_key, row.path().as_bytes()))
}

fn unwrap(
    row: &Key,
    stored: &WrappedKey,
    server_key: &ServerKey,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let wrapped = base64url::decode(&stored.wrapped).ok_or(VaultError::WrongServerKey)?;
    let opened = server_key
        .wrapping()
        .open(&wrapped, row.path().as_bytes())
        .map_err(|_| VaultError::WrongServerKey)?;
    let data_key = opened.as_slice().try_into();
    data_key
        .map(Zeroizing::new)
        .map_err(|_| VaultError::WrongServerKey)
}

fn first_data_key() -> (KeyName, Key) {
    let name = KeyName::try_from(FIRST_DATA_KEY).expect("a digit is a valid key name");
    let row = DATA_KEYS.key(Partition::SYSTEM).with(&name);
    (name, row)
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("data_key", &self.data_key)
            .finish_non_exhaustive()
    }
}
