//! Work that one issuer at a time does.
//!
//! A lease is a row that dies by itself. Whoever wrote it renews it while it works; when that stops, for whatever reason,
//! another issuer takes it. Between two clocks both may hold it for a moment, so the work must bear being done twice: a
//! lease saves work, it does not exclude.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::store::{Batch, DynStore, Key, Outcome, Partition, StoreError, Table, Version};

const LEASES: Table<Holder> = Table::new("lease", 1);
/// How long a lease lasts without being renewed: that long nobody works after a crash.
const LASTS: Duration = Duration::from_secs(5);
/// How long before its end it is renewed.
const RENEWED_AHEAD: Duration = Duration::from_secs(3);

/// The right to do some work.
#[derive(Debug)]
pub struct Lease {
    store: DynStore,
    clock: Arc<dyn Clock>,
    work: &'static str,
    held: Mutex<Option<Held>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    version: Version,
    until: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    /// For people who look into the store.
    process: Uuid,
}

impl Lease {
    /// The lease of the work called `work`, not held yet.
    pub fn new(store: DynStore, clock: Arc<dyn Clock>, work: &'static str) -> Self {
        Self {
            store,
            clock,
            work,
            held: Mutex::new(None),
        }
    }

    /// Whether the work is this process's now: takes or renews the lease where there is need to.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn hold(&self) -> Result<bool, StoreError> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(held) = *held
            && now.saturating_add(RENEWED_AHEAD) < held.until
        {
            return Ok(true);
        }
        let key = self.key();
        let batch = Batch::new(Partition::SYSTEM);
        let batch = match *held {
            Some(held) if now < held.until => batch.at_version(&key, held.version),
            _ => batch.absent(&key),
        };
        let until = now.saturating_add(LASTS);
        let holder = Holder {
            process: Uuid::new_v4(),
        };
        let batch = batch.put_until(&key, LEASES.encode(&holder), until);
        *held = match self.store.commit(&batch).await? {
            Outcome::Committed => Some(Held {
                version: batch.version(),
                until,
            }),
            Outcome::Conflict => None,
        };
        Ok(held.is_some())
    }

    /// Gives the lease back, so that another issuer need not wait for its end.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn release(&self) -> Result<(), StoreError> {
        let Some(held) = self.held.lock().await.take() else {
            return Ok(());
        };
        let key = self.key();
        let batch = Batch::new(Partition::SYSTEM)
            .at_version(&key, held.version)
            .delete(&key);
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }

    fn key(&self) -> Key {
        LEASES.key(Partition::SYSTEM).with(self.work)
    }
}

#[cfg(test)]
mod tests {
    use machineauth_core::clock::ManualClock;

    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn one_holds_it_until_it_stops_or_lets_go() {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let store: DynStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        let lease = || Lease::new(Arc::clone(&store), Arc::new(clock.clone()), "work");
        let (one, other) = (lease(), lease());
        assert!(one.hold().await.unwrap() && !other.hold().await.unwrap());
        for _ in 0..10 {
            clock.advance(Duration::from_secs(3));
            assert!(one.hold().await.unwrap() && !other.hold().await.unwrap());
        }
        clock.advance(LASTS);
        assert!(
            other.hold().await.unwrap(),
            "the first one stopped renewing it"
        );
        assert!(!one.hold().await.unwrap());
        other.release().await.unwrap();
        assert!(one.hold().await.unwrap());
    }
}
