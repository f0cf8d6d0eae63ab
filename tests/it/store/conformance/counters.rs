//! Counters: apart from rows, without conflicts.

use machineauth_issuer::store::Batch;

use super::{Subject, race};
use crate::store::TestResult;
use crate::store::fixture::{key, partition};

pub(in crate::store) async fn counters_add_and_keep_the_greatest(subject: Subject) -> TestResult {
    let (sum, last) = (key("sum"), key("last"));
    for (amount, seen) in [(5, 1_000), (-2, 3_000), (4, 2_000)] {
        let batch = Batch::new(partition()).add(&sum, amount).max(&last, seen);
        subject.commit(&batch).await?;
    }
    let counts = subject
        .store
        .counts(&[sum.clone(), key("untouched"), last.clone()])
        .await?;
    assert_eq!(counts, [7, 0, 3_000]);
    assert!(subject.store.counts(&[]).await?.is_empty());

    // An untouched counter stands at 0.
    let below = Batch::new(partition()).max(&key("untouched"), -5);
    subject.commit(&below).await?;
    assert_eq!(subject.count(&key("untouched")).await?, 0);
    // Counters are not rows.
    assert_eq!(subject.value(&sum).await?, None);
    assert_eq!(
        subject
            .paths(&partition().key("test"), None, 10)
            .await?
            .len(),
        0
    );
    Ok(())
}

pub(in crate::store) async fn counters_saturate(subject: Subject) -> TestResult {
    let (up, down, exact) = (key("up"), key("down"), key("exact"));
    let beyond_doubles = (1 << 53) + 1;
    let batch = Batch::new(partition())
        .add(&up, i64::MAX)
        .add(&up, 1)
        .add(&down, i64::MIN)
        .add(&down, -1)
        .max(&exact, beyond_doubles)
        .max(&exact, beyond_doubles - 1);
    subject.commit(&batch).await?;
    let counts = subject.store.counts(&[up, down, exact]).await?;
    assert_eq!(counts, [i64::MAX, i64::MIN, beyond_doubles]);
    Ok(())
}

pub(in crate::store) async fn counters_lose_nothing_in_a_race(subject: Subject) -> TestResult {
    let (sum, greatest) = (key("sum"), key("greatest"));
    let batches = (1..=100).map(|i| Batch::new(partition()).add(&sum, i).max(&greatest, i));
    assert_eq!(race(&subject, batches).await?.len(), 100, "none conflicts");
    let counts = subject.store.counts(&[sum, greatest]).await?;
    assert_eq!(counts, [5_050, 100]);
    Ok(())
}
