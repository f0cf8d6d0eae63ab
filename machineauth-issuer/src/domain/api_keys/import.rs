//! Taking over keys that another server made.

use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;

use super::record::{TextDigest, all_scopes, are_scopes};
use super::{
    API_KEYS, ApiKey, ApiKeyError, ApiKeys, BY_DIGEST, InvalidApiKey, MAX_KEYS, last_used_key,
    record_key,
};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{ApiKeyId, TeamId};
use crate::domain::last_use;
use crate::domain::organizations::{self, StoredOrganization};
use crate::domain::text;
use crate::store::{Batch, Outcome, StoreError};

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

impl ApiKeys {
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
}
