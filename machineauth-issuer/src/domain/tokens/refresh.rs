//! Refresh tokens: signed values that name everything needed to redeem them, so that none is stored.
//!
//! A *family* is one refresh token with all its successors. Redeeming one writes a small row
//! `redeemed/{family}/{sequence}`; an unredeemed token leaves no trace in the store at all.

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::dpop::Thumbprint;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};

use crate::domain::id::{ClientId, FamilyId, TokenId};
use crate::domain::vault::Vault;
use crate::store::{Batch, Key, Partition, Store, StoreError, Table, Versioned};

const PREFIX: &str = "rt_";
/// The format before tokens could be for an audience of their own: the audience and its length are missing.
const WITHOUT_AUDIENCE: u8 = 1;
/// The format before tokens could be bound to a key: the key and whether there is one are missing.
const WITHOUT_KEY: u8 = 2;
const FORMAT: u8 = 3;
const MAC_LENGTH: usize = 32;
const FIXED_LENGTH: usize = 1 + 16 + 16 + 8 + 8 + 8 + 2;

const REDEEMED: Table<Issuance> = Table::new("redeemed", 1);

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
    /// Whom access tokens obtained with it are meant for; `None` for the server's own audience.
    pub audience: Option<String>,
    /// The key that whoever redeems it must have, and that access tokens obtained with it are bound to (RFC 9449 §5).
    pub key: Option<Thumbprint>,
    /// The most that an access token obtained with it can carry (RFC 6749 §6).
    pub scope: ScopeSet,
}

/// What was issued: the access token, as far as it is not the agent's. Kept of a redeemed refresh token, so that the
/// same answer can be given once more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issuance {
    /// When; the `iat` of the access token.
    pub at: Timestamp,
    /// The `jti` of the access token.
    pub token_id: TokenId,
    /// The scope of the access token.
    pub scope: ScopeSet,
    /// Whom the access token is meant for; `None` for the server's own audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The key that the access token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
}

