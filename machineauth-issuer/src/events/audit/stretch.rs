//! What is found of a log where something was sealed.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::report::Wrong;
use super::seal::{MARK, Seal, entry_digest, mark, segment_digest};
use crate::store::{Log, Partition, Position, Store, StoreError};

/// The entries up to the last one that a seal covers, as many as it covers.
pub(super) struct Stretch {
    entries: Vec<(Position, Bytes)>,
    digests: Vec<[u8; 32]>,
}

impl Stretch {
    pub(super) async fn read(
        store: &dyn Store,
        partition: Partition,
        seal: &Seal,
    ) -> Result<Self, StoreError> {
        let (last, count) = (seal.last_sequence(), seal.count);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut entries = store.log_back(partition, Log::Audit, last, count).await?;
        entries.reverse();
        let digests = entries
            .iter()
            .map(|(position, entry)| entry_digest(position, entry))
            .collect();
        Ok(Self { entries, digests })
    }

    pub(super) fn entries(&self) -> &[(Position, Bytes)] {
        &self.entries
    }

    /// Whether the entries are those that were sealed, each in its place.
    pub(super) fn is_sealed_by(&self, seal: &Seal) -> bool {
        self.sequences().eq(seal.first..=seal.last_sequence())
            && segment_digest(&self.digests) == seal.digest
    }

    /// The first entry that is not as it was sealed, and what became of it.
    pub(super) fn first_wrong(&self, seal: &Seal) -> (u64, Wrong) {
        let found = self.marks();
        let expected: BTreeMap<u64, [u8; MARK]> = (seal.first..).zip(seal.marks()).collect();
        let differs = |(number, mark): &(&u64, &[u8; MARK])| found.get(number) != Some(mark);
        let Some((&number, wanted)) = expected.iter().find(differs) else {
            return (seal.first, Wrong::EntryChanged);
        };
        let Some(there) = found.get(&number) else {
            let is_end = found.keys().all(|other| *other < number);
            let what = if is_end {
                Wrong::TailCut
            } else {
                Wrong::EntryMissing
            };
            return (number, what);
        };
        let is_elsewhere = found
            .iter()
            .any(|(other, mark)| *other > number && mark == wanted);
        let is_the_next = expected.get(&(number + 1)) == Some(there);
        let what = if is_the_next && !is_elsewhere {
            // What comes after it has moved up.
            Wrong::EntryMissing
        } else if is_elsewhere || expected.values().any(|mark| mark == there) {
            Wrong::EntrySwapped
        } else {
            Wrong::EntryChanged
        };
        (number, what)
    }

    /// The marks of the entries, by their numbers.
    fn marks(&self) -> BTreeMap<u64, [u8; MARK]> {
        self.sequences()
            .zip(self.digests.iter().map(mark))
            .collect()
    }

    fn sequences(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|(position, _)| position.sequence())
    }
}
