//! What the store says about administrators, remembered for a moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::crypto::random;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::record::{Administrator, Role};
use super::{ADMINISTRATORS, Administrators, Identity, MAX_ADMINISTRATORS, id_of};
use crate::domain::id::AdministratorId;
use crate::store::{Batch, Key, KeyName, Outcome, Partition, Store, StoreError, Table, Versioned};

/// Changes whenever all sessions end.
const EPOCH: Table<Epoch> = Table::new("administrator_sessions", 1);

/// How old the knowledge can be by which an administrator is recognised.
pub const STALENESS: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    /// Random: a time might repeat.
    epoch: String,
}

/// What the store said.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) administrators: BTreeMap<AdministratorId, Entry>,
    pub(super) epoch: String,
    asked: Instant,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    /// None for the configured one, as long as its password is the configured one.
    pub(super) record: Option<Versioned<Administrator>>,
}

impl Known {
    /// Whom a user name means.
    pub(super) fn named(&self, user: &str) -> Option<&Entry> {
        let named = self.administrators.get(&id_of(user));
        // Those who were invited have addresses in lower case.
        named.or_else(|| self.administrators.get(&id_of(&user.to_ascii_lowercase())))
    }

    /// Whether anybody has a slow hash, so that everybody has to be as slow.
    pub(super) fn has_hashes(&self) -> bool {
        let mut all = self.administrators.values();
        all.any(|entry| entry.record.is_some())
    }

    /// Whether it is an owner's.
    pub(super) fn owns(&self, id: AdministratorId) -> bool {
        let entry = self.administrators.get(&id);
        entry.is_some_and(|entry| entry.identity.role == Role::Owner)
    }

    /// The address of an administrator; empty for one who is none.
    pub(super) fn email(&self, id: AdministratorId) -> &str {
        self.administrators
            .get(&id)
            .map_or("", |entry| &entry.identity.email)
    }
}

impl Administrators {
    /// What the store says, or said within [`STALENESS`].
    pub(super) async fn known(&self) -> Result<Arc<Known>, StoreError> {
        match self.at_hand() {
            Some(known) => Ok(known),
            None => self.fresh().await,
        }
    }

    /// What the store says now.
    pub(super) async fn fresh(&self) -> Result<Arc<Known>, StoreError> {
        let since = Instant::now();
        let _asking = self.asking.lock().await;
        // Whoever began to ask after us has our answer.
        if let Some(known) = self.at_hand().filter(|known| known.asked >= since) {
            return Ok(known);
        }
        let asked = Instant::now();
        let (prefix, epoch) = (ADMINISTRATORS.key(Partition::SYSTEM), epoch_key());
        // Some that join at the same moment may be more than there can be.
        let limit = 2 * MAX_ADMINISTRATORS;
        let (records, epoch) = futures_util::try_join!(
            ADMINISTRATORS.scan(&*self.store, &prefix, None, limit),
            EPOCH.get(&*self.store, &epoch),
        )?;
        let epoch = epoch.map_or_else(String::new, |epoch| epoch.value.epoch);
        let configured = self.configured_entry(&epoch);
        let mut administrators = BTreeMap::from([(self.configured.id(), configured)]);
        for (_, record) in records {
            if let Some(entry) = self.entry(record, &epoch) {
                administrators.insert(entry.identity.id, entry);
            }
        }
        let known = Arc::new(Known {
            administrators,
            epoch,
            asked,
        });
        self.known.store(Some(Arc::clone(&known)));
        Ok(known)
    }

    fn at_hand(&self) -> Option<Arc<Known>> {
        let known = self.known.load_full()?;
        // Who asked before something was changed here may have been answered with what was before.
        let is_good = known.asked.elapsed() < STALENESS && known.asked >= **self.changed.load();
        is_good.then_some(known)
    }

    fn configured_entry(&self, epoch: &str) -> Entry {
        let (id, role) = (self.configured.id(), Role::Owner);
        let password = self.configured.password().reveal();
        Entry {
            identity: Identity {
                id,
                email: self.configured.email().into(),
                role,
                credential: self.credential(id, role, password, epoch),
            },
            record: None,
        }
    }

    /// `None` for the record of one who was configured and is no more.
    fn entry(&self, record: Versioned<Administrator>, epoch: &str) -> Option<Entry> {
        let id = record.value.id;
        let role = match id == self.configured.id() {
            true => Role::Owner,
            false if record.value.is_invited => record.value.role,
            false => return None,
        };
        let password = record.value.password_hash.as_str();
        Some(Entry {
            identity: Identity {
                id,
                email: record.value.email.clone(),
                role,
                credential: self.credential(id, role, password, epoch),
            },
            record: Some(record),
        })
    }

    fn credential(&self, id: AdministratorId, role: Role, password: &str, epoch: &str) -> [u8; 32] {
        // Only the password, which stands last, may hold a line break: no two administrators give the same text.
        let text = Zeroizing::new(format!("{id}\n{role}\n{epoch}\n{password}"));
        self.vault.administrator_sessions().sign(text.as_bytes())
    }
}

/// Ends the sessions of all administrators, and all invitations.
///
/// # Errors
/// The store's failure.
pub async fn end_all_sessions(store: &dyn Store) -> Result<(), StoreError> {
    match store
        .commit(&begin_epoch(Batch::new(Partition::SYSTEM)))
        .await?
    {
        Outcome::Committed | Outcome::Conflict => Ok(()),
    }
}

/// Adds to `batch`: all sessions and all invitations end.
pub(super) fn begin_epoch(batch: Batch) -> Batch {
    let epoch = Epoch {
        epoch: base64url::encode(random::<16>()),
    };
    batch.put(&epoch_key(), EPOCH.encode(&epoch))
}

fn epoch_key() -> Key {
    let all = KeyName::try_from("all").expect("letters are a valid key name");
    EPOCH.key(Partition::SYSTEM).with(&all)
}
