//! Which proofs have been used, in constant memory.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// How many proofs share a bucket. The more, the fuller the guard can be before one overflows: with 32, about two thirds.
const WAYS: usize = 32;

/// Remembers proofs until they are too old to be used again. What does not fit is refused, never forgotten.
///
/// Of each proof only a hash under a random key is kept: nobody outside can aim at a bucket, or make two proofs look the
/// same.
#[derive(Debug)]
pub(super) struct Replays {
    buckets: Box<[Mutex<Bucket>]>,
    hasher: RandomState,
    refused_when_full: AtomicU64,
}

type Bucket = [Slot; WAYS];

/// Free when it is too old.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u64,
    /// Unix milliseconds.
    until: u64,
}

/// Whether a proof was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Never,
    Before,
    /// There is no room to remember it.
    Unknown,
}

impl Replays {
    pub(super) fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(WAYS).max(1);
        Self {
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            refused_when_full: AtomicU64::new(0),
        }
    }

    /// Notes that the proof `key` was used, until it is too old at `until`.
    pub(super) fn insert(&self, key: &[u8; 32], until: Timestamp, now: Timestamp) -> Seen {
        self.with(key, now, |free, hash| {
            *free = Slot {
                hash,
                until: until.as_millis(),
            };
        })
    }

    /// Whether the proof `key` was used.
    pub(super) fn look(&self, key: &[u8; 32], now: Timestamp) -> Seen {
        self.with(key, now, |_, _| {})
    }

    /// Does something with the place that the proof `key` has, if it was never used.
    fn with(&self, key: &[u8; 32], now: Timestamp, place: impl FnOnce(&mut Slot, u64)) -> Seen {
        let hash = self.hasher.hash_one(key);
        let index = usize::try_from(hash % self.buckets.len() as u64).unwrap_or_default();
        let bucket = self.buckets[index].lock();
        let mut bucket = bucket.unwrap_or_else(PoisonError::into_inner);
        let now = now.as_millis();
        let mut free = None;
        for slot in bucket.iter_mut() {
            if slot.until <= now {
                free = Some(slot);
            } else if slot.hash == hash {
                return Seen::Before;
            }
        }
        let Some(free) = free else {
            self.refused_when_full.fetch_add(1, Ordering::Relaxed);
            return Seen::Unknown;
        };
        place(free, hash);
        Seen::Never
    }

    pub(super) fn refused_when_full(&self) -> u64 {
        self.refused_when_full.load(Ordering::Relaxed)
    }
}
