//! API keys: what an organization's own programs administer it with.
//!
//! A key is found by a keyed hash of its text, so that the store holds nothing that could be presented. The text is
//! minted until it falls into the organization's partition: the row that finds a key lives beside the key.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::sha256;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};

use super::agent::MAX_EXPIRES_IN;
use super::event::{self, Action, By, Fact};
use super::id::{ApiKeyId, OrganizationId, TeamId};
use super::last_use::{self, LastUses};
use super::organizations::{self, StoredOrganization};
use super::secret::SecretText;
use super::teams::{self, Team};
use super::text;
use super::vault::Vault;
use crate::store::{
    Batch, DynStore, Key, KeyName, Outcome, Partition, StoreError, Table, Versioned,
};

const API_KEYS: Table<ApiKey> = Table::new("api_key", 1);
/// Finds a key by the hash of its text.
const BY_TEXT: Table<Found> = Table::new("api_key_text", 1);
const LAST_USED: &str = "api_key_used";

/// How the text of every key begins.
pub const PREFIX: &str = "mach_";
/// How much of the text is kept and shown, in characters.
const SHOWN: usize = 12;
/// The most keys that one organization can have.
pub const MAX_KEYS: usize = 1000;

/// Lets a key administer its organization.
pub const ADMIN: &str = "admin";
/// Everything that a key can be good for, which is also what a key has unless less was asked for.
const SCOPES: [&str; 4] = [ADMIN, "tokens:introspect", "revocations:read", "audit:read"];

