//! The store of tests: maps under one lock.

mod log;
mod rows;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use machineauth_core::clock::{Clock, Timestamp};
use tokio::sync::watch;

use self::rows::{Row, Rows};
use super::changes::Changes;
use super::key::{Direction, one_partition, scan_bounds};
use super::piece::{Piece, Pieces, Place};
use super::verdict::Verdict;
use super::{
    Batch, Entry, Key, Log, LogRead, Outcome, Partition, Position, SWEEP_MARGIN, Store, StoreError,
};

/// A store that lives as long as its process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    partitions: Mutex<HashMap<Partition, Rows>>,
    changes: Changes,
    closed: AtomicBool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> MemoryStore {
        MemoryStore {
            clock,
            partitions: Mutex::default(),
            changes: Changes::new(),
            closed: AtomicBool::new(false),
        }
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<Partition, Rows>> {
        // No code below panics between two writes, so a poisoned map is still whole.
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(
        &self,
        partition: Partition,
        work: impl FnOnce(&mut Rows, Timestamp) -> R,
    ) -> Result<R, StoreError> {
        let now = self.now_unless_closed()?;
        Ok(work(self.partitions().entry(partition).or_default(), now))
    }

    fn now_unless_closed(&self) -> Result<Timestamp, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::unavailable("the store was closed"));
        }
        Ok(self.clock.now())
    }

    fn rows(
        &self,
        prefix: &Key,
        start: Option<&Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        let Some((lower, upper)) = scan_bounds(prefix, start, direction) else {
            return Ok(Vec::new());
        };
        let range = (
            Bound::Excluded(lower.as_str()),
            Bound::Excluded(upper.as_str()),
        );
        self.with(prefix.partition(), |rows, now| {
            let rows = rows.rows.range::<str, _>(range);
            let entry = |(path, row): (&Arc<str>, &Row)| {
                row.is_live(now).then(|| {
                    let key = Key::from_stored(prefix.partition(), path);
                    (key, row.entry.clone())
                })
            };
            match direction {
                Direction::Forward => rows.filter_map(entry).take(limit).collect(),
                Direction::Back => rows.rev().filter_map(entry).take(limit).collect(),
            }
        })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.with(key.partition(), |rows, now| {
            let row = rows.rows.get(key.path())?;
            row.is_live(now).then(|| row.entry.clone())
        })
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, StoreError> {
        let Some(partition) = one_partition(keys) else {
            return Ok(Vec::new());
        };
        self.with(partition, |rows, now| {
            let entry = |key: &Key| {
                let row = rows.rows.get(key.path())?;
                row.is_live(now).then(|| row.entry.clone())
            };
            keys.iter().map(entry).collect()
        })
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
        let Some(first) = keys.first() else {
            return Ok(Vec::new());
        };
        self.with(first.partition(), |rows, _| {
            keys.iter()
                .map(|key| rows.counters.get(key.path()).copied().unwrap_or(0))
                .collect()
        })
    }

    async fn commit(&self, batch: &Batch) -> Result<Outcome, StoreError> {
        let verdict = self.with(batch.partition(), |rows, now| {
            let verdict = rows.judge(batch, now);
            if verdict == Verdict::Apply {
                rows.apply(batch);
            }
            verdict
        })?;
        if verdict == Verdict::Apply {
            batch.appended().for_each(|log| self.changes.moved(log));
        }
        Ok(verdict.outcome())
    }

    async fn log(
        &self,
        partition: Partition,
        log: Log,
        after: &Position,
        limit: usize,
    ) -> Result<LogRead, StoreError> {
        self.with(partition, |rows, _| rows.entries(log).read(after, limit))
    }

    async fn log_back(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
        limit: usize,
    ) -> Result<Vec<(Position, Bytes)>, StoreError> {
        self.with(partition, |rows, _| {
            rows.entries(log).read_back(through, limit)
        })
    }

    async fn head(&self, partition: Partition, log: Log) -> Result<Position, StoreError> {
        self.with(partition, |rows, _| rows.entries(log).head())
    }

    async fn tail(&self, partition: Partition, log: Log) -> Result<Position, StoreError> {
        self.with(partition, |rows, _| rows.entries(log).tail)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.any()
    }

    fn changes_in(&self, log: Log) -> watch::Receiver<u64> {
        self.changes.in_log(log)
    }

    async fn sweep(&self, partition: Partition, limit: usize) -> Result<usize, StoreError> {
        self.with(partition, |rows, now| {
            let due = |row: &Row| {
                row.expires_at
                    .is_some_and(|at| at.saturating_add(SWEEP_MARGIN) <= now)
            };
            let dead: Vec<Arc<str>> = rows
                .rows
                .iter()
                .filter(|(_, row)| due(row))
                .map(|(path, _)| Arc::clone(path))
                .take(limit)
                .collect();
            dead.iter().for_each(|path| rows.delete(path));
            dead.len()
        })
    }

    async fn trim(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
    ) -> Result<usize, StoreError> {
        self.with(partition, |rows, _| rows.entries(log).trim(through))
    }

    async fn dump(
        &self,
        partition: Partition,
        from: &Place,
        limit: usize,
    ) -> Result<Pieces, StoreError> {
        self.with(partition, |rows, _| rows.dump(from, limit))
    }

    async fn load(&self, partition: Partition, pieces: &[Piece]) -> Result<(), StoreError> {
        self.with(partition, |rows, _| {
            pieces.iter().try_for_each(|piece| rows.load(piece))
        })?
    }

    async fn erase(&self, partition: Partition) -> Result<(), StoreError> {
        self.with(partition, |rows, _| *rows = Rows::default())
    }

    async fn is_shared(&self) -> Result<bool, StoreError> {
        self.now_unless_closed().map(|_| false)
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.now_unless_closed()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
