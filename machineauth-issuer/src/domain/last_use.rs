//! When secrets and keys were last used, to the minute: something in constant use writes once in that time.

use std::hash::Hash;
use std::time::Duration;

use machineauth_core::clock::Timestamp;

use crate::store::{Batch, Key};

const RESOLUTION: Duration = Duration::from_secs(60);
/// How many last uses are remembered, so as not to write them again.
const REMEMBERED: u64 = 100_000;

/// Remembers what this process has written about last uses.
#[derive(Debug)]
pub struct LastUses<K>(moka::sync::Cache<K, Timestamp>)
where
    K: Hash + Eq + Send + Sync + 'static;

impl<K: Hash + Eq + Send + Sync + Copy + 'static> LastUses<K> {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self(moka::sync::Cache::new(REMEMBERED))
    }

    /// Whether it is worth writing that `what` is used at `now`, which is taken as written from now on.
    pub fn is_news(&self, what: K, now: Timestamp) -> bool {
        let is_known = self
            .0
            .get(&what)
            .is_some_and(|last| now < last.saturating_add(RESOLUTION));
        if !is_known {
            self.0.insert(what, now);
        }
        !is_known
    }
}

impl<K: Hash + Eq + Send + Sync + Copy + 'static> Default for LastUses<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds to `batch`: what `counter` belongs to was used at `now`.
pub fn record(batch: Batch, counter: &Key, now: Timestamp) -> Batch {
    batch.max(counter, i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// The time that a counter of [`record`] says.
pub fn read(count: i64) -> Option<Timestamp> {
    let millis = u64::try_from(count).ok().filter(|millis| *millis > 0);
    millis.map(Timestamp::from_millis)
}
