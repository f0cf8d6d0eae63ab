//! What keeps the store small: dead rows are swept and logs trimmed, in bounded steps.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::store::{Log, Partition, Store, StoreError};
use crate::telemetry::Chain;

/// How often the next partition has its turn; all of them within a minute.
const STEP: Duration = Duration::from_secs(1);
/// Rows swept in one step, so that no commit waits long behind it.
const ROWS_PER_STEP: usize = 1000;
/// Entries of a revocation log kept for listeners that resume. Who is further behind gets a snapshot.
const REVOCATIONS_KEPT: usize = 10_000;

/// Maintains the store, forever.
pub async fn run(store: &dyn Store) {
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for partition in Partition::data().cycle() {
        steps.tick().await;
        if let Err(error) = maintain(store, partition).await {
            tracing::warn!(error = %Chain(&error), %partition, "maintenance of the store failed; it is tried again");
        }
    }
}

async fn maintain(store: &dyn Store, partition: Partition) -> Result<(), StoreError> {
    while store.sweep(partition, ROWS_PER_STEP).await? == ROWS_PER_STEP {
        tokio::task::yield_now().await;
    }
    store
        .trim(partition, Log::Revocations, REVOCATIONS_KEPT)
        .await?;
    Ok(())
}
