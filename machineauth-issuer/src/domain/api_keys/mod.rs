//! API keys: what an organization's own programs administer it with.
//!
//! A key is found by a keyed hash of its text, so that the store holds nothing that could be presented. The text is
//! minted until it falls into the organization's partition: the row that finds a key lives beside the key. Of a key that
//! an import brought along only a plain digest is known, and its text was not minted for us: it is found by that digest,
//! wherever that falls, until its text is first seen.

mod authentication;
mod import;
mod record;

use std::sync::Arc;

use machineauth_core::clock::{Clock, Timestamp};

pub use self::import::BroughtApiKey;
pub use self::record::{
    ADMIN, AUDIT_READ, ApiKey, InvalidApiKey, NewApiKey, PREFIX, SCOPES, is_text,
};
use self::record::{Found, SHOWN, TextDigest, all_scopes};
use super::event::{self, Action, By, Fact};
use super::id::{ApiKeyId, OrganizationId};
use super::last_use::{self, LastUses};
use super::organizations::{self, StoredOrganization};
use super::secret::SecretText;
use super::teams;
use super::vault::Vault;
use crate::store::{Batch, DynStore, Key, Outcome, Partition, StoreError, Table, Versioned};

const API_KEYS: Table<ApiKey> = Table::new("api_key", 1);
/// Finds a key by the keyed hash of its text.
const BY_TEXT: Table<Found> = Table::new("api_key_text", 1);
/// Finds a key that was brought along by the plain digest of its text.
const BY_DIGEST: Table<Found> = Table::new("api_key_digest", 1);
const LAST_USED: &str = "api_key_used";

/// The most keys that one organization can have.
pub const MAX_KEYS: usize = 1000;

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
            scopes: new.scopes.unwrap_or_else(all_scopes),
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
        loop {
            let some = API_KEYS.scan(&*self.store, &prefix, None, MAX_KEYS).await?;
            if some.is_empty() {
                return Ok(());
            }
            for (_, key) in some {
                match self.remove(&key, by).await? {
                    // A conflict means that another issuer was faster.
                    Outcome::Committed | Outcome::Conflict => {}
                }
            }
        }
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
            .delete(&last_used_key(key.organization_id, key.id))
            .on_replicas();
        let fact = Fact::api_key(Action::ApiKeyRevoked, key);
        let batch = event::record(batch, fact, by, self.clock.now());
        // Only the row of a key that was brought along lies elsewhere. Left behind by a crash it finds nothing.
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
