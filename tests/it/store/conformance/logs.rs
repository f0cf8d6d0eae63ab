//! Logs: numbered, trimmed, and never mistaken for another.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use machineauth_issuer::store::{Batch, Log, LogRead, Partition, Position};
use tokio::time::timeout;

use super::{Subject, race};
use crate::store::TestResult;
use crate::store::fixture::{append, bytes, memory, partition};

pub(in crate::store) async fn a_log_is_numbered_without_gaps(subject: Subject) -> TestResult {
    let store = &subject.store;
    assert_eq!(store.head(partition(), Log::Audit).await?, Position::START);
    subject.append_all(&["one"]).await?;
    let twice = Batch::new(partition())
        .append(Log::Audit, bytes("two"))
        .append(Log::Audit, bytes("three"));
    subject.commit(&twice).await?;
    let entries = subject.entries(&Position::START).await?;
    let texts: Vec<_> = entries.iter().map(|(_, entry)| entry.clone()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let numbers: Vec<_> = entries
        .iter()
        .map(|(position, _)| position.sequence())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(store.head(partition(), Log::Audit).await?, entries[2].0);
    assert_eq!(subject.entries(&entries[0].0).await?, entries[1..]);
    assert_eq!(subject.entries(&entries[2].0).await?, []);
    Ok(())
}

pub(in crate::store) async fn a_log_is_read_in_pages(subject: Subject) -> TestResult {
    let batch = (0..700).fold(Batch::new(partition()), |batch, i| {
        batch.append(Log::Audit, Bytes::from(format!("entry {i}")))
    });
    subject.commit(&batch).await?;
    let all = subject.entries(&Position::START).await?;
    assert_eq!(all.len(), 700);
    let mut paged: Vec<(Position, Bytes)> = Vec::new();
    loop {
        let after = paged
            .last()
            .map_or(Position::START, |(position, _)| *position);
        let page = subject
            .store
            .log(partition(), Log::Audit, &after, 300)
            .await?;
        match page {
            LogRead::Entries(page) if page.is_empty() => break,
            LogRead::Entries(page) => paged.extend(page),
            LogRead::Lost => panic!("{after} is in the log"),
        }
    }
    assert_eq!(paged, all);
    for after in [&Position::START, &all[0].0] {
        let none = subject.store.log(partition(), Log::Audit, after, 0).await?;
        assert_eq!(none, LogRead::Entries(Vec::new()));
    }
    Ok(())
}

pub(in crate::store) async fn racing_appends_are_all_in_the_log(subject: Subject) -> TestResult {
    let batches: Vec<_> = (0..100)
        .map(|i| Batch::new(partition()).append(Log::Audit, Bytes::from(format!("{i:03}"))))
        .collect();
    race(&subject, batches).await?;
    let entries = subject.entries(&Position::START).await?;
    let numbers: Vec<_> = entries
        .iter()
        .map(|(position, _)| position.sequence())
        .collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    let texts: BTreeSet<_> = entries.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(texts.len(), 100);
    Ok(())
}

pub(in crate::store) async fn logs_are_apart(subject: Subject) -> TestResult {
    let batch = Batch::new(partition())
        .append(Log::Audit, bytes("audit"))
        .append(Log::Revocations, bytes("revocation"));
    subject.commit(&batch).await?;
    let elsewhere = Batch::new(Partition::SYSTEM).append(Log::Audit, bytes("system"));
    subject.commit(&elsewhere).await?;
    for (partition, log, text) in [
        (partition(), Log::Audit, "audit"),
        (partition(), Log::Revocations, "revocation"),
        (Partition::SYSTEM, Log::Audit, "system"),
    ] {
        let read = subject
            .store
            .log(partition, log, &Position::START, 10)
            .await?;
        let LogRead::Entries(entries) = read else {
            panic!("the start is in the log");
        };
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].1, text);
        assert_eq!(entries[0].0.sequence(), 1);
    }
    Ok(())
}

pub(in crate::store) async fn a_trimmed_position_is_lost(subject: Subject) -> TestResult {
    subject.append_all(&["1", "2", "3", "4", "5"]).await?;
    let entries = subject.entries(&Position::START).await?;
    let store = &subject.store;
    assert_eq!(store.trim(partition(), Log::Audit, 3).await?, 3);
    assert_eq!(store.trim(partition(), Log::Audit, 3).await?, 0);
    assert_eq!(store.trim(partition(), Log::Audit, 2).await?, 0);
    for lost in [&Position::START, &entries[0].0, &entries[1].0] {
        let read = store.log(partition(), Log::Audit, lost, 10).await?;
        assert_eq!(read, LogRead::Lost, "{lost}");
    }
    // Nothing after these is gone.
    assert_eq!(subject.entries(&entries[2].0).await?, entries[3..]);
    assert_eq!(subject.entries(&entries[3].0).await?, entries[4..]);
    Ok(())
}

