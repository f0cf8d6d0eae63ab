//! API keys: what an organization's own programs administer it with.
//!
//! A key is found by a keyed hash of its text, so that the store holds nothing that could be presented. The text is
//! minted until it falls into the organization's partition: the row that finds a key lives beside the key. Of a key that
//! an import brought along only a plain digest is known, and its text was not minted for us: it is found by that digest,
//! wherever that falls, until its text is first seen.

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
/// Finds a key by the keyed hash of its text.
const BY_TEXT: Table<Found> = Table::new("api_key_text", 1);
/// Finds a key that was brought along by the plain digest of its text.
const BY_DIGEST: Table<Found> = Table::new("api_key_digest", 1);
const LAST_USED: &str = "api_key_used";

/// How the text of every key of ours begins.
pub const PREFIX: &str = "mach_";
/// How the texts of keys begin that an import brought along.
const BROUGHT_PREFIX: &str = "sk_";
/// How much of the text is kept and shown, in characters.
const SHOWN: usize = 12;
/// The most keys that one organization can have.
pub const MAX_KEYS: usize = 1000;

/// Lets a key administer its organization.
pub const ADMIN: &str = "admin";
/// Lets a key read the audit trail of its organization.
pub const AUDIT_READ: &str = "audit:read";
/// Everything that a key can be good for, which is also what a key has unless less was asked for.
pub const SCOPES: [&str; 4] = [ADMIN, "tokens:introspect", "revocations:read", AUDIT_READ];

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TextDigest {
    /// SHA-256 of the text decides on the partition: it does not depend on the data key.
    partition_of: String,
    hash: String,
    /// Whether `hash` is another system's, without a key.
    #[serde(default)]
    is_plain: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
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
        if !self.scopes.as_ref().is_none_or(are_scopes) {
            return Err(InvalidApiKey::Scopes);
        }
        match self.expires_in.map(|lifetime| lifetime.as_secs()) {
            Some(0) => Err(InvalidApiKey::ExpiresIn),
            Some(seconds) if seconds > MAX_EXPIRES_IN => Err(InvalidApiKey::ExpiresIn),
            _ => Ok(()),
        }
    }
}

/// A key that another server made.
#[derive(Debug, Clone)]
pub struct BroughtApiKey {
    /// Names it in the API.
    pub id: ApiKeyId,
    /// The only team that it administers, where it was made for one.
    pub team: Option<TeamId>,
    /// For people.
    pub name: String,
    /// How its text begins.
    pub prefix: String,
    /// What it is good for; `None` for everything.
    pub scopes: Option<ScopeSet>,
    /// SHA-256 of its text, which has to be random enough to be looked for by it.
    pub digest: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// Whether a bearer token is the text of an API key, by how it begins.
pub fn is_text(token: &str) -> bool {
    token.starts_with(PREFIX) || token.starts_with(BROUGHT_PREFIX)
}

fn all_scopes() -> ScopeSet {
    SCOPES
        .iter()
        .filter_map(|scope| scope.parse().ok())
        .collect()
}

fn are_scopes(scopes: &ScopeSet) -> bool {
    !scopes.is_empty() && scopes.iter().all(|scope| SCOPES.contains(&scope.as_str()))
}

impl BroughtApiKey {
    /// Checks everything that can be wrong with it.
    ///
    /// # Errors
    /// Names the field.
    pub fn validate(&self) -> Result<(), InvalidApiKey> {
        if !text::is_name(&self.name) {
            Err(InvalidApiKey::Name)
        } else if !self.scopes.as_ref().is_none_or(are_scopes) {
            Err(InvalidApiKey::Scopes)
        } else {
            Ok(())
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

    /// Takes over a key that another server made. Its text works as soon as this returns.
    ///
    /// # Errors
    /// [`ApiKeyError::Invalid`] names the field that cannot be accepted; [`ApiKeyError::Contended`] also when another
    /// key has the same text.
    pub async fn import(
        &self,
        organization: &StoredOrganization,
        brought: BroughtApiKey,
        by: &By,
    ) -> Result<(), ApiKeyError> {
        brought.validate()?;
        let home = organization.value.id;
        if self.list(home).await?.len() >= MAX_KEYS {
            return Err(ApiKeyError::TooMany);
        }
        let key = ApiKey {
            id: brought.id,
            organization_id: home,
            team_id: brought.team,
            name: brought.name,
            prefix: brought.prefix,
            scopes: brought.scopes.unwrap_or_else(all_scopes),
            text_digest: TextDigest::plain(&brought.digest),
            created_at: brought.created_at,
            expires_at: brought.expires_at,
        };
        // The row that finds the key comes first: without the key it finds nothing.
        self.lead_to(&key, &key.text_digest).await?;
        let record = record_key(home, key.id);
        let batch = organizations::unchanged(Batch::new(home.partition()), organization)
            .absent(&record)
            .put(&record, API_KEYS.encode(&key));
        let batch = match brought.last_used_at {
            Some(at) => last_use::record(batch, &last_used_key(home, key.id), at),
            None => batch,
        };
        let fact = Fact::api_key(Action::ApiKeyCreated, &key).imported();
        let batch = event::record(batch, fact, by, self.clock.now());
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(ApiKeyError::Contended),
        }
    }

    /// Which key has a text with this SHA-256 digest, of those that were brought along and not used since.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn brought_with(&self, digest: &[u8; 32]) -> Result<Option<ApiKeyId>, StoreError> {
        let row = TextDigest::plain(digest).key();
        let found = BY_DIGEST.get(&*self.store, &row).await?;
        Ok(found.map(|found| found.value.id))
    }

