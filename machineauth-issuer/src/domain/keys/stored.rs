//! Signing keys as they are stored: the private half sealed, and from when on they sign.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{Algorithm, SigningKey};
use serde::{Deserialize, Serialize};

use super::KeyError;
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::OrganizationId;
use crate::domain::vault::Vault;
use crate::store::{Batch, Key, KeyName, Outcome, Partition, Store, StoreError, Table, Version};

const SERVER_KEYS: Table<StoredKey> = Table::new("signing_key", 1);
const ORGANIZATION_KEYS: Table<StoredKey> = Table::new("organization_key", 1);
/// More keys than an issuer ever publishes at once.
pub(super) const MAX_KEYS: usize = 100;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredKey {
    algorithm: String,
    /// The PKCS #8 private key, sealed by the vault for this row.
    private: String,
    created_at: Timestamp,
    /// Keys of an earlier version signed at once.
    #[serde(default)]
    signs_from: Option<Timestamp>,
    /// When it leaves the key set, which is when its row dies. `None` while nothing follows it.
    #[serde(default)]
    retires_at: Option<Timestamp>,
}

/// Whose keys they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RingName {
    /// The server's own.
    Server,
    /// Those of an organization that issues under its own name.
    Organization(OrganizationId),
}

/// A signing key of a ring.
#[derive(Debug)]
pub struct RingKey {
    /// The `kid` header of its tokens (RFC 7515 §4.1.4).
    pub kid: KeyName,
    /// The private key.
    pub key: SigningKey,
    /// When it was made or imported.
    pub created_at: Timestamp,
    /// From when on it signs, unless a later key does.
    pub signs_from: Timestamp,
    /// When it leaves the key set. `None` while nothing follows it.
    pub retires_at: Option<Timestamp>,
    pub(super) version: Version,
}

impl RingName {
    /// The organization whose keys they are.
    pub(super) fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Server => None,
            Self::Organization(organization) => Some(organization),
        }
    }

    fn table(self) -> &'static Table<StoredKey> {
        match self {
            Self::Server => &SERVER_KEYS,
            Self::Organization(_) => &ORGANIZATION_KEYS,
        }
    }

    fn prefix(self) -> Key {
        let all = self.table().key(Partition::SYSTEM);
        match self {
            Self::Server => all,
            Self::Organization(organization) => all.with(organization),
        }
    }

    pub(super) fn row(self, kid: &KeyName) -> Key {
        self.prefix().with(kid)
    }

    /// Deletes all keys of the ring.
    pub(super) async fn delete(
        self,
        store: &dyn Store,
        by: &By,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for (row, key) in store.scan(&self.prefix(), None, MAX_KEYS).await? {
            let batch = Batch::new(Partition::SYSTEM)
                .at_version(&row, key.version)
                .delete(&row);
            let fact = self.fact(Action::SigningKeyRemoved, row.last_part());
            match store.commit(&event::record(batch, fact, by, now)).await? {
                // A conflict means that another issuer was faster.
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
        Ok(())
    }

    /// What happened to the key `kid` of the ring.
    pub(super) fn fact(self, action: Action, kid: &str) -> Fact {
        let organization = match self {
            Self::Server => None,
            Self::Organization(organization) => Some(organization),
        };
        Fact::signing_key(action, kid, organization)
    }

    /// Where it is written that a key of the ring is revoked.
    pub(super) fn home_of(self, kid: &str) -> Partition {
        match self {
            Self::Server => Partition::of(kid),
            Self::Organization(organization) => organization.partition(),
        }
    }

    /// All live keys of the ring.
    pub(super) async fn load(
        self,
        store: &dyn Store,
        vault: &Vault,
    ) -> Result<Vec<RingKey>, KeyError> {
        let rows = self
            .table()
            .scan(store, &self.prefix(), None, MAX_KEYS)
            .await?;
        rows.into_iter()
            .map(|(row, stored)| {
                let kid = row.last_part().to_owned();
                open(vault, &row, &stored.value, stored.version).ok_or(KeyError::Unreadable(kid))
            })
            .collect()
    }
}

/// The organizations that have keys of their own.
pub(super) async fn organizations_with_keys(
    store: &dyn Store,
) -> Result<BTreeSet<OrganizationId>, StoreError> {
    let all = ORGANIZATION_KEYS.key(Partition::SYSTEM);
    let mut organizations = BTreeSet::new();
    let mut after = None;
    loop {
        let rows = store.scan(&all, after.as_ref(), MAX_KEYS).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(organizations);
        };
        after = Some(last.clone());
        // table/organization/kid
        let names = rows
            .iter()
            .filter_map(|(row, _)| row.path().split('/').nth(1));
        organizations.extend(names.filter_map(|name| name.parse::<OrganizationId>().ok()));
    }
}

impl RingKey {
    /// The row of a key of `ring`.
    pub(super) fn encode(&self, ring: RingName, vault: &Vault) -> Bytes {
        self.encode_retiring(ring, vault, self.retires_at)
    }

    /// The row of a key of `ring` that retires.
    pub(super) fn encode_retiring(
        &self,
        ring: RingName,
        vault: &Vault,
        retires_at: Option<Timestamp>,
    ) -> Bytes {
        ring.table().encode(&StoredKey {
            algorithm: self.key.algorithm().as_str().to_owned(),
            private: vault.seal(&self.key.to_pkcs8(), &ring.row(&self.kid)),
            created_at: self.created_at,
            signs_from: Some(self.signs_from),
            retires_at,
        })
    }
}

fn open(vault: &Vault, row: &Key, stored: &StoredKey, version: Version) -> Option<RingKey> {
    let algorithm = Algorithm::from_str(&stored.algorithm).ok()?;
    let private = vault.open_sealed(&stored.private, row)?;
    Some(RingKey {
        kid: KeyName::try_from(row.last_part()).ok()?,
        key: SigningKey::from_pkcs8(algorithm, &private).ok()?,
        created_at: stored.created_at,
        signs_from: stored.signs_from.unwrap_or(stored.created_at),
        retires_at: stored.retires_at,
        version,
    })
}