pub(in crate::store) async fn a_trimmed_log_is_read_from_its_tail(subject: Subject) -> TestResult {
    subject.append_all(&["1", "2", "3"]).await?;
    let entries = subject.entries(&Position::START).await?;
    let store = &subject.store;
    assert_eq!(store.tail(partition(), Log::Audit).await?, Position::START);
    store.trim(partition(), Log::Audit, 2).await?;
    let tail = store.tail(partition(), Log::Audit).await?;
    assert_eq!(tail, entries[1].0);
    assert_eq!(subject.entries(&tail).await?, entries[2..]);

    // An emptied log goes on counting, and its reader at the head has lost nothing.
    assert_eq!(store.trim(partition(), Log::Audit, u64::MAX).await?, 1);
    assert_eq!(store.tail(partition(), Log::Audit).await?, entries[2].0);
    assert_eq!(store.head(partition(), Log::Audit).await?, entries[2].0);
    subject.append_all(&["4"]).await?;
    let rest = subject.entries(&entries[2].0).await?;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].0.sequence(), 4);
    Ok(())
}

pub(in crate::store) async fn a_log_is_read_backwards(subject: Subject) -> TestResult {
    let store = &subject.store;
    for through in [0, 1, u64::MAX] {
        assert_eq!(
            store.log_back(partition(), Log::Audit, through, 9).await?,
            []
        );
    }
    let batch = (0..700).fold(Batch::new(partition()), |batch, i| {
        batch.append(Log::Audit, Bytes::from(format!("entry {i}")))
    });
    subject.commit(&batch).await?;
    let mut backwards = subject.entries(&Position::START).await?;
    backwards.reverse();
    let read = async |through, limit| {
        store
            .log_back(partition(), Log::Audit, through, limit)
            .await
    };
    assert_eq!(read(u64::MAX, 1000).await?, backwards);
    assert_eq!(read(700, 3).await?, backwards[..3]);
    assert_eq!(read(697, 300).await?, backwards[3..303]);
    assert_eq!(read(2, 9).await?, backwards[698..]);
    assert_eq!(read(0, 9).await?, []);
    assert_eq!(read(u64::MAX, 0).await?, []);

    store.trim(partition(), Log::Audit, 690).await?;
    assert_eq!(read(u64::MAX, 1000).await?, backwards[..10]);
    assert_eq!(read(692, 9).await?, backwards[8..10]);
    assert_eq!(read(690, 9).await?, []);
    store.trim(partition(), Log::Audit, u64::MAX).await?;
    assert_eq!(read(u64::MAX, 9).await?, []);
    subject.append_all(&["after"]).await?;
    let after = read(u64::MAX, 9).await?;
    assert_eq!((after.len(), after[0].0.sequence()), (1, 701));
    Ok(())
}

/// I24
pub(in crate::store) async fn a_foreign_position_is_lost(subject: Subject) -> TestResult {
    let other = memory().await;
    other.append_all(&["a", "b", "c"]).await?;
    let foreign = other.entries(&Position::START).await?;
    subject.append_all(&["1", "2"]).await?;
    let too_far = "18446744073709551615.AAAAAAAAAAAAAAAAAAAAAA".parse()?;
    for position in foreign
        .iter()
        .map(|(position, _)| *position)
        .chain([too_far])
    {
        let read = subject
            .store
            .log(partition(), Log::Audit, &position, 10)
            .await?;
        assert_eq!(read, LogRead::Lost, "{position}");
    }
    Ok(())
}

pub(in crate::store) async fn a_change_wakes_readers_of_that_log(subject: Subject) -> TestResult {
    let mut any = subject.store.changes();
    let mut audit = subject.store.changes_in(Log::Audit);
    let mut revocations = subject.store.changes_in(Log::Revocations);
    let wait = Duration::from_secs(5);

    subject.commit(&append("event")).await?;
    timeout(wait, audit.changed()).await??;
    timeout(wait, any.changed()).await??;
    assert!(!revocations.has_changed()?);

    let revoke = Batch::new(partition()).append(Log::Revocations, bytes("revoked"));
    subject.commit(&revoke).await?;
    timeout(wait, revocations.changed()).await??;
    timeout(wait, any.changed()).await??;
    Ok(())
}