    /// Writes the row that finds `key` by `digest`.
    async fn lead_to(&self, key: &ApiKey, digest: &TextDigest) -> Result<(), ApiKeyError> {
        let row = digest.key();
        let found = BY_TEXT.get(&*self.store, &row).await?;
        if let Some(found) = found {
            return match found.value.id == key.id {
                true => Ok(()),
                false => Err(ApiKeyError::Contended),
            };
        }
        let found = BY_TEXT.encode(&Found {
            organization_id: key.organization_id,
            id: key.id,
        });
        let batch = Batch::new(row.partition()).absent(&row).put(&row, found);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(ApiKeyError::Contended),
        }
    }

    /// The key whose text this is, if it works and its organization is there. Says nothing about why not.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn authenticate(&self, text: &SecretText) -> Result<Option<ApiKey>, StoreError> {
        let digest = self.digest(text);
        let found = match BY_TEXT.get(&*self.store, &digest.key()).await? {
            None => {
                let plain = TextDigest::plain(&sha256(text.reveal().as_bytes()));
                BY_DIGEST.get(&*self.store, &plain.key()).await?
            }
            found => found,
        };
        let Some(found) = found else {
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
        let Some(key) = key.filter(|key| key.value.is_active(now)) else {
            return Ok(None);
        };
        if organization.is_none() {
            return Ok(None);
        }
        if key.value.text_digest != digest {
            self.renew(&key, digest).await?;
        }
        self.remember_use(&key.value, now).await?;
        Ok(Some(key.value))
    }

    /// Lets a key be found by a keyed hash from now on. The steps are in an order in which a crash between them costs
    /// nothing but doing them again.
    async fn renew(&self, key: &Versioned<ApiKey>, digest: TextDigest) -> Result<(), StoreError> {
        match self.lead_to(&key.value, &digest).await {
            Err(ApiKeyError::Store(error)) => return Err(error),
            // Others do the same at this moment.
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let before = key.value.text_digest.key();
        let record = record_key(key.value.organization_id, key.value.id);
        let renewed = ApiKey {
            text_digest: digest,
            ..key.value.clone()
        };
        for batch in [
            Batch::new(before.partition()).delete(&before),
            Batch::new(record.partition())
                .at_version(&record, key.version)
                .put(&record, API_KEYS.encode(&renewed)),
        ] {
            match self.store.commit(&batch).await? {
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
        Ok(())
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

    fn digest(&self, text: &SecretText) -> TextDigest {
        TextDigest {
            hash: base64url::encode(self.vault.api_key_mac(text)),
            is_plain: false,
            ..TextDigest::plain(&sha256(text.reveal().as_bytes()))
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
    fn plain(digest: &[u8; 32]) -> Self {
        Self {
            partition_of: base64url::encode(&digest[..8]),
            hash: base64url::encode(digest),
            is_plain: true,
        }
    }

    fn key(&self) -> Key {
        let table = if self.is_plain { &BY_DIGEST } else { &BY_TEXT };
        let hash = KeyName::try_from(self.hash.as_str()).expect("base64url is a valid key name");
        table.key(Partition::of(&self.partition_of)).with(&hash)
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