impl RefreshToken {
    /// The first token of a new family.
    pub fn first(
        client_id: ClientId,
        generation: u64,
        scope: ScopeSet,
        audience: Option<String>,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            client_id,
            family: FamilyId::random(),
            sequence: 0,
            generation,
            expires_at,
            audience,
            key: None,
            scope,
        }
    }

    /// The same, for whoever has `key` only.
    pub fn bound_to(self, key: Option<Thumbprint>) -> Self {
        Self { key, ..self }
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
        let audience = self.audience.as_deref().unwrap_or_default();
        let length = u16::try_from(audience.len()).expect("an audience has at most 1024 bytes");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(audience.as_bytes());
        bytes.push(self.key.is_some().into());
        bytes.extend(self.key.iter().flat_map(Thumbprint::as_bytes));
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
        if !matches!(format, WITHOUT_AUDIENCE | WITHOUT_KEY | FORMAT) {
            return None;
        }
        let mut token = Self {
            client_id: ClientId::from_bytes(take(&mut rest)?),
            family: FamilyId::from_bytes(take(&mut rest)?),
            sequence: u64::from_be_bytes(take(&mut rest)?),
            generation: u64::from_be_bytes(take(&mut rest)?),
            expires_at: Timestamp::from_secs(u64::from_be_bytes(take(&mut rest)?)),
            audience: None,
            key: None,
            scope: ScopeSet::new(),
        };
        if format != WITHOUT_AUDIENCE {
            let length = u16::from_be_bytes(take(&mut rest)?);
            let (audience, scope) = rest.split_at_checked(length.into())?;
            rest = scope;
            token.audience = match audience {
                [] => None,
                audience => Some(std::str::from_utf8(audience).ok()?.to_owned()),
            };
        }
        if format == FORMAT {
            token.key = match take(&mut rest)? {
                [0] => None,
                [1] => Some(Thumbprint::from(take::<32>(&mut rest)?)),
                _ => return None,
            };
        }
        token.scope = std::str::from_utf8(rest).ok()?.parse().ok()?;
        Some(token)
    }

    fn redemption_key(&self, home: Partition) -> Key {
        REDEEMED.key(home).with(self.family).with(self.sequence)
    }

    /// Adds to `batch`: this token is redeemed for `issuance`, and was not before.
    pub fn redeem(&self, batch: Batch, issuance: &Issuance) -> Batch {
        let key = self.redemption_key(batch.partition());
        batch
            .absent(&key)
            .put_until(&key, REDEEMED.encode(issuance), self.expires_at)
            .on_replicas()
    }

    /// The check that a batch makes so that an answer is repeated only while nobody has gone on from it.
    pub fn not_redeemed(&self, batch: Batch) -> Batch {
        let key = self.redemption_key(batch.partition());
        batch.absent(&key)
    }

    /// What the token was redeemed for, if it was.
    ///
    /// # Errors
    /// When the store cannot tell.
    pub async fn redemption(
        &self,
        store: &dyn Store,
        home: Partition,
    ) -> Result<Option<Issuance>, StoreError> {
        let row: Option<Versioned<Issuance>> =
            REDEEMED.get(store, &self.redemption_key(home)).await?;
        Ok(row.map(|row| row.value))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use machineauth_core::clock::{Clock, ManualClock};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::vault::ServerKey;
    use crate::store::MemoryStore;

    fn vault() -> Vault {
        let clock: std::sync::Arc<dyn Clock> =
            std::sync::Arc::new(ManualClock::new(Timestamp::from_secs(0)));
        let store = MemoryStore::new(std::sync::Arc::clone(&clock));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime
            .block_on(Vault::open(&store, &ServerKey::generate(), None, &*clock))
            .unwrap()
    }

    fn token(scope: &str, sequence: u64, generation: u64, expires_at: u64) -> RefreshToken {
        RefreshToken {
            sequence,
            ..RefreshToken::first(
                ClientId::random(),
                generation,
                scope.parse().unwrap(),
                None,
                Timestamp::from_secs(expires_at),
            )
        }
    }

    proptest! {
        #[test]
        fn a_token_survives_its_text(
            scope in "([a-z:]{1,12}( [a-z:]{1,12}){0,5})?",
            sequence: u32,
            generation: u64,
            expires_at in 0..1_u64 << 40,
            audience in "(https://[a-z]{1,60})?",
            key: Option<[u8; 32]>,
        ) {
            let vault = vault();
            let audience = Some(audience).filter(|audience| !audience.is_empty());
            let token = RefreshToken {
                audience,
                key: key.map(Thumbprint::from),
                ..token(&scope, sequence.into(), generation, expires_at)
            };
            prop_assert_eq!(RefreshToken::parse(&token.to_text(&vault), &vault), Some(token));
        }

        /// I22
        #[test]
        fn no_text_makes_the_parser_panic(text in "(rt_)?\\PC{0,200}") {
            prop_assert_eq!(RefreshToken::parse(&text, &vault()), None);
        }

        #[test]
        fn no_changed_character_is_accepted(at in 3_usize..140, with in "[A-Za-z0-9_-]") {
            let vault = vault();
            let text = token("read write", 1, 0, 1_800_000_000).to_text(&vault);
            let at = at % (text.len() - 3) + 3;
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(RefreshToken::parse(&changed, &vault).is_some(), changed == text);
        }
    }

    #[test]
    fn another_server_does_not_recognise_it() {
        let text = token("read", 0, 0, 1_800_000_000).to_text(&vault());
        assert_eq!(RefreshToken::parse(&text, &vault()), None);
    }

    #[test]
    fn a_token_has_one_successor() {
        let vault = vault();
        let token = token("read", 7, 0, 1_800_000_000);
        assert_eq!(
            token.successor().to_text(&vault),
            token.successor().to_text(&vault)
        );
        assert_eq!(token.successor().sequence, 8);
    }
}
