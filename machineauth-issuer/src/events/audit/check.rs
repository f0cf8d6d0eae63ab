//! Whether one log is as it was sealed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use machineauth_core::crypto::VerifyingKey;

use super::report::{Finding, Report, Wrong};
use super::seal::{Seal, seal_key, seals};
use super::segment::Segment;
use super::stretch::Stretch;
use super::verify::Progress;
use crate::store::{Entry, Key, Log, Partition, Position, Store, StoreError};

/// Seals read at once.
const PAGE: usize = 100;

/// The verification of one log.
pub(super) struct Check<'a> {
    store: &'a dyn Store,
    partition: Partition,
    keys: &'a BTreeMap<String, VerifyingKey>,
    progress: &'a Progress,
    /// The number of the last entry that was trimmed, as far as it was looked.
    tail: u64,
    /// The numbers of the first entries of all seals.
    firsts: BTreeSet<u64>,
    report: Report,
}

impl<'a> Check<'a> {
    pub(super) fn of(
        store: &'a dyn Store,
        partition: Partition,
        keys: &'a BTreeMap<String, VerifyingKey>,
        progress: &'a Progress,
    ) -> Self {
        Self {
            store,
            partition,
            keys,
            progress,
            tail: 0,
            firsts: BTreeSet::new(),
            report: Report::default(),
        }
    }

    pub(super) async fn run(mut self, exported: &[Seal]) -> Result<Report, StoreError> {
        let log = Log::Audit;
        // In this order, an entry that is appended meanwhile is nothing wrong.
        self.tail = self.store.tail(self.partition, log).await?.sequence();
        let sealed = self.chain().await?;
        if self.report.findings.is_empty() {
            self.has_no_other_segments(sealed).await?;
        }
        let head = self.store.head(self.partition, log).await?;
        self.report.unsealed = head.sequence().saturating_sub(sealed.max(self.tail));
        if self.report.findings.is_empty() {
            let name = self.partition.to_string();
            for seal in exported.iter().filter(|seal| seal.partition == name) {
                self.compare(seal).await?;
            }
        }
        // The first one says where it begins; what follows may be its consequence.
        self.report.findings.sort_by_key(|finding| finding.sequence);
        self.report.findings.truncate(1);
        Ok(self.report)
    }

    /// Follows the chain of seals to its end, or to the first thing wrong. Says how far the log is sealed.
    async fn chain(&mut self) -> Result<u64, StoreError> {
        let prefix = seals().key(self.partition);
        let mut after = None;
        let mut before: Option<Seal> = None;
        loop {
            let page = seals()
                .scan(self.store, &prefix, after.as_ref(), PAGE)
                .await?;
            let exhausted = page.len() < PAGE;
            after = page.last().map(|(key, _)| key.clone());
            let notes: Vec<Key> = page
                .iter()
                .map(|(_, seal)| Segment::key(self.partition, seal.value.first))
                .collect();
            let notes = self.store.get_all(&notes).await?;
            for ((_, seal), note) in page.into_iter().zip(notes) {
                let seal = seal.value;
                self.report.seals += 1;
                self.firsts.insert(seal.first);
                let is_right = self.follows(&seal, before.as_ref()).await?
                    && self.covers(&seal, note.as_ref()).await?;
                let sealed = seal.last_sequence();
                before = Some(seal);
                if !is_right {
                    return Ok(sealed);
                }
            }
            if exhausted {
                return Ok(before.map_or(0, |seal| seal.last_sequence()));
            }
        }
    }

    /// Whether the seal is ours, and goes on where the one before it ended.
    async fn follows(&mut self, seal: &Seal, before: Option<&Seal>) -> Result<bool, StoreError> {
        let key = self.keys.get(&seal.kid);
        if !key.is_some_and(|key| seal.is_signed_by(key)) {
            self.find(seal.first, Wrong::SealForged);
            return Ok(false);
        }
        let follows = match before {
            Some(before) => {
                seal.previous == before.chained() && seal.first == before.last_sequence() + 1
            }
            None => seal.previous.is_empty(),
        };
        // What was trimmed went up to the end of a seal, which is kept.
        if follows || self.is_trimmed(seal.last_sequence()).await? {
            return Ok(true);
        }
        self.find(seal.first, Wrong::SealMissing);
        Ok(false)
    }

    /// Whether the log was trimmed to the entry numbered `last` at least, before or meanwhile.
    async fn is_trimmed(&mut self, last: u64) -> Result<bool, StoreError> {
        if last > self.tail {
            let tail = self.store.tail(self.partition, Log::Audit).await?;
            self.tail = tail.sequence();
        }
        Ok(last <= self.tail)
    }

    /// Whether the entries are those that were sealed, and what is noted of them is so.
    async fn covers(&mut self, seal: &Seal, note: Option<&Entry>) -> Result<bool, StoreError> {
        let last = seal.last_sequence();
        if last <= self.tail {
            // Trimmed; and nothing but whole segments are.
            return Ok(true);
        }
        let stretch = Stretch::read(self.store, self.partition, seal).await?;
        let entries = stretch.entries().len() as u64;
        self.report.entries += entries;
        self.progress.add(entries);
        if stretch.is_sealed_by(seal) {
            return Ok(self.is_indexed(seal, note, stretch.entries()));
        }
        if self.is_trimmed(last).await? {
            return Ok(true);
        }
        let (sequence, what) = stretch.first_wrong(seal);
        self.find(sequence, what);
        Ok(false)
    }

    /// Whether what is noted of the agents in a segment hides none of its entries.
    fn is_indexed(
        &mut self,
        seal: &Seal,
        note: Option<&Entry>,
        entries: &[(Position, Bytes)],
    ) -> bool {
        // What cannot be read is not what was noted.
        let is_right = note.is_none_or(|note| Segment::decode(note) == Segment::of(entries));
        if !is_right {
            self.find(seal.first, Wrong::IndexChanged);
        }
        is_right
    }

    /// Looks for notes of stretches up to the entry numbered `sealed` that nobody sealed.
    async fn has_no_other_segments(&mut self, sealed: u64) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let rows = Segment::scan(self.store, self.partition, after.as_ref(), PAGE).await?;
            after = rows.last().map(|(key, _)| key.clone());
            for (_, first) in &rows {
                // What is later was sealed meanwhile. What is in no place of its own is passed over by all.
                if let Some(first) = *first
                    && first <= sealed
                    && !self.firsts.contains(&first)
                {
                    self.find(first, Wrong::IndexChanged);
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Whether a seal that was exported is the one that the store has, unless its entries were trimmed.
    async fn compare(&mut self, exported: &Seal) -> Result<(), StoreError> {
        let key = self.keys.get(&exported.kid);
        if !key.is_some_and(|key| exported.is_signed_by(key)) {
            self.find(exported.first, Wrong::SealForeign);
            return Ok(());
        }
        let stored = seals()
            .get(self.store, &seal_key(self.partition, exported.first))
            .await?;
        match stored {
            Some(stored) if stored.value == *exported => {}
            Some(_) => self.find(exported.first, Wrong::SealReplaced),
            None if self.is_trimmed(exported.last_sequence()).await? => {}
            None => self.find(exported.first, Wrong::TailCut),
        }
        Ok(())
    }

    fn find(&mut self, sequence: u64, what: Wrong) {
        self.report.findings.push(Finding {
            partition: self.partition.to_string(),
            sequence,
            what,
        });
    }
}
