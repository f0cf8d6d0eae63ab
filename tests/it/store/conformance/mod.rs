//! What every store promises. Each test takes a fresh store of any kind.

pub(super) mod batches;
pub(super) mod copies;
pub(super) mod counters;
pub(super) mod expiry;
pub(super) mod logs;
pub(super) mod rows;

use std::sync::Arc;

use machineauth_issuer::store::{Batch, Outcome};

use super::fixture::Fixture;

/// Runs the suite on the stores that a function opens.
macro_rules! suite {
    ($open:path) => {
        $crate::store::conformance::suite!(@tests $open,
            batches: [
                of_racing_creations_exactly_one_wins,
                of_racing_changes_exactly_one_wins,
                a_failed_check_writes_nothing,
                all_checks_are_judged_before_the_first_write,
                a_batch_sent_again_is_recognised,
                a_batch_is_recognised_after_its_row_has_died,
                a_batch_whose_row_was_changed_since_conflicts,
                writes_apply_in_order,
                versions_are_never_reused,
            ],
            rows: [
                a_row_is_read_as_it_was_put,
                rows_are_read_together_in_the_order_asked_for,
                a_large_value_is_kept_whole,
                a_scan_is_ordered_and_paged,
                a_scan_back_is_the_reverse_of_a_scan,
                a_scan_stays_under_its_prefix,
                a_scan_passes_over_dead_rows,
                deleting_a_key_removes_row_and_counter,
                a_closed_store_is_unavailable,
            ],
            copies: [
                a_copy_put_back_is_the_same,
                an_erased_partition_is_as_new,
                a_gap_in_a_log_is_not_put_back,
            ],
            expiry: [
                a_row_dies_when_the_clock_says_so,
                a_dead_row_is_absent_to_checks,
                a_row_put_again_lives_on,
                a_sweep_leaves_the_margin,
                a_sweep_is_bounded,
                a_sweep_stays_in_its_partition,
                a_swept_row_takes_its_counter_along,
            ],
            counters: [
                counters_add_and_keep_the_greatest,
                counters_saturate,
                counters_lose_nothing_in_a_race,
            ],
            logs: [
                a_log_is_numbered_without_gaps,
                a_log_is_read_in_pages,
                racing_appends_are_all_in_the_log,
                logs_are_apart,
                a_trimmed_position_is_lost,
                a_trimmed_log_is_read_from_its_tail,
                a_log_is_read_backwards,
                a_foreign_position_is_lost,
                a_change_wakes_readers_of_that_log,
            ],
        );
    };
    (@tests $open:path, $($topic:ident: [$($name:ident),* $(,)?],)*) => {
        mod conformance {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let subject = std::sync::Arc::new($open().await);
                    let passed = $crate::store::conformance::$topic::$name(subject).await;
                    passed.unwrap();
                }
            )*)*
        }
    };
}
pub(super) use suite;

/// The store under test, shared with the tasks that race on it.
pub(super) type Subject = Arc<Fixture>;

/// Commits all batches at once; gives back those that won.
async fn race(
    subject: &Subject,
    batches: impl IntoIterator<Item = Batch>,
) -> Result<Vec<Batch>, Box<dyn std::error::Error>> {
    let racers: Vec<_> = batches
        .into_iter()
        .map(|batch| {
            let store = Arc::clone(&subject.store);
            tokio::spawn(async move {
                let outcome = store.commit(&batch).await;
                outcome.map(|outcome| (outcome, batch))
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        let (outcome, batch) = racer.await??;
        if outcome == Outcome::Committed {
            winners.push(batch);
        }
    }
    Ok(winners)
}