/// The stored record of an API key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// Names it in the API.
    pub id: ApiKeyId,
    /// What it administers.
    pub organization_id: OrganizationId,
    /// The only team that it administers, where it is made for one.
    pub team_id: Option<TeamId>,
    /// For people.
    pub name: String,
    /// How its text begins, so that people recognise it.
    pub prefix: String,
    /// What it is good for.
    pub scopes: ScopeSet,
    /// The row that finds it.
    text_digest: TextDigest,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused. `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// Names the row that finds a key: where it is, and under which hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TextDigest {
    /// SHA-256 of the text decides on the partition: it does not depend on the data key.
    partition_of: String,
    hash: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Found {
    organization_id: OrganizationId,
    id: ApiKeyId,
}

/// What a key is made from.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// For people; 1 to [`text::MAX_NAME`] characters.
    pub name: String,
    /// The only team that it will administer.
    pub team: Option<Versioned<Team>>,
    /// What it will be good for; `None` for everything.
    pub scopes: Option<ScopeSet>,
    /// How long it works; 1 s to [`MAX_EXPIRES_IN`].
    pub expires_in: Option<Duration>,
}

/// A value that an API key cannot have. The text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApiKey {
    /// The name is empty, too long, or holds control characters.
    #[error("name: 1 to {} characters, no control characters", text::MAX_NAME)]
    Name,
    /// A scope that an API key cannot have, or none at all.
    #[error("scopes: at least one of admin, tokens:introspect, revocations:read, audit:read")]
    Scopes,
    /// A lifetime of nothing, or of more than a century.
    #[error("expires_in: 1 to {MAX_EXPIRES_IN} seconds")]
    ExpiresIn,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// There is no such key.
    #[error("there is no such API key")]
    NotFound,
    /// The record would not be valid.
    #[error(transparent)]
    Invalid(#[from] InvalidApiKey),
    /// The organization has as many keys as it can have.
    #[error("an organization has at most {MAX_KEYS} API keys")]
    TooMany,
    /// Others changed the same record, the organization or the team at the same time.
    #[error("the organization is being changed by many at once; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NewApiKey {
    fn validate(&self) -> Result<(), InvalidApiKey> {
        if !text::is_name(&self.name) {
            return Err(InvalidApiKey::Name);
        }
        let scopes_fit = self.scopes.as_ref().is_none_or(|scopes| {
            !scopes.is_empty() && scopes.iter().all(|scope| SCOPES.contains(&scope.as_str()))
        });
        if !scopes_fit {
            return Err(InvalidApiKey::Scopes);
        }
        match self.expires_in.map(|lifetime| lifetime.as_secs()) {
            Some(0) => Err(InvalidApiKey::ExpiresIn),
            Some(seconds) if seconds > MAX_EXPIRES_IN => Err(InvalidApiKey::ExpiresIn),
            _ => Ok(()),
        }
    }
}

impl ApiKey {
    /// Whether it works at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// All API keys.
#[derive(Debug)]
pub struct ApiKeys {
    store: DynStore,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    uses: LastUses<ApiKeyId>,
}

impl ApiKeys {
    /// The API keys in `store`.
    pub fn new(store: DynStore, clock: Arc<dyn Clock>, vault: Arc<Vault>) -> Self {
        Self {
            store,
            clock,
            vault,
            uses: LastUses::new(),
        }
    }

    /// Creates a key of `organization`. Its text is returned here and never again.
    ///
    /// # Errors
    /// [`ApiKeyError::Invalid`] names the field that cannot be accepted.
    pub async fn create(
        &self,
        organization: &StoredOrganization,
        new: NewApiKey,
        by: &By,
    ) -> Result<(ApiKey, SecretText), ApiKeyError> {
        new.validate()?;
        let home = organization.value.id;
        if self.list(home).await?.len() >= MAX_KEYS {
            return Err(ApiKeyError::TooMany);
        }
        let now = self.clock.now();
        let (secret, text_digest) = self.mint_in(home.partition());
        let key = ApiKey {
            id: ApiKeyId::random_in(home.partition()),
            organization_id: home,
            team_id: new.team.as_ref().map(|team| team.value.id),
            name: new.name,
            prefix: secret.reveal().chars().take(SHOWN).collect(),
            scopes: match new.scopes {
                Some(scopes) => scopes,
                None => SCOPES
                    .iter()
                    .filter_map(|scope| scope.parse().ok())
                    .collect(),
            },
            text_digest,
            created_at: now,
            expires_at: new.expires_in.map(|lifetime| now.saturating_add(lifetime)),
        };
        let (record, by_text) = (record_key(home, key.id), key.text_digest.key());
        let batch = organizations::unchanged(Batch::new(home.partition()), organization);
        let batch = match &new.team {
            Some(team) => teams::unchanged(batch, team),
            None => batch,
        };
        let batch = batch
            .absent(&record)
            .absent(&by_text)
            .put(&record, API_KEYS.encode(&key))
            .put(
                &by_text,
                BY_TEXT.encode(&Found {
                    organization_id: home,
                    id: key.id,
                }),
            );
        let fact = Fact::api_key(Action::ApiKeyCreated, &key)
            .with("prefix", key.prefix.as_str())
            .with("scopes", key.scopes.to_string());
        let batch = event::record(batch, fact, by, now);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok((key, secret)),
            Outcome::Conflict => Err(ApiKeyError::Contended),
        }
    }

    /// The key whose text this is, if it works and its organization is there. Says nothing about why not.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn authenticate(&self, text: &SecretText) -> Result<Option<ApiKey>, StoreError> {
        let by_text = self.digest(text).key();
        let Some(found) = BY_TEXT.get(&*self.store, &by_text).await? else {
            return Ok(None);
        };
        let Found {
            organization_id,
            id,
        } = found.value;
        let record = record_key(organization_id, id);
        let (key, organization) = futures_util::try_join!(
            API_KEYS.get(&*self.store, &record),
            organizations::read(&*self.store, organization_id),
        )?;
        let now = self.clock.now();
        let Some(key) = key.map(|key| key.value).filter(|key| key.is_active(now)) else {
            return Ok(None);
        };
        if organization.is_none() {
            return Ok(None);
        }
        self.remember_use(&key, now).await?;
        Ok(Some(key))
    }

    /// All keys of `organization`, each with the time of its last use.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(
        &self,
        organization: OrganizationId,
    ) -> Result<Vec<(ApiKey, Option<Timestamp>)>, StoreError> {
        let prefix = API_KEYS.key(organization.partition()).with(organization);
        let rows = API_KEYS.scan(&*self.store, &prefix, None, MAX_KEYS).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = rows
            .iter()
            .map(|(_, row)| last_used_key(organization, row.value.id))
            .collect();
        let uses = self.store.counts(&keys).await?;
        Ok(rows
            .into_iter()
            .zip(uses)
            .map(|((_, row), used)| (row.value, last_use::read(used)))
            .collect())
    }

    /// The key `id` of `organization`.
    ///
    /// # Errors
    /// [`ApiKeyError::NotFound`], or the store's failure.
    pub async fn find(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
    ) -> Result<Versioned<ApiKey>, ApiKeyError> {
        API_KEYS
            .get(&*self.store, &record_key(organization, id))
            .await?
            .ok_or(ApiKeyError::NotFound)
    }

    /// Revokes a key: from now on it is refused.
    ///
    /// # Errors
    /// [`ApiKeyError::NotFound`], or the store's failure.
    pub async fn delete(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
        by: &By,
    ) -> Result<(), ApiKeyError> {
        let key = self.find(organization, id).await?;
        match self.remove(&key, by).await? {
            Outcome::Committed => Ok(()),
            // A key never changes, so somebody else has deleted it.
            Outcome::Conflict => Err(ApiKeyError::NotFound),
        }
    }

    /// Deletes what is left of the keys of a deleted organization.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete_all_of(
        &self,
        organization: OrganizationId,
        by: &By,
    ) -> Result<(), StoreError> {
        let prefix = API_KEYS.key(organization.partition()).with(organization);
        for (_, key) in API_KEYS.scan(&*self.store, &prefix, None, MAX_KEYS).await? {
            match self.remove(&key, by).await? {
                // A conflict means that another issuer was faster.
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
        Ok(())
    }

    async fn remove(&self, stored: &Versioned<ApiKey>, by: &By) -> Result<Outcome, StoreError> {
        let key = &stored.value;
        let home = key.organization_id.partition();
        let (record, by_text) = (
            record_key(key.organization_id, key.id),
            key.text_digest.key(),
        );
        let batch = Batch::new(home)
            .at_version(&record, stored.version)
            .delete(&record)
            .delete(&last_used_key(key.organization_id, key.id));
        let fact = Fact::api_key(Action::ApiKeyRevoked, key);
        let batch = event::record(batch, fact, by, self.clock.now());
        // Only the row of an imported key lies elsewhere. Left behind by a crash it finds nothing.
        let (batch, elsewhere) = match by_text.partition() == home {
            true => (batch.delete(&by_text), None),
            false => (
                batch,
                Some(Batch::new(by_text.partition()).delete(&by_text)),
            ),
        };
        let outcome = self.store.commit(&batch).await?;
        if let Some(elsewhere) = elsewhere {
            match self.store.commit(&elsewhere).await? {
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
        Ok(outcome)
    }

    /// A new text whose row falls into `partition`.
    fn mint_in(&self, partition: Partition) -> (SecretText, TextDigest) {
        loop {
            let secret = SecretText::generate(PREFIX);
            let digest = self.digest(&secret);
            if digest.key().partition() == partition {
                return (secret, digest);
            }
        }
    }

    fn digest(&self, text: &SecretText) -> TextDigest {
        TextDigest {
            partition_of: base64url::encode(&sha256(text.reveal().as_bytes())[..8]),
            hash: base64url::encode(self.vault.api_key_mac(text)),
        }
    }

    async fn remember_use(&self, key: &ApiKey, now: Timestamp) -> Result<(), StoreError> {
        if !self.uses.is_news(key.id, now) {
            return Ok(());
        }
        let counter = last_used_key(key.organization_id, key.id);
        let batch = last_use::record(Batch::new(counter.partition()), &counter, now);
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }
}

impl TextDigest {
    fn key(&self) -> Key {
        let hash = KeyName::try_from(self.hash.as_str()).expect("base64url is a valid key name");
        BY_TEXT.key(Partition::of(&self.partition_of)).with(&hash)
    }
}

fn record_key(organization: OrganizationId, id: ApiKeyId) -> Key {
    API_KEYS
        .key(organization.partition())
        .with(organization)
        .with(id)
}

fn last_used_key(organization: OrganizationId, id: ApiKeyId) -> Key {
    organization.partition().key(LAST_USED).with(id)
}
