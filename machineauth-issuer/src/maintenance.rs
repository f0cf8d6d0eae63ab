//! What keeps the store small: dead rows are swept and logs trimmed, in bounded steps.
//!
//! A swept row is gone for everybody, so a row is swept only by a clock that can be trusted: one that agrees with the
//! store's, and that has not jumped lately.

use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::domain::event::AuditSettings;
use crate::domain::organizations::Organizations;
use crate::domain::webhooks::Webhooks;
use crate::events::audit;
use crate::events::webhooks::dispatcher::told_through;
use crate::store::{Log, Partition, Store, StoreError};
use crate::telemetry::Chain;

/// How often the next partition has its turn; all of them within a minute.
const STEP: Duration = Duration::from_secs(1);
/// Rows swept in one step, so that no commit waits long behind it.
const ROWS_PER_STEP: usize = 1000;
/// Entries of a revocation log kept for listeners that resume. Who is further behind gets a snapshot.
const REVOCATIONS_KEPT: u64 = 10_000;
/// More disagreement between our clock and the store's is a fault: readiness fails, and nothing is swept.
pub const GREATEST_SKEW: Duration = Duration::from_secs(5);
/// How long nothing is swept after our clock has jumped. A jump by mistake is noticed and set right by then.
const DISTRUST: Duration = Duration::from_secs(3600);

/// Keeps one store small.
#[derive(Clone, Copy, Debug)]
pub struct Maintenance<'a> {
    /// Which.
    pub store: &'a dyn Store,
    /// The time.
    pub clock: &'a dyn Clock,
    /// What is left of those that were deleted is deleted.
    pub organizations: &'a Organizations,
    /// What was on its way to those that were deleted is deleted, and old deliveries are forgotten.
    pub webhooks: &'a Webhooks,
    /// How long the audit trail is kept.
    pub audit: AuditSettings,
}

impl Maintenance<'_> {
    /// Maintains one partition after the other, forever.
    pub async fn run(&self) {
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = ClockWatch::new(self.clock.now(), Instant::now());
        for partition in Partition::all().cycle() {
            steps.tick().await;
            let trusted = watch.look(self.clock.now(), Instant::now());
            self.step(partition, trusted).await;
        }
    }

    /// Maintains a partition once, by a clock that can be `trusted` or not. What fails is logged, and its turn comes again.
    pub async fn step(&self, partition: Partition, trusted: bool) {
        if let Err(error) = self.organizations.clean_up(partition).await {
            tracing::warn!(error = %Chain(&error), %partition, "deleting what is left of an organization failed; it is tried again");
        }
        if let Err(error) = self.webhooks.clean_up(partition).await {
            tracing::warn!(error = %Chain(&error), %partition, "deleting what was on its way to a deleted webhook failed; it is tried again");
        }
        if trusted && let Err(error) = self.webhooks.trim(partition).await {
            tracing::warn!(error = %Chain(&error), %partition, "forgetting old deliveries to webhooks failed; it is tried again");
        }
        if trusted && let Err(error) = self.trim_audit(partition).await {
            tracing::warn!(error = %Chain(&error), %partition, "trimming the audit trail failed; it is tried again");
        }
        if let Err(error) = maintain(self.store, self.clock, partition, trusted).await {
            tracing::warn!(error = %Chain(&error), %partition, "maintenance of the store failed; it is tried again");
        }
    }

    /// What webhooks have yet to be told of stays.
    async fn trim_audit(&self, partition: Partition) -> Result<(), StoreError> {
        let told = told_through(self.store, partition).await?;
        audit::trim(self.store, partition, self.audit, told, self.clock.now()).await
    }
}

async fn maintain(
    store: &dyn Store,
    clock: &dyn Clock,
    partition: Partition,
    clock_is_steady: bool,
) -> Result<(), StoreError> {
    let head = store.head(partition, Log::Revocations).await?.sequence();
    let old = head.saturating_sub(REVOCATIONS_KEPT);
    store.trim(partition, Log::Revocations, old).await?;
    if !clock_is_steady || clocks_disagree(clock.now(), store.now().await?) {
        return Ok(());
    }
    while store.sweep(partition, ROWS_PER_STEP).await? == ROWS_PER_STEP {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Whether this machine's clock and the store's differ by more than [`GREATEST_SKEW`].
pub fn clocks_disagree(ours: Timestamp, of_the_store: Timestamp) -> bool {
    u128::from(ours.as_millis().abs_diff(of_the_store.as_millis())) > GREATEST_SKEW.as_millis()
}

/// Notices when the wall clock moves otherwise than time does.
struct ClockWatch {
    wall: Timestamp,
    monotonic: Instant,
    trusted_from: Instant,
}

impl ClockWatch {
    fn new(wall: Timestamp, monotonic: Instant) -> Self {
        Self {
            wall,
            monotonic,
            trusted_from: monotonic,
        }
    }

    /// Whether the wall clock can be trusted, now that it shows `wall`.
    fn look(&mut self, wall: Timestamp, monotonic: Instant) -> bool {
        let expected = self.wall.saturating_add(monotonic - self.monotonic);
        if clocks_disagree(wall, expected) {
            tracing::warn!("this machine's clock jumped; nothing is swept for an hour");
            self.trusted_from = monotonic + DISTRUST;
        }
        (self.wall, self.monotonic) = (wall, monotonic);
        monotonic >= self.trusted_from
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machineauth_core::clock::ManualClock;

    use super::*;
    use crate::store::{Batch, MemoryStore};

    #[test]
    fn a_clock_that_jumped_is_distrusted_for_an_hour() {
        let (wall, start) = (Timestamp::from_secs(1_800_000_000), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = ClockWatch::new(wall, start);
        assert!(watch.look(wall.saturating_add(Duration::from_secs(1)), at(1)));
        let jumped = wall.saturating_add(Duration::from_secs(1_000_000));
        assert!(!watch.look(jumped, at(2)));
        assert!(!watch.look(jumped.saturating_add(Duration::from_secs(3_599)), at(3_601)));
        assert!(watch.look(jumped.saturating_add(Duration::from_secs(3_600)), at(3_602)));
    }

    /// I24
    #[tokio::test]
    async fn a_clock_that_disagrees_with_the_stores_sweeps_nothing() {
        let of_the_store = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let store = MemoryStore::new(Arc::new(of_the_store.clone()));
        let partition = Partition::of("x");
        let row = partition.key("row");
        let soon = of_the_store.now().saturating_add(Duration::from_secs(1));
        let batch = Batch::new(partition).put_until(&row, "value".into(), soon);
        assert_eq!(
            store.commit(&batch).await.unwrap(),
            crate::store::Outcome::Committed
        );
        of_the_store.advance(Duration::from_secs(600));

        let fast = ManualClock::new(of_the_store.now().saturating_add(Duration::from_secs(6)));
        maintain(&store, &fast, partition, true).await.unwrap();
        maintain(&store, &of_the_store, partition, false)
            .await
            .unwrap();
        assert_eq!(
            store.sweep(partition, 10).await.unwrap(),
            1,
            "the row was still there"
        );
    }
}
