//! Names that only one organization can have: slugs, and where issuers are found.
//!
//! A name and the organization that bears it live in different partitions, so no batch covers both. A name is claimed
//! first and borne after; whoever finds a claim whose owner does not bear the name, and that had time enough to, takes
//! it over. Both sides look again after they wrote, so whatever the order, at most one organization keeps the name, and
//! a crash in between blocks a name for a minute at most.

use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::sha256;
use serde::{Deserialize, Serialize};

use super::id::OrganizationId;
use super::organization::{IssuerUrl, Organization, Slug};
use super::organizations;
use crate::store::{Batch, Key, KeyName, Outcome, Partition, Store, StoreError, Table, Versioned};

const NAMES: Table<Claim> = Table::new("name", 1);
/// How long an owner has to bear the name that it claimed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    owner: OrganizationId,
    since: Timestamp,
}

/// A name that at most one organization bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UniqueName {
    /// [`Organization::slug`]
    Slug(Slug),
    /// [`IssuerUrl::location`] of [`Organization::issuer`]
    IssuerLocation(String),
}

impl UniqueName {
    /// The names that `organization` bears.
    pub fn of(organization: &Organization) -> impl Iterator<Item = Self> {
        let location = organization.issuer.as_ref().map(IssuerUrl::location);
        std::iter::once(Self::Slug(organization.slug.clone()))
            .chain(location.map(Self::IssuerLocation))
    }

    fn key(&self) -> Key {
        let (kind, text) = match self {
            Self::Slug(slug) => ("slug", slug.as_str()),
            Self::IssuerLocation(location) => ("issuer", location.as_str()),
        };
        let digest = base64url::encode(sha256(text.as_bytes()));
        let name = KeyName::try_from(digest.as_str()).expect("base64url is a valid key name");
        NAMES.key(Partition::of(&digest)).with(kind).with(&name)
    }

    /// The organization that bears the name.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn bearer(
        &self,
        store: &dyn Store,
    ) -> Result<Option<Versioned<Organization>>, StoreError> {
        match NAMES.get(store, &self.key()).await? {
            Some(claim) => self.borne_by(store, claim.value.owner).await,
            None => Ok(None),
        }
    }

    async fn borne_by(
        &self,
        store: &dyn Store,
        owner: OrganizationId,
    ) -> Result<Option<Versioned<Organization>>, StoreError> {
        let organization = organizations::read(store, owner).await?;
        Ok(organization.filter(|stored| Self::of(&stored.value).any(|name| name == *self)))
    }

    /// Claims the name for `owner`, which then writes a record that bears it, and then asks
    /// [`UniqueName::is_claimed_by`]. Says whether it may: `false` when another organization bears it or is about to.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn claim(
        &self,
        store: &dyn Store,
        clock: &dyn Clock,
        owner: OrganizationId,
    ) -> Result<bool, StoreError> {
        let key = self.key();
        loop {
            let since = clock.now();
            let batch = Batch::new(key.partition());
            let found = NAMES.get(store, &key).await?;
            let (batch, before) = match &found {
                None => (batch.absent(&key), None),
                Some(claim) if claim.value.owner == owner => return Ok(true),
                Some(claim) => {
                    let is_borne = self.borne_by(store, claim.value.owner).await?.is_some();
                    if is_borne || since < claim.value.since.saturating_add(PATIENCE) {
                        return Ok(false);
                    }
                    (
                        batch.at_version(&key, claim.version),
                        Some(claim.value.owner),
                    )
                }
            };
            let batch = batch.put(&key, NAMES.encode(&Claim { owner, since }));
            if store.commit(&batch).await? == Outcome::Conflict {
                continue;
            }
            let Some(before) = before else {
                return Ok(true);
            };
            if self.borne_by(store, before).await?.is_none() {
                return Ok(true);
            }
            // The one before us was late, and not too late.
            let back = Batch::new(key.partition())
                .at_version(&key, batch.version())
                .put(
                    &key,
                    NAMES.encode(&Claim {
                        owner: before,
                        since,
                    }),
                );
            let _ = store.commit(&back).await?;
            return Ok(false);
        }
    }

    /// Whether the claim is still `owner`'s.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn is_claimed_by(
        &self,
        store: &dyn Store,
        owner: OrganizationId,
    ) -> Result<bool, StoreError> {
        let claim = NAMES.get(store, &self.key()).await?;
        Ok(claim.is_some_and(|claim| claim.value.owner == owner))
    }

    /// Gives the name up, if it is `owner`'s.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn release(
        &self,
        store: &dyn Store,
        owner: OrganizationId,
    ) -> Result<(), StoreError> {
        let key = self.key();
        let Some(claim) = NAMES.get(store, &key).await? else {
            return Ok(());
        };
        if claim.value.owner != owner {
            return Ok(());
        }
        let batch = Batch::new(key.partition())
            .at_version(&key, claim.version)
            .delete(&key);
        match store.commit(&batch).await? {
            // A conflict means that somebody took it over meanwhile.
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }
}
