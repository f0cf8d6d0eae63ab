//! The organizations of this server: creating, finding, changing and deleting them.

use std::sync::Arc;

use machineauth_core::clock::Clock;
use serde::{Deserialize, Serialize};

use super::agents::{AgentError, Agents, forget_seats};
use super::api_keys::ApiKeys;
use super::event::{self, Action, By, Fact};
use super::id::OrganizationId;
use super::keys::KeyRings;
use super::organization::{
    InvalidOrganization, IssuerUrl, NewOrganization, Organization, OrganizationChange, Slug,
};
use super::revocation;
use super::stats::{self, Stat};
use super::teams::Teams;
use super::unique::UniqueName;
use super::webhooks::{WebhookError, Webhooks};
use crate::store::{
    Batch, DynStore, Key, Outcome, Partition, Store, StoreError, Table, Version, Versioned,
};

pub(super) const ORGANIZATIONS: Table<Organization> = Table::new("organization", 1);
/// Organizations that are gone, with things of theirs that may still be there.
const DELETED: Table<Remains> = Table::new("deleted_organization", 1);

const MAX_ATTEMPTS: usize = 16;
const SCAN_PAGE: usize = 500;
/// Why something is undone that was done a moment ago.
const NAME_LOST: &str = "another organization claimed the same name at the same time";
/// How many agents of a deleted organization are deleted in one go.
const AGENTS_PER_STEP: usize = 200;

/// What a deleted organization may leave behind beside agents, teams and keys.
#[derive(Debug, Serialize, Deserialize)]
struct Remains {
    slug: Slug,
    issuer: Option<IssuerUrl>,
}

