//! Names of keys that the issuer was just asked for and does not have.

use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::clock::Timestamp;

const SLOTS: usize = 1024;

/// Remembers names for a while, in a fixed amount of memory: a name that falls into the place of another takes it.
///
/// Whoever repeats one invented name then spends the fetch of one cool-down, and not of each.
#[derive(Debug)]
pub(super) struct MissingKeys {
    hasher: RandomState,
    slots: Mutex<Box<[Slot]>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Of the name, seeded at random: nobody can choose two names that are taken for one.
    hash: u64,
    until: Timestamp,
}

impl Default for MissingKeys {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            slots: Mutex::new(vec![Slot::default(); SLOTS].into()),
        }
    }
}

impl MissingKeys {
    pub(super) fn note(&self, kid: &str, now: Timestamp, keep: Duration) {
        let hash = self.hasher.hash_one(kid);
        let until = now.saturating_add(keep);
        self.with_slot(hash, |slot| *slot = Slot { hash, until });
    }

    pub(super) fn has(&self, kid: &str, now: Timestamp) -> bool {
        let hash = self.hasher.hash_one(kid);
        self.with_slot(hash, |slot| slot.hash == hash && now < slot.until)
    }

    fn with_slot<T>(&self, hash: u64, look: impl FnOnce(&mut Slot) -> T) -> T {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(hash % SLOTS as u64).unwrap_or_default();
        look(&mut slots[place])
    }
}
