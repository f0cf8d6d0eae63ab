//! Exact copies of partitions.

use std::ops::Bound;

use redb::ReadTransaction;

use super::{COUNTERS, ROWS, Tables, corrupted, decode, head, log_index, tail};
use crate::store::piece::{Piece, Pieces, Place, Section};
use crate::store::row::encode_log_entry;
use crate::store::{Log, Partition};

/// Pieces of a partition, from a place on.
pub(in crate::store::embedded) fn dump(
    transaction: &ReadTransaction,
    partition: Partition,
    from: &Place,
    limit: usize,
) -> Result<Pieces, redb::Error> {
    let partition = partition.index();
    let after = |path: &Option<Box<str>>| path.clone().unwrap_or_default();
    let mut pieces = Vec::new();
    match &from.0 {
        Section::Rows(path) => {
            let path = after(path);
            let rest = (Bound::Excluded((partition, &*path)), Bound::Unbounded);
            let rows = transaction.open_table(ROWS)?;
            for row in rows.range::<(u8, &str)>(rest)?.take(limit) {
                let (key, row) = row?;
                let (of, path) = key.value();
                if of != partition {
                    break;
                }
                let row = decode(row.value())?;
                pieces.push(Piece::Row {
                    path: path.into(),
                    version: row.version,
                    expires_at: row.dies_at(),
                    value: row.value.to_vec().into(),
                });
            }
        }
        Section::Counters(path) => {
            let path = after(path);
            let rest = (Bound::Excluded((partition, &*path)), Bound::Unbounded);
            let counters = transaction.open_table(COUNTERS)?;
            for counter in counters.range::<(u8, &str)>(rest)?.take(limit) {
                let (key, count) = counter?;
                let (of, path) = key.value();
                if of != partition {
                    break;
                }
                pieces.push(Piece::Counter {
                    path: path.into(),
                    count: count.value(),
                });
            }
        }
    }
    let next = from.after(&pieces, limit);
    Ok((pieces, next))
}

impl Tables<'_> {
    /// Puts pieces back as they were.
    pub(in crate::store::embedded) fn load(
        &mut self,
        partition: Partition,
        pieces: &[Piece],
    ) -> Result<(), redb::Error> {
        let partition = partition.index();
        for piece in pieces {
            match piece {
                Piece::Row {
                    path,
                    version,
                    expires_at,
                    value,
                } => self.put(partition, path, *version, *expires_at, value)?,
                Piece::Counter { path, count } => {
                    self.counters.insert((partition, &**path), count)?;
                }
                Piece::Tail { log, position } => {
                    let version = u128::from_be_bytes(position.version().to_bytes());
                    self.tails
                        .insert((partition, log_index(*log)), (position.sequence(), version))?;
                }
                Piece::Entry {
                    log,
                    position,
                    entry,
                } => {
                    self.expect_next(partition, *log, position.sequence())?;
                    let stored = encode_log_entry(position.version(), entry);
                    let key = (partition, log_index(*log), position.sequence());
                    self.entries.insert(key, &stored[..])?;
                }
            }
        }
        Ok(())
    }

    /// An entry follows the one before it, or was there already.
    fn expect_next(&self, partition: u8, log: Log, sequence: u64) -> Result<(), redb::Error> {
        let head = head(&self.entries, &self.tails, partition, log)?.sequence();
        let tail = tail(&self.tails, partition, log)?.sequence();
        match tail < sequence && sequence <= head.saturating_add(1) {
            true => Ok(()),
            false => Err(corrupted("a gap in a log")),
        }
    }

    /// Removes everything that a partition holds.
    pub(in crate::store::embedded) fn erase(
        &mut self,
        partition: Partition,
    ) -> Result<(), redb::Error> {
        let partition = partition.index();
        let first = (partition, "");
        let end = partition.checked_add(1).map(|next| (next, ""));
        let range = || {
            (
                Bound::Included(first),
                end.map_or(Bound::Unbounded, Bound::Excluded),
            )
        };
        self.rows
            .retain_in::<(u8, &str), _>(range(), |_, _| false)?;
        self.counters
            .retain_in::<(u8, &str), _>(range(), |_, _| false)?;
        let times = (partition, 0, "")..=(partition, u64::MAX, MAX_PATH);
        self.expiry
            .retain_in::<(u8, u64, &str), _>(times, |_, ()| false)?;
        let entries = (partition, 0, 0)..=(partition, u8::MAX, u64::MAX);
        self.entries
            .retain_in::<(u8, u8, u64), _>(entries, |_, _| false)?;
        let tails = (partition, 0)..=(partition, u8::MAX);
        self.tails.retain_in::<(u8, u8), _>(tails, |_, _| false)?;
        Ok(())
    }
}

/// No path sorts behind it: paths are made of ASCII.
const MAX_PATH: &str = "\u{10ffff}";