/// An organization's record with the version that a batch can insist on.
pub type StoredOrganization = Versioned<Organization>;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum OrganizationError {
    /// There is no such organization.
    #[error("there is no such organization")]
    NotFound,
    /// The record would not be valid.
    #[error(transparent)]
    Invalid(#[from] InvalidOrganization),
    /// Another organization has that slug.
    #[error("slug: another organization has it")]
    SlugTaken,
    /// Another organization, or the server itself, issues at that URL.
    #[error("jwt_issuer: another organization or the server itself has it")]
    IssuerTaken,
    /// The record is not at the version that the change was made for.
    #[error("the organization has changed since; read it again")]
    Outdated,
    /// Too many others changed the same record at the same time.
    #[error("the organization is being changed by many at once; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All organizations.
#[derive(Debug)]
pub struct Organizations {
    /// Where they are.
    pub store: DynStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Their agents.
    pub agents: Arc<Agents>,
    /// Their teams.
    pub teams: Arc<Teams>,
    /// Their API keys.
    pub api_keys: Arc<ApiKeys>,
    /// Their webhooks.
    pub webhooks: Arc<Webhooks>,
    /// The keys of those that issue under their own names.
    pub keys: Arc<KeyRings>,
    /// Where the server itself issues: no organization can issue there.
    pub server_location: String,
}

impl Organizations {
    /// Creates an organization.
    ///
    /// # Errors
    /// [`OrganizationError::Invalid`] names the field, [`OrganizationError::SlugTaken`] for a slug in use.
    pub async fn create(
        &self,
        new: NewOrganization,
        by: &By,
    ) -> Result<StoredOrganization, OrganizationError> {
        let organization = Organization::create(new, self.clock.now())?;
        let fact = Fact::organization(Action::OrganizationCreated, &organization);
        self.establish(organization, fact, by).await
    }

    /// Takes over an organization of another server, with its identifier.
    ///
    /// # Errors
    /// As [`Organizations::create`]; [`OrganizationError::Contended`] also when the identifier is taken.
    pub async fn import(
        &self,
        organization: Organization,
        by: &By,
    ) -> Result<StoredOrganization, OrganizationError> {
        organization.validate()?;
        let fact = Fact::organization(Action::OrganizationCreated, &organization).imported();
        self.establish(organization, fact, by).await
    }

    /// Claims the names of a new organization and writes its record.
    async fn establish(
        &self,
        organization: Organization,
        fact: Fact,
        by: &By,
    ) -> Result<StoredOrganization, OrganizationError> {
        let now = self.clock.now();
        let id = organization.id;
        let names: Vec<_> = UniqueName::of(&organization).collect();
        for name in &names {
            self.claim(name, id).await?;
        }
        let key = record_key(id);
        let batch = Batch::new(id.partition())
            .absent(&key)
            .put(&key, ORGANIZATIONS.encode(&organization));
        let batch = stats::count(batch, Stat::Organizations, 1);
        let fact = fact.with("slug", organization.slug.as_str());
        let batch = event::record(batch, fact, by, now);
        if self.store.commit(&batch).await? == Outcome::Conflict {
            return Err(OrganizationError::Contended);
        }
        let stored = Versioned {
            value: organization,
            version: batch.version(),
        };
        for name in &names {
            if !name.is_claimed_by(&*self.store, id).await? {
                let erased = self.erase(&stored, &By::SYSTEM, Some(NAME_LOST)).await?;
                match erased {
                    Outcome::Committed | Outcome::Conflict => return Err(taken(name)),
                }
            }
        }
        Ok(stored)
    }

    /// The organization named `id`.
    ///
    /// # Errors
    /// [`OrganizationError::NotFound`], or the store's failure.
    pub async fn find(&self, id: OrganizationId) -> Result<StoredOrganization, OrganizationError> {
        read(&*self.store, id)
            .await?
            .ok_or(OrganizationError::NotFound)
    }

    /// The organization that issues at `location`, if there is one.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn issuing_at(
        &self,
        location: String,
    ) -> Result<Option<StoredOrganization>, StoreError> {
        UniqueName::IssuerLocation(location)
            .bearer(&*self.store)
            .await
    }

    /// Up to `limit` organizations after `after`, partition by partition, ordered by identifier within each.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(
        &self,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> Result<Vec<Organization>, StoreError> {
        let after = after.map(record_key);
        let rows = ORGANIZATIONS
            .scan_all(&*self.store, after.as_ref(), limit)
            .await?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    /// Changes an organization, if `expected` is given only at that version.
    ///
    /// # Errors
    /// [`OrganizationError::Invalid`] names the field; a unique name may be taken; the version may be another.
    pub async fn update(
        &self,
        id: OrganizationId,
        change: &OrganizationChange,
        expected: Option<Version>,
        by: &By,
    ) -> Result<StoredOrganization, OrganizationError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            if expected.is_some_and(|expected| expected != stored.version) {
                return Err(OrganizationError::Outdated);
            }
            let now = self.clock.now();
            let changed = stored.value.changed(change.clone(), now)?;
            let gained: Vec<_> = names_beside(&changed, &stored.value).collect();
            for name in &gained {
                self.claim(name, id).await?;
            }
            let key = record_key(id);
            let batch = Batch::new(id.partition())
                .at_version(&key, stored.version)
                .put(&key, ORGANIZATIONS.encode(&changed));
            let fact = Fact::organization(Action::OrganizationUpdated, &changed)
                .changed(&stored.value, &changed);
            let batch = event::record(batch, fact, by, now);
            if self.store.commit(&batch).await? == Outcome::Conflict {
                continue;
            }
            for name in &gained {
                if !name.is_claimed_by(&*self.store, id).await? {
                    self.undo(&stored.value, &changed, batch.version()).await?;
                    return Err(taken(name));
                }
            }
            for name in names_beside(&stored.value, &changed) {
                name.release(&*self.store, id).await?;
            }
            return Ok(Versioned {
                value: changed,
                version: batch.version(),
            });
        }
        Err(OrganizationError::Contended)
    }

    /// Deletes an organization with all that belongs to it; all of its tokens die, everywhere.
    ///
    /// From the first commit on nobody gets a token of it. What belongs to it is deleted after that in bounded steps,
    /// and by [`Organizations::clean_up`] where a crash came in between.
    ///
    /// # Errors
    /// [`OrganizationError::NotFound`], or the store's failure.
    pub async fn delete(&self, id: OrganizationId, by: &By) -> Result<(), OrganizationError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            if self.erase(&stored, by, None).await? == Outcome::Committed {
                self.clean_up_after(id, by).await?;
                return Ok(());
            }
        }
        Err(OrganizationError::Contended)
    }

    /// Goes on deleting what belonged to deleted organizations of `partition`.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn clean_up(&self, partition: Partition) -> Result<(), OrganizationError> {
        let prefix = DELETED.key(partition);
        for (key, _) in DELETED.scan(&*self.store, &prefix, None, SCAN_PAGE).await? {
            if let Ok(id) = key.last_part().parse() {
                self.clean_up_after(id, &By::SYSTEM).await?;
            }
        }
        Ok(())
    }

    async fn clean_up_after(&self, id: OrganizationId, by: &By) -> Result<(), OrganizationError> {
        let key = deleted_key(id);
        let Some(remains) = DELETED.get(&*self.store, &key).await? else {
            return Ok(());
        };
        let location = remains.value.issuer.as_ref().map(IssuerUrl::location);
        UniqueName::Slug(remains.value.slug)
            .release(&*self.store, id)
            .await?;
        if let Some(location) = location {
            UniqueName::IssuerLocation(location)
                .release(&*self.store, id)
                .await?;
        }
        self.keys.delete_all_of(id, by).await?;
        self.api_keys.delete_all_of(id, by).await?;
        self.teams.delete_all_of(id, by).await?;
        let webhooks = self.webhooks.delete_all_of(id, by).await;
        webhooks.map_err(|error| match error {
            WebhookError::Store(error) => OrganizationError::Store(error),
            _ => OrganizationError::Contended,
        })?;
        let deleted = self
            .agents
            .delete_some_of(id, AGENTS_PER_STEP, by)
            .await
            .map_err(|error| match error {
                AgentError::Store(error) => OrganizationError::Store(error),
                _ => OrganizationError::Contended,
            })?;
        if deleted == AGENTS_PER_STEP {
            // There may be more: maintenance goes on.
            return Ok(());
        }
        let batch = Batch::new(id.partition())
            .at_version(&key, remains.version)
            .delete(&key);
        let batch = forget_seats(batch, id);
        match self.store.commit(&batch).await? {
            // A conflict means that another issuer was faster.
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }

    /// The commit from which on the organization is gone.
    async fn erase(
        &self,
        stored: &StoredOrganization,
        by: &By,
        reason: Option<&'static str>,
    ) -> Result<Outcome, StoreError> {
        let id = stored.value.id;
        let key = record_key(id);
        let remains = Remains {
            slug: stored.value.slug.clone(),
            issuer: stored.value.issuer.clone(),
        };
        let batch = Batch::new(id.partition())
            .at_version(&key, stored.version)
            .delete(&key)
            .put(&deleted_key(id), DELETED.encode(&remains));
        let now = self.clock.now();
        let batch = revocation::revoke_organization(batch, id, now);
        let batch = stats::count(batch, Stat::Organizations, -1);
        let fact = Fact::organization(Action::OrganizationDeleted, &stored.value);
        let fact = match reason {
            Some(reason) => fact.because(reason),
            None => fact,
        };
        let batch = event::record(batch, fact, by, now);
        self.store.commit(&batch).await
    }

    async fn claim(&self, name: &UniqueName, id: OrganizationId) -> Result<(), OrganizationError> {
        let is_the_servers = matches!(name, UniqueName::IssuerLocation(location) if *location == self.server_location);
        if !is_the_servers && name.claim(&*self.store, &*self.clock, id).await? {
            Ok(())
        } else {
            Err(taken(name))
        }
    }

    /// Puts the record back as it was, unless somebody has changed it again.
    async fn undo(
        &self,
        before: &Organization,
        changed: &Organization,
        version: Version,
    ) -> Result<(), StoreError> {
        let key = record_key(before.id);
        let batch = Batch::new(before.id.partition())
            .at_version(&key, version)
            .put(&key, ORGANIZATIONS.encode(before));
        let fact = Fact::organization(Action::OrganizationUpdated, before)
            .changed(changed, before)
            .because(NAME_LOST);
        let batch = event::record(batch, fact, &By::SYSTEM, self.clock.now());
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }
}

