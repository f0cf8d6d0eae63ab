//! Rows, read one by one or in order.

use std::time::Duration;

use bytes::Bytes;
use machineauth_issuer::store::{Batch, Key, Log, Partition, Position, SWEEP_MARGIN, StoreError};

use super::Subject;
use crate::store::TestResult;
use crate::store::fixture::{append, bytes, key, partition};

pub(in crate::store) async fn a_row_is_read_as_it_was_put(subject: Subject) -> TestResult {
    let values = [&b""[..], b"\0", b"\xff\x00\r\n", "\u{e9}".as_bytes()];
    for (index, value) in values.into_iter().enumerate() {
        let key = key("row").with(index as u64);
        assert_eq!(subject.store.get(&key).await?, None);
        let batch = Batch::new(partition()).put(&key, Bytes::from_static(value));
        subject.commit(&batch).await?;
        let entry = subject.store.get(&key).await?.ok_or("the row is there")?;
        assert_eq!(entry.value, value);
        assert_eq!(entry.version, batch.version());
    }
    Ok(())
}

pub(in crate::store) async fn rows_are_read_together_in_the_order_asked_for(
    subject: Subject,
) -> TestResult {
    let keys: Vec<_> = (0..5_u64).map(|index| key("row").with(index)).collect();
    let end = subject.after(Duration::from_secs(1));
    let batch = Batch::new(partition())
        .put(&keys[1], bytes("one"))
        .put(&keys[3], bytes("three"))
        .put_until(&keys[4], bytes("four"), end);
    subject.commit(&batch).await?;
    let read = async |keys: &[Key]| -> Result<Vec<Option<Bytes>>, StoreError> {
        let rows = subject.store.get_all(keys).await?;
        Ok(rows
            .into_iter()
            .map(|row| row.map(|row| row.value))
            .collect())
    };
    let asked = [3, 0, 4, 1, 1].map(|index: usize| keys[index].clone());
    let (one, three) = (Some(bytes("one")), Some(bytes("three")));
    let alive = [&three, &None, &Some(bytes("four")), &one, &one].map(Clone::clone);
    assert_eq!(read(&asked).await?, alive);
    subject.clock.advance(Duration::from_secs(1));
    let alive = [&three, &None, &None, &one, &one].map(Clone::clone);
    assert_eq!(read(&asked).await?, alive, "a dead row is absent");
    assert!(read(&[]).await?.is_empty());
    Ok(())
}

pub(in crate::store) async fn a_large_value_is_kept_whole(subject: Subject) -> TestResult {
    let value: Bytes = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let batch = Batch::new(partition())
        .put(&key("large"), value.clone())
        .append(Log::Audit, value.clone());
    subject.commit(&batch).await?;
    assert_eq!(subject.value(&key("large")).await?, Some(value.clone()));
    assert_eq!(subject.entries(&Position::START).await?[0].1, value);
    Ok(())
}

pub(in crate::store) async fn a_scan_is_ordered_and_paged(subject: Subject) -> TestResult {
    let root = partition().key("test");
    let mut keys: Vec<_> = (0..600_u64).map(|i| root.with(i * 7 % 600)).collect();
    subject.put_all(&keys).await?;
    keys.sort();
    let all = subject.store.scan(&root, None, usize::MAX).await?;
    let found: Vec<_> = all.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(found, keys);
    assert!(all.iter().all(|(key, entry)| entry.value == key.path()));

    let mut paged = Vec::new();
    while let Some(page) =
        Some(subject.store.scan(&root, paged.last(), 256).await?).filter(|page| !page.is_empty())
    {
        paged.extend(page.into_iter().map(|(key, _)| key));
    }
    assert_eq!(paged, keys);
    assert_eq!(subject.store.scan(&root, None, 0).await?.len(), 0);
    Ok(())
}

