//! The tables of the file, and what batches do to them inside one transaction.

mod copy;

use std::ops::Bound;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};

pub(super) use self::copy::dump;
use super::file::store_error;
use crate::store::batch::Write;
use crate::store::row::{StoredRow, decode_log_entry, encode_log_entry};
use crate::store::verdict::Verdict;
use crate::store::{
    Batch, FORMAT, Incompatibility, Log, LogRead, PARTITIONS, Partition, Position, SWEEP_MARGIN,
    StoreError, Version,
};

/// Partition and path.
type PathKey = (u8, &'static str);
/// Partition, log, sequence number.
type EntryKey = (u8, u8, u64);

pub(super) const ROWS: TableDefinition<'_, PathKey, &[u8]> = TableDefinition::new("rows");
pub(super) const COUNTERS: TableDefinition<'_, PathKey, i64> = TableDefinition::new("counters");
pub(super) const ENTRIES: TableDefinition<'_, EntryKey, &[u8]> = TableDefinition::new("entries");
/// Where each log begins: number and version of the last entry trimmed.
pub(super) const TAILS: TableDefinition<'_, (u8, u8), (u64, u128)> = TableDefinition::new("tails");
/// Partition, Unix milliseconds, path: the rows that die, by when they do.
const EXPIRY: TableDefinition<'_, (u8, u64, &str), ()> = TableDefinition::new("expiry");
/// What the store says about itself.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// Marks a new file as ours, and refuses one that is not for this program.
pub(super) fn check_format(database: &Database) -> Result<(), StoreError> {
    let about = (|| -> Result<_, redb::Error> {
        let transaction = database.begin_write()?;
        let about = {
            let mut about = transaction.open_table(ABOUT)?;
            if about.get("format")?.is_none() {
                about.insert("format", FORMAT)?;
                about.insert("partitions", u64::from(PARTITIONS))?;
            }
            let read = |name| -> Result<u64, redb::Error> {
                Ok(about.get(name)?.map_or(0, |value| value.value()))
            };
            (read("format")?, read("partitions")?)
        };
        // Opened once, so that every reader finds every table.
        Tables::open(&transaction)?;
        transaction.commit()?;
        Ok(about)
    })();
    let (format, partitions) = about.map_err(store_error)?;
    Incompatibility::check(format, partitions).map_err(|why| StoreError::Incompatible { why })
}

/// All tables, open for writing.
pub(super) struct Tables<'txn> {
    rows: Table<'txn, PathKey, &'static [u8]>,
    expiry: Table<'txn, (u8, u64, &'static str), ()>,
    counters: Table<'txn, PathKey, i64>,
    entries: Table<'txn, EntryKey, &'static [u8]>,
    tails: Table<'txn, (u8, u8), (u64, u128)>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Tables {
            rows: transaction.open_table(ROWS)?,
            expiry: transaction.open_table(EXPIRY)?,
            counters: transaction.open_table(COUNTERS)?,
            entries: transaction.open_table(ENTRIES)?,
            tails: transaction.open_table(TAILS)?,
        })
    }

    /// Judges a batch, and applies it when all its checks hold.
    pub(super) fn commit(&mut self, batch: &Batch, now: Timestamp) -> Result<Verdict, redb::Error> {
        let partition = batch.partition().index();
        let verdict = Verdict::of(batch, |check| -> Result<_, redb::Error> {
            let row = self.rows.get((partition, check.key().path()))?;
            row.map(|row| {
                let row = decode(row.value())?;
                Ok((row.version, row.is_live(now)))
            })
            .transpose()
        })?;
        if verdict == Verdict::Apply {
            for write in batch.writes() {
                self.apply(partition, write, batch.version())?;
            }
        }
        Ok(verdict)
    }

    /// Removes rows that have been dead for longer than the margin.
    pub(super) fn sweep(
        &mut self,
        partition: Partition,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, redb::Error> {
        let partition = partition.index();
        let mut dead = Vec::new();
        for due in self.expiry.range((partition, 0, "")..)?.take(limit) {
            let (key, ()) = {
                let (key, value) = due?;
                (key, value.value())
            };
            let (of, at, path) = key.value();
            if of != partition || Timestamp::from_millis(at).saturating_add(SWEEP_MARGIN) > now {
                break;
            }
            dead.push(path.to_owned());
        }
        for path in &dead {
            self.delete(partition, path)?;
        }
        Ok(dead.len())
    }

    /// Removes the oldest entries of a log, up to and with the one numbered `through`.
    pub(super) fn trim(
        &mut self,
        partition: Partition,
        log: Log,
        through: u64,
    ) -> Result<usize, redb::Error> {
        let partition = partition.index();
        let tail = tail(&self.tails, partition, log)?;
        let head = head(&self.entries, &self.tails, partition, log)?;
        let through = through.min(head.sequence());
        let surplus = through.saturating_sub(tail.sequence());
        let log = log_index(log);
        let mut last = None;
        for sequence in tail.sequence() + 1..=tail.sequence() + surplus {
            let removed = self.entries.remove((partition, log, sequence))?;
            let removed = removed.ok_or_else(|| corrupted("a gap in a log"))?;
            last = Some((sequence, stored_version(removed.value())?));
        }
        if let Some((sequence, version)) = last {
            let version = u128::from_be_bytes(version.to_bytes());
            self.tails.insert((partition, log), (sequence, version))?;
        }
        Ok(usize::try_from(surplus).unwrap_or(usize::MAX))
    }

    fn apply(&mut self, partition: u8, write: &Write, version: Version) -> Result<(), redb::Error> {
        match write {
            Write::Put(key, value, expires_at) => {
                self.put(partition, key.path(), version, *expires_at, value)?;
            }
            Write::Delete(key) => self.delete(partition, key.path())?,
            Write::Add(key, amount) => {
                self.count(partition, key.path(), |count| count.saturating_add(*amount))?;
            }
            Write::Max(key, floor) => {
                self.count(partition, key.path(), |count| count.max(*floor))?;
            }
            Write::Append(log, entry) => {
                let head = head(&self.entries, &self.tails, partition, *log)?;
                let entry = encode_log_entry(version, entry);
                let key = (partition, log_index(*log), head.sequence() + 1);
                self.entries.insert(key, &entry[..])?;
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        partition: u8,
        path: &str,
        version: Version,
        expires_at: Option<Timestamp>,
        value: &[u8],
    ) -> Result<(), redb::Error> {
        let row = StoredRow::encode(version, expires_at, value);
        let old = self.rows.insert((partition, path), &row[..])?;
        let old = old.map(|old| dies_at(old.value())).transpose()?.flatten();
        self.forget_expiry(partition, path, old)?;
        if let Some(at) = decode(&row)?.dies_at() {
            self.expiry.insert((partition, at.as_millis(), path), ())?;
        }
        Ok(())
    }

    fn delete(&mut self, partition: u8, path: &str) -> Result<(), redb::Error> {
        let old = self.rows.remove((partition, path))?;
        let old = old.map(|old| dies_at(old.value())).transpose()?.flatten();
        self.forget_expiry(partition, path, old)?;
        self.counters.remove((partition, path))?;
        Ok(())
    }

    fn forget_expiry(
        &mut self,
        partition: u8,
        path: &str,
        at: Option<Timestamp>,
    ) -> Result<(), redb::Error> {
        if let Some(at) = at {
            self.expiry.remove((partition, at.as_millis(), path))?;
        }
        Ok(())
    }

    fn count(
        &mut self,
        partition: u8,
        path: &str,
        change: impl FnOnce(i64) -> i64,
    ) -> Result<(), redb::Error> {
        let count = self.counters.get((partition, path))?;
        let count = count.map_or(0, |count| count.value());
        self.counters.insert((partition, path), change(count))?;
        Ok(())
    }
}

/// The position before a log's oldest entry.
pub(super) fn tail(
    tails: &impl ReadableTable<(u8, u8), (u64, u128)>,
    partition: u8,
    log: Log,
) -> Result<Position, redb::Error> {
    let tail = tails.get((partition, log_index(log)))?;
    Ok(tail.map_or(Position::START, |tail| {
        let (sequence, version) = tail.value();
        Position::new(sequence, Version::from_bytes(version.to_be_bytes()))
    }))
}

/// The position of a log's newest entry.
pub(super) fn head(
    entries: &impl ReadableTable<EntryKey, &'static [u8]>,
    tails: &impl ReadableTable<(u8, u8), (u64, u128)>,
    partition: u8,
    log: Log,
) -> Result<Position, redb::Error> {
    let log_index = log_index(log);
    let all = (partition, log_index, 0)..=(partition, log_index, u64::MAX);
    let newest = entries.range(all)?.next_back().transpose()?;
    match newest {
        Some((key, entry)) => Ok(Position::new(key.value().2, stored_version(entry.value())?)),
        None => tail(tails, partition, log),
    }
}

/// What a log holds after a position.
pub(super) fn read_log(
    entries: &impl ReadableTable<EntryKey, &'static [u8]>,
    tails: &impl ReadableTable<(u8, u8), (u64, u128)>,
    (partition, log): (u8, Log),
    after: &Position,
    limit: usize,
) -> Result<LogRead, redb::Error> {
    let log_index = log_index(log);
    if *after != tail(tails, partition, log)? {
        let own = entries.get((partition, log_index, after.sequence()))?;
        let own = own.map(|own| stored_version(own.value())).transpose()?;
        if own != Some(after.version()) {
            return Ok(LogRead::Lost);
        }
    }
    let rest = (
        Bound::Excluded((partition, log_index, after.sequence())),
        Bound::Included((partition, log_index, u64::MAX)),
    );
    let mut read = Vec::new();
    for entry in entries.range::<(u8, u8, u64)>(rest)?.take(limit) {
        let (key, stored) = entry?;
        let stored = Bytes::copy_from_slice(stored.value());
        let (version, entry) = decode_log_entry(&stored).map_err(|_| corrupted("a log entry"))?;
        read.push((Position::new(key.value().2, version), entry));
    }
    Ok(LogRead::Entries(read))
}

/// What a log holds from the entry numbered `through` downwards.
pub(super) fn read_log_back(
    entries: &impl ReadableTable<EntryKey, &'static [u8]>,
    (partition, log): (u8, Log),
    through: u64,
    limit: usize,
) -> Result<Vec<(Position, Bytes)>, redb::Error> {
    let log = log_index(log);
    let down = (partition, log, 0)..=(partition, log, through);
    let mut read = Vec::new();
    for entry in entries.range(down)?.rev().take(limit) {
        let (key, stored) = entry?;
        let stored = Bytes::copy_from_slice(stored.value());
        let (version, entry) = decode_log_entry(&stored).map_err(|_| corrupted("a log entry"))?;
        read.push((Position::new(key.value().2, version), entry));
    }
    Ok(read)
}

fn log_index(log: Log) -> u8 {
    match log {
        Log::Audit => 0,
        Log::Revocations => 1,
    }
}

fn decode(row: &[u8]) -> Result<StoredRow<'_>, redb::Error> {
    StoredRow::decode(row).map_err(|_| corrupted("a row"))
}

fn dies_at(row: &[u8]) -> Result<Option<Timestamp>, redb::Error> {
    Ok(decode(row)?.dies_at())
}

fn stored_version(entry: &[u8]) -> Result<Version, redb::Error> {
    let version = entry
        .first_chunk()
        .ok_or_else(|| corrupted("a log entry"))?;
    Ok(Version::from_bytes(*version))
}

pub(super) fn corrupted(what: &str) -> redb::Error {
    redb::Error::Corrupted(what.to_owned())
}
