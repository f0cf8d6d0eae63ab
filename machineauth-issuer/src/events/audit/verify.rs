//! Verifying the trail: whether every entry is as it was sealed, and none is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use machineauth_core::crypto::VerifyingKey;
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor::partitions;
use super::seal::{Seal, entry_digest, mark, seal_key, seals, segment_digest};
use super::segment::Segment;
use crate::domain::sealing::{SealingError, SealingKey};
use crate::domain::vault::Vault;
use crate::store::{Entry, Key, Log, Partition, Position, Store, StoreError};

/// Seals read at once.
const PAGE: usize = 100;
/// Partitions verified at the same time.
const CONCURRENT: usize = 8;

/// What verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Report {
    /// Whether everything is as it was sealed.
    pub intact: bool,
    /// How many entries were verified.
    pub entries: u64,
    /// How many seals were verified.
    pub seals: u64,
    /// How many of the newest entries are not sealed yet.
    pub unsealed: u64,
    /// The first thing wrong in each log.
    pub findings: Vec<Finding>,
}

/// The first thing wrong in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// Whose log it is: `00` to `31`, or `sys`.
    pub partition: String,
    /// The number of the entry, or of the first entry of the seal.
    pub sequence: u64,
    /// What is wrong.
    pub what: Wrong,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// The entry is not the one that was sealed.
    EntryChanged,
    /// The entry is gone, and later ones are there.
    EntryMissing,
    /// The entry stands where another one was sealed.
    EntrySwapped,
    /// The entry is gone, and everything after it.
    TailCut,
    /// The seal was not made by the server.
    SealForged,
    /// A seal is gone before this one.
    SealMissing,
    /// The seal is not the one that was exported.
    SealReplaced,
    /// The exported seal was not made with a key of this store.
    SealForeign,
    /// What is noted of the agents in a segment is not so: lists of what concerns one agent may lack entries.
    IndexChanged,
}

impl Wrong {
    /// In a sentence for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EntryChanged => "the entry is not the one that was sealed",
            Self::EntryMissing => "the entry is gone, and later ones are there",
            Self::EntrySwapped => "the entry stands where another one was sealed",
            Self::TailCut => "the entry is gone, and everything after it",
            Self::SealForged => "the seal was not made by this server",
            Self::SealMissing => "a seal is gone before this one",
            Self::SealReplaced => "the seal is not the one that was exported",
            Self::SealForeign => "the exported seal was not made with a key of this store",
            Self::IndexChanged => "what is noted of the agents in this segment is not so",
        }
    }
}

/// Why the trail could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The keys cannot be read.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The program has a fault.
    #[error("the verification panicked; report this with what was logged before")]
    Panicked,
}

impl VerifyError {
    /// Whether trying again will help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Store(error) | Self::Sealing(SealingError::Store(error)) => {
                error.is_unavailable()
            }
            Self::Sealing(_) | Self::Panicked => false,
        }
    }
}

/// How far a verification is. Others may look while it goes on.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// How many entries it has verified.
    pub fn entries(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, entries: u64) {
        self.0.fetch_add(entries, Ordering::Relaxed);
    }
}

/// Verifies the trail in `store`, and that it goes on from the seals that were `exported`.
///
/// # Errors
/// When the store or the keys cannot be read.
pub async fn verify(
    store: &dyn Store,
    vault: &Vault,
    exported: &[Seal],
    progress: &Progress,
) -> Result<Report, VerifyError> {
    let keys = SealingKey::all_public(store, vault).await?;
    let verifications = partitions().map(|partition| {
        let check = Check::of(store, partition, &keys, progress);
        check.run(exported)
    });
    let reports = stream::iter(verifications).buffered(CONCURRENT);
    let reports: Vec<_> = reports.try_collect().await?;
    let mut all = Report::default();
    for report in reports {
        all.entries += report.entries;
        all.seals += report.seals;
        all.unsealed += report.unsealed;
        all.findings.extend(report.findings);
    }
    all.intact = all.findings.is_empty();
    Ok(all)
}

/// The verification of one log.
struct Check<'a> {
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
    fn of(
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

    async fn run(mut self, exported: &[Seal]) -> Result<Report, StoreError> {
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
        let count = usize::try_from(seal.count).unwrap_or(usize::MAX);
        let mut entries = self
            .store
            .log_back(self.partition, Log::Audit, last, count)
            .await?;
        entries.reverse();
        let digests: Vec<_> = entries
            .iter()
            .map(|(position, entry)| entry_digest(position, entry))
            .collect();
        self.report.entries += entries.len() as u64;
        self.progress.add(entries.len() as u64);
        let expected: Vec<u64> = (seal.first..=last).collect();
        let is_whole = entries.len() == expected.len()
            && entries
                .iter()
                .zip(&expected)
                .all(|((position, _), number)| position.sequence() == *number);
        if is_whole && segment_digest(&digests) == seal.digest {
            return Ok(self.is_indexed(seal, note, &entries));
        }
        if self.is_trimmed(last).await? {
            return Ok(true);
        }
        let found: BTreeMap<u64, [u8; 8]> = entries
            .iter()
            .zip(&digests)
            .map(|((position, _), digest)| (position.sequence(), mark(digest)))
            .collect();
        let (sequence, what) = first_wrong(seal, &found);
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

/// The first entry of a segment that is not as it was sealed, and what became of it.
fn first_wrong(seal: &Seal, found: &BTreeMap<u64, [u8; 8]>) -> (u64, Wrong) {
    let expected: BTreeMap<u64, [u8; 8]> = (seal.first..).zip(seal.marks()).collect();
    let differs = |(number, mark): &(&u64, &[u8; 8])| found.get(number) != Some(mark);
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