pub(in crate::store) async fn a_scan_back_is_the_reverse_of_a_scan(subject: Subject) -> TestResult {
    let root = partition().key("test");
    let keys: Vec<_> = (0..600_u64).map(|i| root.with(i)).collect();
    let around = [
        partition().key("tes").with("t"),
        partition().key("testa").with("a"),
    ];
    subject.put_all(&keys).await?;
    subject.put_all(&around).await?;
    let mut paged = Vec::new();
    loop {
        let page = subject.store.scan_back(&root, paged.last(), 256).await?;
        if page.is_empty() {
            break;
        }
        paged.extend(page.into_iter().map(|(key, _)| key));
    }
    paged.reverse();
    assert_eq!(paged, keys);
    let below_the_first = subject.store.scan_back(&root, Some(&keys[0]), 1).await?;
    assert!(below_the_first.is_empty());
    let before_a_missing_one = root.with(599_u64).with("x");
    let last = subject
        .store
        .scan_back(&root, Some(&before_a_missing_one), 1)
        .await?;
    assert_eq!(last[0].0, keys[599]);
    Ok(())
}

pub(in crate::store) async fn a_scan_stays_under_its_prefix(subject: Subject) -> TestResult {
    let root = partition().key("b");
    let inside = [root.with("-"), root.with("x"), root.with("x").with("y")];
    let outside = [
        root.clone(),
        partition().key("a").with("x"),
        partition().key("b-").with("x"),
        partition().key("b0").with("x"),
        partition().key("ba").with("x"),
        partition().key("c").with("x"),
    ];
    subject.put_all(&inside).await?;
    subject.put_all(&outside).await?;
    let other = Partition::SYSTEM.key("b").with("x");
    let elsewhere = Batch::new(Partition::SYSTEM).put(&other, Bytes::new());
    subject.commit(&elsewhere).await?;

    assert_eq!(
        subject.paths(&root, None, 10).await?,
        ["b/-", "b/x", "b/x/y"]
    );
    assert_eq!(subject.paths(&root.with("x"), None, 10).await?, ["b/x/y"]);
    // A start outside of the prefix is no way out of it.
    assert_eq!(subject.paths(&root, Some(&outside[1]), 10).await?.len(), 3);
    assert_eq!(subject.paths(&root, Some(&outside[5]), 10).await?.len(), 0);
    Ok(())
}

pub(in crate::store) async fn a_scan_passes_over_dead_rows(subject: Subject) -> TestResult {
    let root = partition().key("test");
    let until = subject.after(Duration::from_secs(1));
    let mut batch = Batch::new(partition());
    for i in 0..600_u64 {
        let key = root.with(i);
        batch = if i % 100 == 99 {
            batch.put(&key, Bytes::new())
        } else {
            batch.put_until(&key, Bytes::new(), until)
        };
    }
    subject.commit(&batch).await?;
    subject.clock.advance(Duration::from_secs(1));
    assert_eq!(subject.paths(&root, None, 4).await?.len(), 4);
    assert_eq!(subject.paths(&root, None, 10).await?.len(), 6);
    Ok(())
}

pub(in crate::store) async fn deleting_a_key_removes_row_and_counter(
    subject: Subject,
) -> TestResult {
    let (row, neighbour) = (key("row"), key("neighbour"));
    let until = subject.after(Duration::from_secs(1));
    let batch = Batch::new(partition())
        .put_until(&row, bytes("value"), until)
        .add(&row, 1)
        .put(&neighbour, bytes("value"))
        .add(&neighbour, 1);
    subject.commit(&batch).await?;
    let delete = Batch::new(partition())
        .delete(&row)
        .delete(&key("never-there"));
    subject.commit(&delete).await?;
    assert_eq!(subject.value(&row).await?, None);
    let counts = subject.store.counts(&[row.clone(), neighbour]).await?;
    assert_eq!(counts, [0, 1]);
    assert_eq!(
        subject.paths(&partition().key("test"), None, 10).await?,
        ["test/neighbour"]
    );
    // Nothing of it waits for the sweep.
    subject.clock.advance(Duration::from_secs(1) + SWEEP_MARGIN);
    assert_eq!(subject.store.sweep(partition(), 100).await?, 0);
    Ok(())
}

pub(in crate::store) async fn a_closed_store_is_unavailable(subject: Subject) -> TestResult {
    subject
        .commit(&Batch::new(partition()).put(&key("row"), bytes("value")))
        .await?;
    subject.store.close().await?;
    let failures = [
        subject.store.get(&key("row")).await.map(drop),
        subject.store.commit(&append("late")).await.map(drop),
        subject.store.now().await.map(drop),
    ];
    for failure in failures {
        assert!(matches!(failure, Err(StoreError::Unavailable { .. })));
    }
    Ok(())
}
