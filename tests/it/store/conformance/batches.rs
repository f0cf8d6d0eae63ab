//! What a batch promises: all or nothing, exactly once, exactly one winner.

use std::collections::HashSet;
use std::time::Duration;

use machineauth_issuer::store::{Batch, Log, Outcome, Position};

use super::{Subject, race};
use crate::store::TestResult;
use crate::store::fixture::{bytes, key, partition};

pub(in crate::store) async fn of_racing_creations_exactly_one_wins(subject: Subject) -> TestResult {
    for round in 0..10_u64 {
        let contested = key("contested").with(round);
        let batches = (0..16).map(|_| {
            Batch::new(partition())
                .absent(&contested)
                .put(&contested, bytes("mine"))
        });
        let winners = race(&subject, batches).await?;
        assert_eq!(winners.len(), 1);
        let entry = subject.store.get(&contested).await?;
        assert_eq!(entry.map(|entry| entry.version), Some(winners[0].version()));
    }
    Ok(())
}

pub(in crate::store) async fn of_racing_changes_exactly_one_wins(subject: Subject) -> TestResult {
    let contested = key("contested");
    let mut last = Batch::new(partition()).put(&contested, bytes("first"));
    subject.commit(&last).await?;
    for _ in 0..10 {
        let batches = (0..16).map(|_| {
            Batch::new(partition())
                .at_version(&contested, last.version())
                .put(&contested, bytes("changed"))
                .add(&contested, 1)
        });
        let mut winners = race(&subject, batches).await?;
        assert_eq!(winners.len(), 1);
        last = winners.remove(0);
    }
    assert_eq!(subject.count(&contested).await?, 10);
    Ok(())
}

pub(in crate::store) async fn a_failed_check_writes_nothing(subject: Subject) -> TestResult {
    let (taken, other) = (key("taken"), key("other"));
    subject
        .commit(&Batch::new(partition()).put(&taken, bytes("old")))
        .await?;
    let batch = Batch::new(partition())
        .absent(&taken)
        .put(&taken, bytes("new"))
        .put(&other, bytes("new"))
        .add(&other, 1)
        .delete(&taken)
        .append(Log::Audit, bytes("event"));
    assert_eq!(subject.store.commit(&batch).await?, Outcome::Conflict);
    assert_eq!(subject.value(&taken).await?, Some(bytes("old")));
    assert_eq!(subject.value(&other).await?, None);
    assert_eq!(subject.count(&other).await?, 0);
    assert_eq!(subject.entries(&Position::START).await?, []);
    Ok(())
}

pub(in crate::store) async fn all_checks_are_judged_before_the_first_write(
    subject: Subject,
) -> TestResult {
    let (first, second) = (key("first"), key("second"));
    // The put makes the second check fail only if it were judged too late.
    let batch = Batch::new(partition())
        .absent(&first)
        .put(&second, bytes("value"))
        .absent(&second);
    subject.commit(&batch).await?;
    assert_eq!(subject.value(&second).await?, Some(bytes("value")));
    Ok(())
}

pub(in crate::store) async fn a_batch_sent_again_is_recognised(subject: Subject) -> TestResult {
    let (row, counter) = (key("row"), key("counter"));
    let create = Batch::new(partition())
        .absent(&row)
        .put(&row, bytes("created"))
        .add(&counter, 1)
        .append(Log::Audit, bytes("created"));
    let change = Batch::new(partition())
        .absent(&key("tombstone"))
        .at_version(&row, create.version())
        .put(&row, bytes("changed"))
        .add(&counter, 1)
        .append(Log::Audit, bytes("changed"));
    for batch in [&create, &create, &change, &change, &change] {
        subject.commit(batch).await?;
    }
    assert_eq!(subject.value(&row).await?, Some(bytes("changed")));
    assert_eq!(subject.count(&counter).await?, 2);
    assert_eq!(subject.entries(&Position::START).await?.len(), 2);
    Ok(())
}

pub(in crate::store) async fn a_batch_is_recognised_after_its_row_has_died(
    subject: Subject,
) -> TestResult {
    let row = key("row");
    let until = subject.after(Duration::from_secs(1));
    let batch = Batch::new(partition())
        .absent(&row)
        .put_until(&row, bytes("short"), until)
        .add(&row, 1);
    subject.commit(&batch).await?;
    subject.clock.advance(Duration::from_secs(2));
    subject.commit(&batch).await?;
    assert_eq!(subject.count(&row).await?, 1, "it happened once");
    assert_eq!(subject.value(&row).await?, None);
    Ok(())
}

pub(in crate::store) async fn a_batch_whose_row_was_changed_since_conflicts(
    subject: Subject,
) -> TestResult {
    let row = key("row");
    let first = Batch::new(partition())
        .absent(&row)
        .put(&row, bytes("first"));
    let second = Batch::new(partition())
        .at_version(&row, first.version())
        .put(&row, bytes("second"));
    subject.commit(&first).await?;
    subject.commit(&second).await?;
    assert_eq!(subject.store.commit(&first).await?, Outcome::Conflict);
    assert_eq!(subject.value(&row).await?, Some(bytes("second")));
    Ok(())
}

pub(in crate::store) async fn writes_apply_in_order(subject: Subject) -> TestResult {
    let (kept, gone) = (key("kept"), key("gone"));
    let batch = Batch::new(partition())
        .put(&kept, bytes("first"))
        .add(&kept, 1)
        .delete(&kept)
        .put(&kept, bytes("second"))
        .add(&kept, 10)
        .put(&gone, bytes("first"))
        .delete(&gone);
    subject.commit(&batch).await?;
    assert_eq!(subject.value(&kept).await?, Some(bytes("second")));
    assert_eq!(subject.count(&kept).await?, 10);
    assert_eq!(subject.value(&gone).await?, None);
    Ok(())
}

pub(in crate::store) async fn versions_are_never_reused(subject: Subject) -> TestResult {
    let row = key("row");
    let mut versions = HashSet::new();
    for _ in 0..100 {
        let put = Batch::new(partition()).put(&row, bytes("same"));
        subject.commit(&put).await?;
        let entry = subject.store.get(&row).await?.ok_or("the row is there")?;
        assert!(versions.insert(entry.version));
        let delete = Batch::new(partition()).delete(&row);
        subject.commit(&delete).await?;
    }
    // A row that was deleted and written again with the same value is another row.
    subject
        .commit(&Batch::new(partition()).put(&row, bytes("same")))
        .await?;
    for version in versions {
        let stale = Batch::new(partition()).at_version(&row, version);
        assert_eq!(subject.store.commit(&stale).await?, Outcome::Conflict);
    }
    Ok(())
}
