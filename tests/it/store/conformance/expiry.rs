//! Rows die by the injected clock, and are swept some time later.

use std::time::Duration;

use bytes::Bytes;
use machineauth_issuer::store::{Batch, Outcome, Partition, SWEEP_MARGIN};

use super::Subject;
use crate::store::TestResult;
use crate::store::fixture::{bytes, key, partition};

/// V21
pub(in crate::store) async fn a_row_dies_when_the_clock_says_so(subject: Subject) -> TestResult {
    let row = key("row");
    let until = subject.after(Duration::from_millis(1_000));
    let batch = Batch::new(partition()).put_until(&row, bytes("short"), until);
    subject.commit(&batch).await?;
    subject.clock.advance(Duration::from_millis(999));
    assert_eq!(subject.value(&row).await?, Some(bytes("short")));
    subject.clock.advance(Duration::from_millis(1));
    assert_eq!(subject.value(&row).await?, None);
    // A clock that steps back brings back what it had ended: the row is judged, not removed.
    subject
        .clock
        .set(until.saturating_sub(Duration::from_millis(1)));
    assert_eq!(subject.value(&row).await?, Some(bytes("short")));
    Ok(())
}

pub(in crate::store) async fn a_dead_row_is_absent_to_checks(subject: Subject) -> TestResult {
    let row = key("row");
    let until = subject.after(Duration::from_secs(1));
    let old = Batch::new(partition()).put_until(&row, bytes("old"), until);
    subject.commit(&old).await?;
    subject.clock.advance(Duration::from_secs(1));
    let change = Batch::new(partition())
        .at_version(&row, old.version())
        .put(&row, bytes("changed"));
    assert_eq!(subject.store.commit(&change).await?, Outcome::Conflict);
    let create = Batch::new(partition()).absent(&row).put(&row, bytes("new"));
    subject.commit(&create).await?;
    assert_eq!(subject.value(&row).await?, Some(bytes("new")));
    Ok(())
}

pub(in crate::store) async fn a_row_put_again_lives_on(subject: Subject) -> TestResult {
    let (kept, extended) = (key("kept"), key("extended"));
    let soon = subject.after(Duration::from_secs(1));
    let late = subject.after(Duration::from_secs(1_000));
    let batch = Batch::new(partition())
        .put_until(&kept, bytes("short"), soon)
        .put_until(&extended, bytes("short"), soon);
    subject.commit(&batch).await?;
    let batch =
        Batch::new(partition())
            .put(&kept, bytes("long"))
            .put_until(&extended, bytes("long"), late);
    subject.commit(&batch).await?;
    subject.clock.advance(Duration::from_secs(500));
    assert_eq!(subject.store.sweep(partition(), 100).await?, 0);
    assert_eq!(subject.value(&kept).await?, Some(bytes("long")));
    assert_eq!(subject.value(&extended).await?, Some(bytes("long")));
    Ok(())
}

pub(in crate::store) async fn a_sweep_leaves_the_margin(subject: Subject) -> TestResult {
    let row = key("row");
    let until = subject.after(Duration::from_secs(1));
    let batch = Batch::new(partition()).put_until(&row, bytes("short"), until);
    subject.commit(&batch).await?;
    let almost = until.saturating_add(SWEEP_MARGIN - Duration::from_millis(1));
    subject.clock.set(almost);
    assert_eq!(subject.store.sweep(partition(), 100).await?, 0);
    subject.clock.advance(Duration::from_millis(1));
    assert_eq!(subject.store.sweep(partition(), 100).await?, 1);
    // Gone for good: even a clock that steps back does not find it.
    subject.clock.set(until.saturating_sub(SWEEP_MARGIN));
    assert_eq!(subject.value(&row).await?, None);
    assert_eq!(
        subject
            .paths(&partition().key("test"), None, 10)
            .await?
            .len(),
        0
    );
    Ok(())
}

pub(in crate::store) async fn a_sweep_is_bounded(subject: Subject) -> TestResult {
    let until = subject.after(Duration::from_secs(1));
    let keys: Vec<_> = (0..700_u64).map(|i| key("row").with(i)).collect();
    let batch = keys.iter().fold(Batch::new(partition()), |batch, key| {
        batch.put_until(key, Bytes::new(), until)
    });
    subject.commit(&batch).await?;
    subject.clock.advance(Duration::from_secs(1) + SWEEP_MARGIN);
    assert_eq!(subject.store.sweep(partition(), 300).await?, 300);
    assert_eq!(subject.store.sweep(partition(), 300).await?, 300);
    assert_eq!(subject.store.sweep(partition(), 300).await?, 100);
    assert_eq!(subject.store.sweep(partition(), 300).await?, 0);
    Ok(())
}

pub(in crate::store) async fn a_sweep_stays_in_its_partition(subject: Subject) -> TestResult {
    let until = subject.after(Duration::from_secs(1));
    for partition in Partition::data().chain([Partition::SYSTEM]) {
        let batch = Batch::new(partition).put_until(&partition.key("row"), Bytes::new(), until);
        subject.commit(&batch).await?;
    }
    subject.clock.advance(Duration::from_secs(1) + SWEEP_MARGIN);
    for partition in Partition::data().chain([Partition::SYSTEM]) {
        assert_eq!(subject.store.sweep(partition, 100).await?, 1);
    }
    Ok(())
}

pub(in crate::store) async fn a_swept_row_takes_its_counter_along(subject: Subject) -> TestResult {
    let window = key("window");
    let until = subject.after(Duration::from_secs(1));
    let batch = Batch::new(partition())
        .put_until(&window, Bytes::new(), until)
        .add(&window, 5);
    subject.commit(&batch).await?;
    subject.clock.advance(Duration::from_secs(1) + SWEEP_MARGIN);
    assert_eq!(subject.store.sweep(partition(), 100).await?, 1);
    assert_eq!(subject.count(&window).await?, 0);
    Ok(())
}
