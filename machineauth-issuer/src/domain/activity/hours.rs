//! What happened at the server, hour by hour, for those who look often.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use machineauth_core::clock::Timestamp;

use super::{HOUR, Happening, begin_of, steps};
use crate::store::{Partition, Store, StoreError};

/// How many hours of the server are kept.
pub const HOURS: usize = 7 * 24;
/// After which time nobody counts any more for an hour that is over: clocks disagree, and commits take their time.
const SETTLED: Duration = Duration::from_secs(300);

/// An hour of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    /// When it began.
    pub begin: Timestamp,
    /// Access tokens by client credentials.
    pub issued: i64,
    /// Access tokens by refresh.
    pub refreshed: i64,
    /// Revocations of tokens and of families.
    pub revoked: i64,
    /// Whoever was refused.
    pub refused: i64,
}

/// The hours of the server. What is over does not change, and is read from the store once.
#[derive(Debug, Default)]
pub struct Hours {
    over: Mutex<BTreeMap<u64, Hour>>,
}

impl Hours {
    /// The last `n` hours, the latest last.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn last(
        &self,
        store: &dyn Store,
        now: Timestamp,
        n: usize,
    ) -> Result<Vec<Hour>, StoreError> {
        let numbers: Vec<_> = steps(now, HOUR, n.min(HOURS)).collect();
        let mut known = self.over().clone();
        let unknown = numbers.iter().filter(|number| !known.contains_key(*number));
        let unknown: Vec<_> = unknown.copied().collect();
        let read = read(store, &unknown).await?;
        known.extend(unknown.into_iter().zip(read));
        let hours = numbers
            .iter()
            .filter_map(|number| known.get(number).copied());
        let hours = hours.collect();
        let earliest = steps(now, HOUR, HOURS).next().unwrap_or_default();
        let is_over = |number: u64| begin_of(number + 1, HOUR).saturating_add(SETTLED) <= now;
        known.retain(|number, _| *number >= earliest && is_over(*number));
        *self.over() = known;
        Ok(hours)
    }

    fn over(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Hour>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hours of these numbers, summed up over all partitions.
async fn read(store: &dyn Store, numbers: &[u64]) -> Result<Vec<Hour>, StoreError> {
    let keys: Vec<_> = Partition::all()
        .map(|partition| {
            let numbers = numbers.iter();
            let keys =
                numbers.flat_map(|hour| Happening::ALL.map(|what| what.key(partition, *hour)));
            keys.collect::<Vec<_>>()
        })
        .collect();
    let parts = try_join_all(keys.iter().map(|keys| store.counts(keys))).await?;
    let sum = |at: usize, what: Happening| {
        let place = at * Happening::ALL.len() + what as usize;
        parts.iter().filter_map(|part| part.get(place)).sum()
    };
    let hours = numbers.iter().enumerate().map(|(at, hour)| Hour {
        begin: begin_of(*hour, HOUR),
        issued: sum(at, Happening::Issued),
        refreshed: sum(at, Happening::Refreshed),
        revoked: sum(at, Happening::Revoked),
        refused: sum(at, Happening::Refused),
    });
    Ok(hours.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machineauth_core::clock::{Clock as _, ManualClock};

    use super::super::{Activity, step_of};
    use super::*;
    use crate::store::{Batch, MemoryStore, Outcome, SWEEP_MARGIN};

    /// Tokens issued and refusals of the last three hours.
    async fn counted(hours: &Hours, store: &MemoryStore, clock: &ManualClock) -> Vec<(i64, i64)> {
        let seen = hours.last(store, clock.now(), 3).await.unwrap();
        let seen = seen.iter().map(|hour| (hour.issued, hour.refused));
        seen.collect()
    }

    #[tokio::test]
    async fn an_hour_counts_what_happened_in_it_and_is_forgotten_in_time() {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let activity = Activity::default();
        let partition = Partition::of("x");
        for (what, n) in [(Happening::Issued, 1), (Happening::Refused, 7)] {
            let batch = activity.count(Batch::new(partition), what, n, clock.now());
            assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
        }
        clock.advance(HOUR);
        let batch = activity.count(Batch::new(partition), Happening::Issued, 2, clock.now());
        assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);

        let hours = Hours::default();
        let seen = counted(&hours, &store, &clock).await;
        assert_eq!(seen, [(0, 0), (1, 7), (2, 0)]);

        let kept = HOUR * u32::try_from(HOURS).unwrap();
        clock.advance(kept + SWEEP_MARGIN + HOUR);
        assert_eq!(store.sweep(partition, 10).await.unwrap(), 3);
        let key = Happening::Issued.key(
            partition,
            step_of(Timestamp::from_secs(1_800_000_000), HOUR),
        );
        assert_eq!(store.counts(&[key]).await.unwrap(), [0]);
    }

    #[tokio::test]
    async fn an_hour_that_is_over_is_read_once_and_the_present_one_each_time() {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let (activity, hours) = (Activity::default(), Hours::default());
        let count = async |at: Timestamp| {
            let batch = activity.count(Batch::new(Partition::of("x")), Happening::Issued, 1, at);
            assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
        };
        let first = clock.now();
        count(first).await;
        assert_eq!(counted(&hours, &store, &clock).await[2], (1, 0));
        count(first).await;
        assert_eq!(counted(&hours, &store, &clock).await[2], (2, 0));
        // Somebody may still be counting for an hour that has just ended.
        clock.advance(HOUR);
        count(first).await;
        assert_eq!(counted(&hours, &store, &clock).await[1], (3, 0));
        clock.advance(SETTLED);
        assert_eq!(counted(&hours, &store, &clock).await[1], (3, 0));
        count(first).await;
        assert_eq!(counted(&hours, &store, &clock).await[1], (3, 0));
        clock.advance(HOUR);
        assert_eq!(
            counted(&hours, &store, &clock).await,
            [(3, 0), (0, 0), (0, 0)]
        );
    }
}
