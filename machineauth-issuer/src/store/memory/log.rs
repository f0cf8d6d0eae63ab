//! One log of a partition.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::store::{LogRead, Position, StoreError, Version};

/// A log: the position before its oldest entry, and the entries.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) tail: Position,
    entries: VecDeque<(Version, Bytes)>,
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

    pub(super) fn append(&mut self, version: Version, entry: Bytes) {
        self.entries.push_back((version, entry));
    }

    pub(super) fn head(&self) -> Position {
        let newest = self.entries.len().checked_sub(1);
        newest
            .and_then(|index| self.position(index))
            .unwrap_or(self.tail)
    }

    pub(super) fn read(&self, after: &Position, limit: usize) -> LogRead {
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

    /// Takes an entry of a copy, which may be there already.
    pub(super) fn load(&mut self, position: Position, entry: Bytes) -> Result<(), StoreError> {
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

    pub(super) fn read_back(&self, through: u64, limit: usize) -> Vec<(Position, Bytes)> {
        let end = self.up_to(through);
        let entries = (end.saturating_sub(limit)..end).rev().filter_map(|index| {
            let position = self.position(index)?;
            Some((position, self.entries.get(index)?.1.clone()))
        });
        entries.collect()
    }

    pub(super) fn trim(&mut self, through: u64) -> usize {
        let surplus = self.up_to(through);
        if let Some(tail) = surplus.checked_sub(1).and_then(|last| self.position(last)) {
            self.entries.drain(..surplus);
            self.tail = tail;
        }
        surplus
    }
}
