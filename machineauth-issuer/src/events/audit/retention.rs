//! How long the trail is kept: whole sealed segments go, the oldest first, and the last seal of what went stays.

use machineauth_core::clock::Timestamp;

use super::seal::{Seal, seal_key, seals};
use super::segment::Segment;
use crate::domain::event::AuditSettings;
use crate::store::{Batch, Log, Outcome, Partition, Store, StoreError};

/// Segments that go in one step, so that no commit waits long behind it.
const SEGMENTS_PER_STEP: usize = 50;
/// Steps in one go.
const STEPS: usize = 20;

/// Trims the log of a partition to what is to be kept of it. Nothing numbered above `read` goes: somebody has yet to read
/// it.
///
/// # Errors
/// The store's failure.
pub async fn trim(
    store: &dyn Store,
    partition: Partition,
    settings: AuditSettings,
    read: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    for _ in 0..STEPS {
        if !step(store, partition, settings, read, now).await? {
            break;
        }
    }
    Ok(())
}

/// Says whether there may be more to do.
async fn step(
    store: &dyn Store,
    partition: Partition,
    settings: AuditSettings,
    read: u64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let prefix = seals().key(partition);
    let oldest = seals()
        .scan(store, &prefix, None, SEGMENTS_PER_STEP)
        .await?;
    let oldest: Vec<Seal> = oldest.into_iter().map(|(_, seal)| seal.value).collect();
    let head = store.head(partition, Log::Audit).await?.sequence();
    let is_over = |seal: &Seal| {
        let is_old = settings
            .keep_for
            .is_some_and(|kept| seal.at.saturating_add(kept) <= now);
        let is_read = seal.last_sequence() <= read;
        is_read && (is_old || head.saturating_sub(seal.last_sequence()) >= settings.keep_entries)
    };
    let over = oldest.iter().take_while(|seal| is_over(seal)).count();
    let Some(boundary) = over.checked_sub(1).and_then(|last| oldest.get(last)) else {
        return Ok(false);
    };
    let last = boundary.last_sequence();
    store.trim(partition, Log::Audit, last).await?;
    if over == 1 {
        return Ok(false);
    }
    // Only after the entries: the other way round, a crash would leave entries that nothing seals.
    let gone = oldest.iter().take(over - 1);
    let batch = gone.fold(Batch::new(partition), |batch, seal| {
        batch
            .delete(&seal_key(partition, seal.first))
            .delete(&Segment::key(partition, seal.first))
    });
    match store.commit(&batch).await? {
        Outcome::Committed | Outcome::Conflict => {}
    }
    Ok(over == SEGMENTS_PER_STEP)
}
