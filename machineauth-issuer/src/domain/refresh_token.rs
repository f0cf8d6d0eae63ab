//! Refresh tokens: signed values that name everything needed to redeem them, so that none is stored.
//!
//! A *family* is one refresh token with all its successors. Redeeming one writes a small row
//! `redeemed/{family}/{sequence}`; an unredeemed token leaves no trace in the store at all.

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};

use super::id::{ClientId, FamilyId, TokenId};
use super::vault::Vault;
use crate::store::{Batch, Key, Partition, Store, StoreError, Table, Versioned};

const PREFIX: &str = "rt_";
const FORMAT: u8 = 1;
const MAC_LENGTH: usize = 32;
const FIXED_LENGTH: usize = 1 + 16 + 16 + 8 + 8 + 8;

const REDEEMED: Table<Redemption> = Table::new("redeemed", 1);

/// The content of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Whom it was issued to.
    pub client_id: ClientId,
    /// The family that it belongs to.
    pub family: FamilyId,
    /// Its place in the family, from 0.
    pub sequence: u64,
    /// The agent's generation when the family began.
    pub generation: u64,
    /// When it expires; the same for the whole family.
    pub expires_at: Timestamp,
    /// The most that an access token obtained with it can carry (RFC 6749 §6).
    pub scope: ScopeSet,
}

/// What is kept of a redeemed refresh token: enough to give the same answer once more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Redemption {
    /// When it was redeemed; also the `iat` of the access token.
    pub at: Timestamp,
    /// The `jti` of the access token.
    pub token_id: TokenId,
    /// The scope of the access token.
    pub scope: ScopeSet,
}

impl RefreshToken {
    /// The first token of a new family.
    pub fn first(
        client_id: ClientId,
        generation: u64,
        scope: ScopeSet,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            client_id,
            family: FamilyId::random(),
            sequence: 0,
            generation,
            expires_at,
            scope,
        }
    }

    /// The token that replaces this one when it is redeemed. Always the same one.
    pub fn successor(&self) -> Self {
        Self {
            sequence: self.sequence + 1,
            ..self.clone()
        }
    }

    /// The signed text.
    pub fn to_text(&self, vault: &Vault) -> String {
        let scope = self.scope.to_string();
        let mut bytes = Vec::with_capacity(FIXED_LENGTH + scope.len() + MAC_LENGTH);
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.client_id.as_bytes());
        bytes.extend_from_slice(self.family.as_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.expires_at.as_secs().to_be_bytes());
        bytes.extend_from_slice(scope.as_bytes());
        let mac = vault.refresh_tokens().sign(&bytes);
        bytes.extend_from_slice(&mac);
        let mut text = PREFIX.to_owned();
        base64url::encode_to(bytes, &mut text);
        text
    }

    /// Reads a token that this server signed. `None` for everything else.
    pub fn parse(text: &str, vault: &Vault) -> Option<Self> {
        let bytes = base64url::decode(text.strip_prefix(PREFIX)?)?;
        let (content, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LENGTH)?)?;
        if !vault.refresh_tokens().verify(content, mac) {
            return None;
        }
        let mut rest = content;
        let [format] = take(&mut rest)?;
        if format != FORMAT {
            return None;
        }
        Some(Self {
            client_id: ClientId::from_bytes(take(&mut rest)?),
            family: FamilyId::from_bytes(take(&mut rest)?),
            sequence: u64::from_be_bytes(take(&mut rest)?),
            generation: u64::from_be_bytes(take(&mut rest)?),
            expires_at: Timestamp::from_secs(u64::from_be_bytes(take(&mut rest)?)),
            scope: std::str::from_utf8(rest).ok()?.parse().ok()?,
        })
    }

    fn redemption_key(&self, home: Partition) -> Key {
        REDEEMED.key(home).with(self.family).with(self.sequence)
    }

    /// Adds to `batch`: this token is redeemed now, and was not before.
    pub fn redeem(&self, batch: Batch, home: Partition, redemption: &Redemption) -> Batch {
        let key = self.redemption_key(home);
        batch
            .absent(&key)
            .put_until(&key, REDEEMED.encode(redemption), self.expires_at)
    }

    /// The check that a batch makes so that an answer is repeated only while nobody has gone on from it.
    pub fn not_redeemed(&self, batch: Batch, home: Partition) -> Batch {
        batch.absent(&self.redemption_key(home))
    }

    /// How the token was redeemed, if it was.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub async fn redemption(
        &self,
        store: &dyn Store,
        home: Partition,
    ) -> Result<Option<Redemption>, StoreError> {
        let row: Option<Versioned<Redemption>> =
            REDEEMED.get(store, &self.redemption_key(home)).await?;
        Ok(row.map(|row| row.value))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
