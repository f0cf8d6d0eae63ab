//! The store of one process: one file, safe against crashes.

mod file;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use machineauth_core::clock::{Clock, Timestamp};
use redb::ReadableDatabase as _;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use self::file::DatabaseFile;
use self::tables::{COUNTERS, ENTRIES, ROWS, TAILS, corrupted};
use self::writer::Writer;
use super::changes::Changes;
use super::key::{Direction, one_partition, scan_bounds};
use super::piece::{Piece, Pieces, Place};
use super::row::{StoredRow, live_entries, live_entry};
use super::{Batch, Entry, Key, Log, LogRead, Outcome, Partition, Position, Store, StoreError};

/// A store in one file, mode 0600, that one process has open.
///
/// A commit is answered when it is on disk. All commits that wait share one disk sync, so a busy store is no slower
/// than an idle one. Reads see what is on disk and never wait for the writer.
#[derive(Debug)]
pub struct EmbeddedStore {
    // Before the file, so that it is dropped first: the thread finishes, and then the file is closed.
    writer: Writer,
    file: Arc<DatabaseFile>,
    clock: Arc<dyn Clock>,
    changes: Arc<Changes>,
}

impl EmbeddedStore {
    /// Opens the file at `path`, creating it when there is none. After a crash this repairs it, which reads all of
    /// it once.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when another process has it open, [`StoreError::File`] when it cannot be opened or is no
    /// store, [`StoreError::Incompatible`] when it is a store that is not for this program.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<EmbeddedStore, StoreError> {
        let path = path.to_owned();
        spawn_blocking(move || Self::over(DatabaseFile::open(&path)?, clock))
            .await
            .map_err(StoreError::unavailable)?
    }

    fn over(file: DatabaseFile, clock: Arc<dyn Clock>) -> Result<EmbeddedStore, StoreError> {
        let file = Arc::new(file);
        let changes = Arc::new(Changes::new());
        let writer = Writer::start(Arc::clone(&file), Arc::clone(&clock), Arc::clone(&changes))
            .map_err(StoreError::unavailable)?;
        Ok(EmbeddedStore {
            writer,
            file,
            clock,
            changes,
        })
    }
}

impl EmbeddedStore {
    fn rows(
        &self,
        prefix: &Key,
        start: Option<&Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        let partition = prefix.partition();
        let Some((lower, upper)) = scan_bounds(prefix, start, direction) else {
            return Ok(Vec::new());
        };
        let range = (
            Bound::Excluded((partition.index(), lower.as_str())),
            Bound::Excluded((partition.index(), upper.as_str())),
        );
        let now = self.clock.now();
        self.file.with(|database| {
            let table = database.begin_read()?.open_table(ROWS)?;
            let mut rows = table.range::<(u8, &str)>(range)?;
            let mut found = Vec::new();
            while found.len() < limit {
                let row = match direction {
                    Direction::Forward => rows.next(),
                    Direction::Back => rows.next_back(),
                };
                let Some(row) = row else { break };
                let (key, row) = row?;
                let row = row.value();
                let stored = StoredRow::decode(row).map_err(|_| corrupted("a row"))?;
                if stored.is_live(now) {
                    let entry = Entry {
                        value: Bytes::copy_from_slice(stored.value),
                        version: stored.version,
                    };
                    found.push((Key::from_stored(partition, key.value().1), entry));
                }
            }
            Ok(found)
        })
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let row = self.file.with(|database| {
            let rows = database.begin_read()?.open_table(ROWS)?;
            let row = rows.get((key.partition().index(), key.path()))?;
            Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
        })?;
        row.map_or(Ok(None), |row| live_entry(&row, self.clock.now()))
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, StoreError> {
        if one_partition(keys).is_none() {
            return Ok(Vec::new());
        }
        let found = self.file.with(|database| {
            let rows = database.begin_read()?.open_table(ROWS)?;
            let mut found = Vec::with_capacity(keys.len());
            for key in keys {
                let row = rows.get((key.partition().index(), key.path()))?;
                found.push(row.map(|row| Bytes::copy_from_slice(row.value())));
            }
            Ok(found)
        })?;
        live_entries(found, self.clock.now())
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.rows(prefix, after, Direction::Forward, limit)
    }

    async fn scan_back(
        &self,
        prefix: &Key,
        before: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.rows(prefix, before, Direction::Back, limit)
    }

    async fn counts(&self, keys: &[Key]) -> Result<Vec<i64>, StoreError> {
        self.file.with(|database| {
            let counters = database.begin_read()?.open_table(COUNTERS)?;
            keys.iter()
                .map(|key| {
                    let count = counters.get((key.partition().index(), key.path()))?;
                    Ok(count.map_or(0, |count| count.value()))
                })
                .collect()
        })
    }

    async fn commit(&self, batch: &Batch) -> Result<Outcome, StoreError> {
        self.writer.commit(batch).await
    }

    async fn log(
        &self,
        partition: Partition,
        log: Log,
        after: &Position,
        limit: usize,
    ) -> Result<LogRead, StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            let entries = transaction.open_table(ENTRIES)?;
            let tails = transaction.open_table(TAILS)?;
            tables::read_log(&entries, &tails, (partition.index(), log), after, limit)
        })
    }

    async fn log_back(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
        limit: usize,
    ) -> Result<Vec<(Position, Bytes)>, StoreError> {
        self.file.with(|database| {
            let entries = database.begin_read()?.open_table(ENTRIES)?;
            tables::read_log_back(&entries, (partition.index(), log), through, limit)
        })
    }

    async fn head(&self, partition: Partition, log: Log) -> Result<Position, StoreError> {
        self.file.with(|database| {
            let transaction = database.begin_read()?;
            let entries = transaction.open_table(ENTRIES)?;
            let tails = transaction.open_table(TAILS)?;
            tables::head(&entries, &tails, partition.index(), log)
        })
    }

    async fn tail(&self, partition: Partition, log: Log) -> Result<Position, StoreError> {
        self.file.with(|database| {
            let tails = database.begin_read()?.open_table(TAILS)?;
            tables::tail(&tails, partition.index(), log)
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.any()
    }

    fn changes_in(&self, log: Log) -> watch::Receiver<u64> {
        self.changes.in_log(log)
    }

    async fn sweep(&self, partition: Partition, limit: usize) -> Result<usize, StoreError> {
        self.writer.sweep(partition, limit).await
    }

    async fn trim(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
    ) -> Result<usize, StoreError> {
        self.writer.trim(partition, log, through).await
    }

    async fn dump(
        &self,
        partition: Partition,
        from: &Place,
        limit: usize,
    ) -> Result<Pieces, StoreError> {
        self.file
            .with(|database| tables::dump(&database.begin_read()?, partition, from, limit))
    }

    async fn load(&self, partition: Partition, pieces: &[Piece]) -> Result<(), StoreError> {
        self.writer.load(partition, pieces).await
    }

    async fn erase(&self, partition: Partition) -> Result<(), StoreError> {
        self.writer.erase(partition).await
    }

    /// Never: one process has the file open.
    async fn is_shared(&self) -> Result<bool, StoreError> {
        self.file.with(|_| Ok(false))
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.file.with(|_| Ok(self.clock.now()))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.writer.close().await
    }
}
