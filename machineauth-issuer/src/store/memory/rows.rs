//! What one partition holds.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use machineauth_core::clock::Timestamp;

use super::log::Entries;
use crate::store::batch::Write;
use crate::store::piece::{Piece, Pieces, Place, Section};
use crate::store::verdict::Verdict;
use crate::store::{Batch, Entry, Log, StoreError};

/// All that one partition holds.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: BTreeMap<Arc<str>, Row>,
    pub(super) counters: BTreeMap<Arc<str>, i64>,
    audit: Entries,
    revocations: Entries,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) expires_at: Option<Timestamp>,
}

impl Rows {
    pub(super) fn judge(&self, batch: &Batch, now: Timestamp) -> Verdict {
        let Ok(verdict) = Verdict::of(batch, |check| {
            let row = self.rows.get(check.key().path());
            Ok::<_, Infallible>(row.map(|row| (row.entry.version, row.is_live(now))))
        });
        verdict
    }

    pub(super) fn apply(&mut self, batch: &Batch) {
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
                    self.entries(*log).append(version, entry.clone());
                }
            }
        }
    }

    pub(super) fn delete(&mut self, path: &str) {
        self.rows.remove(path);
        self.counters.remove(path);
    }

    pub(super) fn dump(&self, from: &Place, limit: usize) -> Pieces {
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

    pub(super) fn load(&mut self, piece: &Piece) -> Result<(), StoreError> {
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

    pub(super) fn entries(&mut self, log: Log) -> &mut Entries {
        match log {
            Log::Audit => &mut self.audit,
            Log::Revocations => &mut self.revocations,
        }
    }
}

impl Row {
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}
