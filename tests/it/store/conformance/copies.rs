//! Exact copies.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use machineauth_issuer::store::{
    Batch, Log, LogRead, Outcome, Partition, Piece, Place, Position, Store, StoreError,
};

use super::Subject;
use crate::store::fixture::{append, bytes, key, partition};

type Passed = Result<(), Box<dyn Error>>;

/// All pieces of a partition, in one order.
async fn copy(store: &dyn Store, of: Partition, page: usize) -> Result<Vec<Piece>, StoreError> {
    let mut pieces = Vec::new();
    let mut from = Some(Place::START);
    while let Some(place) = from {
        let (more, next) = store.dump(of, &place, page).await?;
        pieces.extend(more);
        from = next;
    }
    // Some backends give counters in no order, and now and then twice.
    pieces.sort_by_key(|piece| format!("{piece:?}"));
    pieces.dedup();
    for log in Log::ALL {
        let position = store.tail(of, log).await?;
        pieces.push(Piece::Tail { log, position });
        let LogRead::Entries(entries) = store.log(of, log, &position, usize::MAX).await? else {
            panic!("a tail is in its log");
        };
        pieces.extend(entries.into_iter().map(|(position, entry)| Piece::Entry {
            log,
            position,
            entry,
        }));
    }
    Ok(pieces)
}

/// Fills the partition with something of everything.
async fn fill(subject: &Subject) -> Passed {
    let keys: Vec<_> = (0..600).map(|at| key(&format!("row{at:03}"))).collect();
    subject.put_all(&keys).await?;
    for at in 0..600 {
        let amount = if at % 2 == 0 { at } else { -at };
        let batch = Batch::new(partition()).add(&key(&format!("count{at}")), amount);
        subject.commit(&batch).await?;
    }
    let extremes = Batch::new(partition())
        .add(&key("most"), i64::MAX)
        .add(&key("least"), i64::MIN)
        .put_until(
            &key("dying"),
            bytes("x"),
            subject.after(Duration::from_secs(10)),
        )
        .put_until(
            &key("living"),
            bytes("y"),
            subject.after(Duration::from_secs(1000)),
        )
        .put(&key("empty"), Bytes::new())
        .put(&key("large"), vec![0xff; 200_000].into())
        .append(Log::Revocations, bytes("revoked"));
    subject.commit(&extremes).await?;
    subject.append_all(&["a", "b", "c", "d"]).await?;
    subject.store.trim(partition(), Log::Audit, 1).await?;
    subject.clock.advance(Duration::from_secs(20));
    Ok(())
}

pub(in crate::store) async fn a_copy_put_back_is_the_same(subject: Subject) -> Passed {
    fill(&subject).await?;
    let store = &*subject.store;
    let before = copy(store, partition(), 7).await?;
    assert_eq!(
        copy(store, partition(), 10_000).await?,
        before,
        "whatever the page"
    );
    assert_eq!(before.len(), 604 + 602 + 2 + 3 + 1);
    let read = store.get(&key("row007")).await?.expect("it is there");
    let head = store.head(partition(), Log::Audit).await?;

    store.erase(partition()).await?;
    store.load(partition(), &before).await?;
    assert_eq!(copy(store, partition(), 100).await?, before);
    store.load(partition(), &before).await?;
    assert_eq!(
        copy(store, partition(), 100).await?,
        before,
        "twice is the same as once"
    );

    assert_eq!(
        store.get(&key("row007")).await?,
        Some(read.clone()),
        "with its version"
    );
    assert_eq!(
        subject.value(&key("dying")).await?,
        None,
        "what was dead is dead"
    );
    assert_eq!(subject.count(&key("least")).await?, i64::MIN);
    let change = Batch::new(partition())
        .at_version(&key("row007"), read.version)
        .put(&key("row007"), bytes("changed"))
        .append(Log::Audit, bytes("e"));
    assert_eq!(store.commit(&change).await?, Outcome::Committed);
    let LogRead::Entries(entries) = store.log(partition(), Log::Audit, &head, 10).await? else {
        panic!("positions are good again");
    };
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].0.sequence(), head.sequence() + 1);

    subject.clock.advance(Duration::from_secs(100));
    assert_eq!(
        store.sweep(partition(), 10).await?,
        1,
        "what dies is known to die"
    );
    subject.clock.advance(Duration::from_secs(2000));
    assert_eq!(store.sweep(partition(), 10).await?, 1);
    Ok(())
}

pub(in crate::store) async fn an_erased_partition_is_as_new(subject: Subject) -> Passed {
    fill(&subject).await?;
    let store = &*subject.store;
    let neighbours = [Partition::SYSTEM]
        .into_iter()
        .chain(Partition::data().filter(|other| *other != partition()));
    let mut kept = Vec::new();
    for neighbour in neighbours {
        let row = neighbour.key("row");
        let batch = Batch::new(neighbour)
            .put_until(&row, bytes("x"), subject.after(Duration::from_secs(1000)))
            .add(&row, 1)
            .append(Log::Audit, bytes("x"));
        subject.commit(&batch).await?;
        kept.push((neighbour, copy(store, neighbour, 10).await?));
    }
    for (of, pieces) in kept.iter().take(2) {
        store.erase(*of).await?;
        let (rows, _) = store.dump(*of, &Place::START, 10).await?;
        assert!(rows.is_empty());
        store.load(*of, pieces).await?;
    }
    store.erase(partition()).await?;
    let left = copy(store, partition(), 10).await?;
    let tails = Log::ALL.map(|log| Piece::Tail {
        log,
        position: Position::START,
    });
    assert_eq!(left, tails);
    assert_eq!(store.sweep(partition(), 10).await?, 0);
    subject.append_all(&["first"]).await?;
    let head = store.head(partition(), Log::Audit).await?;
    assert_eq!(head.sequence(), 1);
    for (neighbour, pieces) in kept {
        assert_eq!(copy(store, neighbour, 10).await?, pieces, "{neighbour}");
    }
    Ok(())
}

pub(in crate::store) async fn a_gap_in_a_log_is_not_put_back(subject: Subject) -> Passed {
    for entry in ["a", "b", "c"] {
        subject.commit(&append(entry)).await?;
    }
    let store = &*subject.store;
    let mut pieces = copy(store, partition(), 10).await?;
    store.erase(partition()).await?;
    let second = pieces.iter().position(
        |piece| matches!(piece, Piece::Entry { position, .. } if position.sequence() == 2),
    );
    pieces.remove(second.expect("there are three"));
    let refused = store.load(partition(), &pieces).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
    Ok(())
}