/// The record of the organization named `id`.
///
/// # Errors
/// The store's failure.
pub async fn read(
    store: &dyn Store,
    id: OrganizationId,
) -> Result<Option<StoredOrganization>, StoreError> {
    ORGANIZATIONS.get(store, &record_key(id)).await
}

/// Adds to `batch`: the organization is still the one judged by.
pub fn unchanged(batch: Batch, organization: &StoredOrganization) -> Batch {
    batch.at_version(&record_key(organization.value.id), organization.version)
}

/// The unique names of `one` that `other` does not bear.
fn names_beside(one: &Organization, other: &Organization) -> impl Iterator<Item = UniqueName> {
    let others: Vec<_> = UniqueName::of(other).collect();
    UniqueName::of(one).filter(move |name| !others.contains(name))
}

fn taken(name: &UniqueName) -> OrganizationError {
    match name {
        UniqueName::Slug(_) => OrganizationError::SlugTaken,
        UniqueName::IssuerLocation(_) => OrganizationError::IssuerTaken,
    }
}

/// Where an organization's record is.
pub fn record_key(id: OrganizationId) -> Key {
    ORGANIZATIONS.key(id.partition()).with(id)
}

fn deleted_key(id: OrganizationId) -> Key {
    DELETED.key(id.partition()).with(id)
}
