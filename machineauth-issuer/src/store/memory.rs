//! The store of tests: maps under one lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use machineauth_core::clock::{Clock, Timestamp};
use tokio::sync::watch;

use super::batch::Write;
use super::changes::Changes;
use super::key::{Direction, one_partition, scan_bounds};
use super::piece::{Piece, Pieces, Place, Section};
use super::verdict::Verdict;
use super::{
    Batch, Entry, Key, Log, LogRead, Outcome, Partition, Position, SWEEP_MARGIN, Store, StoreError,
    Version,
};

/// A store that lives as long as its process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    partitions: Mutex<HashMap<Partition, Rows>>,
    changes: Changes,
    closed: AtomicBool,
}

/// All that one partition holds.
#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Arc<str>, Row>,
    counters: BTreeMap<Arc<str>, i64>,
    audit: Entries,
    revocations: Entries,
}

#[derive(Debug)]
struct Row {
    entry: Entry,
    expires_at: Option<Timestamp>,
}

/// A log: the position before its oldest entry, and the entries.
#[derive(Debug)]
struct Entries {
    tail: Position,
    entries: VecDeque<(Version, Bytes)>,
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
}

impl MemoryStore {
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

impl Rows {
    fn judge(&self, batch: &Batch, now: Timestamp) -> Verdict {
        let Ok(verdict) = Verdict::of(batch, |check| {
            let row = self.rows.get(check.key().path());
            Ok::<_, Infallible>(row.map(|row| (row.entry.version, row.is_live(now))))
        });
        verdict
    }

    fn apply(&mut self, batch: &Batch) {
        let version = batch.version();
        for write in batch.writes() {
            match write {
                Write::Put(key, value, expires_at) => {
                    let entry = Entry {
                        value: value.clone(),
                        version,
                    };
                    let row = Row {
                        entry,
                        expires_at: *expires_at,
                    };
                    self.rows.insert(key.shared_path(), row);
                }
                Write::Delete(key) => self.delete(key.path()),
                Write::Add(key, amount) => {
                    let counter = self.counters.entry(key.shared_path()).or_default();
                    *counter = counter.saturating_add(*amount);
                }
                Write::Max(key, floor) => {
                    let counter = self.counters.entry(key.shared_path()).or_default();
                    *counter = (*counter).max(*floor);
                }
                Write::Append(log, entry) => {
                    self.entries(*log)
                        .entries
                        .push_back((version, entry.clone()));
                }
            }
        }
    }

    fn delete(&mut self, path: &str) {
        self.rows.remove(path);
        self.counters.remove(path);
    }

    fn dump(&self, from: &Place, limit: usize) -> Pieces {
        let rest = |path: &Option<Box<str>>| {
            let after = path.clone().map_or(Bound::Unbounded, Bound::Excluded);
            (after, Bound::<Box<str>>::Unbounded)
        };
        let pieces: Vec<_> = match &from.0 {
            Section::Rows(path) => {
                let (after, end) = rest(path);
                let range = (
                    after.as_ref().map(|path| &**path),
                    end.as_ref().map(|path| &**path),
                );
                let rows = self.rows.range::<str, _>(range).take(limit);
                rows.map(|(path, row)| Piece::Row {
                    path: (&**path).into(),
                    version: row.entry.version,
                    expires_at: row.expires_at,
                    value: row.entry.value.clone(),
                })
                .collect()
            }
            Section::Counters(path) => {
                let (after, end) = rest(path);
                let range = (
                    after.as_ref().map(|path| &**path),
                    end.as_ref().map(|path| &**path),
                );
                let counters = self.counters.range::<str, _>(range).take(limit);
                counters
                    .map(|(path, count)| Piece::Counter {
                        path: (&**path).into(),
                        count: *count,
                    })
                    .collect()
            }
        };
        let next = from.after(&pieces, limit);
        (pieces, next)
    }

    fn load(&mut self, piece: &Piece) -> Result<(), StoreError> {
        match piece.clone() {
            Piece::Row {
                path,
                version,
                expires_at,
                value,
            } => {
                let entry = Entry { value, version };
                let row = Row { entry, expires_at };
                self.rows.insert(path.into(), row);
            }
            Piece::Counter { path, count } => {
                self.counters.insert(path.into(), count);
            }
            Piece::Tail { log, position } => self.entries(log).tail = position,
            Piece::Entry {
                log,
                position,
                entry,
            } => self.entries(log).load(position, entry)?,
        }
        Ok(())
    }

    fn entries(&mut self, log: Log) -> &mut Entries {
        match log {
            Log::Audit => &mut self.audit,
            Log::Revocations => &mut self.revocations,
        }
    }
}

impl Row {
    fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

impl Default for Entries {
    fn default() -> Self {
        Entries {
            tail: Position::START,
            entries: VecDeque::new(),
        }
    }
}

impl Entries {
    /// The position of the entry that stands at `index`.
    fn position(&self, index: usize) -> Option<Position> {
        let (version, _) = self.entries.get(index)?;
        Some(Position::new(
            self.tail.sequence() + 1 + index as u64,
            *version,
        ))
    }

    fn head(&self) -> Position {
        let newest = self.entries.len().checked_sub(1);
        newest
            .and_then(|index| self.position(index))
            .unwrap_or(self.tail)
    }

    fn read(&self, after: &Position, limit: usize) -> LogRead {
        let skip = if *after == self.tail {
            0
        } else {
            let skip = after
                .sequence()
                .checked_sub(self.tail.sequence())
                .and_then(|skip| usize::try_from(skip).ok());
            let Some(skip) = skip.filter(|skip| *skip > 0) else {
                return LogRead::Lost;
            };
            if self.position(skip - 1) != Some(*after) {
                return LogRead::Lost;
            }
            skip
        };
        let end = self.entries.len().min(skip.saturating_add(limit));
        let entries = (skip..end).filter_map(|index| {
            let position = self.position(index)?;
            Some((position, self.entries.get(index)?.1.clone()))
        });
        LogRead::Entries(entries.collect())
    }

    fn load(&mut self, position: Position, entry: Bytes) -> Result<(), StoreError> {
        let next = self.head().sequence() + 1;
        match position.sequence() {
            sequence if sequence > next => Err(StoreError::Corrupt {
                what: "a gap in a log",
            }),
            sequence if sequence < next => Ok(()),
            _ => {
                self.entries.push_back((position.version(), entry));
                Ok(())
            }
        }
    }

    /// How many entries there are up to and with the one numbered `through`.
    fn up_to(&self, through: u64) -> usize {
        let count = through.saturating_sub(self.tail.sequence());
        usize::try_from(count).map_or(self.entries.len(), |count| count.min(self.entries.len()))
    }

    fn read_back(&self, through: u64, limit: usize) -> Vec<(Position, Bytes)> {
        let end = self.up_to(through);
        let entries = (end.saturating_sub(limit)..end).rev().filter_map(|index| {
            let position = self.position(index)?;
            Some((position, self.entries.get(index)?.1.clone()))
        });
        entries.collect()
    }

    fn trim(&mut self, through: u64) -> usize {
        let surplus = self.up_to(through);
        if let Some(tail) = surplus.checked_sub(1).and_then(|last| self.position(last)) {
            self.entries.drain(..surplus);
            self.tail = tail;
        }
        surplus
    }
}
