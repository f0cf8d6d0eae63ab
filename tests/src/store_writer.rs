//! A process that writes to an embedded store until it is killed, and what must be true of the file afterwards.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use machineauth_core::clock::SystemClock;
use machineauth_issuer::store::{
    Batch, EmbeddedStore, Key, Log, LogRead, Outcome, Partition, Position, Store, StoreError,
};

/// How many commits are always under way.
const WRITERS: u64 = 8;

/// What the writers have written: each batch adds one row, one to the counter and one entry to the log.
#[derive(Debug)]
pub struct Ledger {
    /// The rows, as the writers printed them.
    pub rows: HashSet<String>,
    counted: i64,
    logged: usize,
}

impl Ledger {
    /// Reads all of it.
    ///
    /// # Errors
    /// As the store's.
    pub async fn read(store: &dyn Store) -> Result<Ledger, StoreError> {
        let rows = store.scan(&root(), None, usize::MAX).await?;
        let counted = store.counts(&[counter()]).await?;
        let log = store
            .log(Partition::SYSTEM, Log::Audit, &Position::START, usize::MAX)
            .await?;
        let logged = match log {
            LogRead::Entries(entries) => entries.len(),
            LogRead::Lost => 0,
        };
        Ok(Ledger {
            rows: rows
                .into_iter()
                .map(|(key, _)| key.path().to_owned())
                .collect(),
            counted: counted[0],
            logged,
        })
    }

    /// Whether every batch is there as a whole or not at all.
    pub fn is_consistent(&self) -> bool {
        self.logged == self.rows.len() && i64::try_from(self.logged) == Ok(self.counted)
    }
}

/// Writes for ever; prints the path of each row once the store has answered for it.
///
/// # Errors
/// As the store's; a batch that conflicts ends it too.
pub async fn write_until_killed(path: &Path, round: u64) -> Result<(), StoreError> {
    let store = Arc::new(EmbeddedStore::open(path, Arc::new(SystemClock)).await?);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(&store), root().with(round).with(writer)));
    }
    match writers.join_next().await {
        Some(Ok(result)) => result,
        _ => Ok(()),
    }
}

async fn write(store: Arc<EmbeddedStore>, mine: Key) -> Result<(), StoreError> {
    let mut number = 0_u64;
    loop {
        let row = mine.with(number);
        let batch = Batch::new(Partition::SYSTEM)
            .absent(&row)
            .put(&row, Bytes::from(vec![b'x'; 300]))
            .add(&counter(), 1)
            .append(Log::Audit, Bytes::from_static(b"written"));
        if store.commit(&batch).await? == Outcome::Conflict {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        // The reader is gone only when the test is over.
        if writeln!(out, "{}", row.path())
            .and_then(|()| out.flush())
            .is_err()
        {
            return Ok(());
        }
        drop(out);
        number += 1;
    }
}

fn root() -> Key {
    Partition::SYSTEM.key("ledger")
}

fn counter() -> Key {
    Partition::SYSTEM.key("count")
}
