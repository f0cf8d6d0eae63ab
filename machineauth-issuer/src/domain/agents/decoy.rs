//! The agent that nobody has, for which clients are taken that do not exist: what is read of a stranger, and compared with
//! its secret, is as much as of a client that presents a wrong one (I3).

use bytes::Bytes;
use machineauth_core::clock::Timestamp;

use super::{CLIENTS, DirectoryEntry};
use crate::domain::agent::Agent;
use crate::domain::vault::Vault;
use crate::store::{Batch, Entry, Key, Partition, Store, StoreError, Table};

const DECOYS: Table<Agent> = Table::new("decoy", 1);

/// An agent that nobody can authenticate as. A copy of its record stands in each partition in which it was looked for.
#[derive(Debug)]
pub(super) struct Decoy {
    pub(super) agent: Agent,
    /// Its entry in the directory.
    pub(super) entry: Bytes,
    record: Bytes,
}

impl Decoy {
    pub(super) fn new(vault: &Vault, now: Timestamp) -> Self {
        let agent = Agent::decoy(vault, now);
        let entry = CLIENTS.encode(&DirectoryEntry {
            agent_id: agent.id,
            organization_id: None,
        });
        let record = DECOYS.encode(&agent);
        Self {
            agent,
            entry,
            record,
        }
    }

    /// Takes as long with its record in `entry` as is taken with another's; leaves a record where there was none.
    pub(super) async fn read(
        &self,
        store: &dyn Store,
        key: &Key,
        entry: Option<&Entry>,
    ) -> Result<(), StoreError> {
        match entry {
            Some(entry) => DECOYS.versioned(entry).map(drop),
            None => {
                let batch = Batch::new(key.partition()).put(key, self.record.clone());
                store.commit(&batch).await.map(drop)
            }
        }
    }
}

/// Where its record is in a partition.
pub(super) fn key(home: Partition) -> Key {
    DECOYS.key(home)
}
