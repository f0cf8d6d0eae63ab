use std::sync::Arc;

use foldhash::quality::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::Verdict;
use super::answer::Judged;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::verifier::Agent;

/// What an entry costs besides the token's text, and for an agent its claims.
const ENTRY_BYTES: u64 = 256;
const CLAIMS_BYTES: u64 = 1024;

/// Answers, by the whole text of the token and bounded in bytes.
///
/// Those of active tokens and the others have rooms of their own, so that invented tokens push out no good one. An entry
/// that no longer serves is replaced when the token is asked about again, or pushed out.
#[derive(Debug)]
pub(super) struct Answers {
    active: Room<Arc<Agent>>,
    others: Room<Error>,
}

impl Answers {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            active: Room::new(max_bytes / 5 * 4, ENTRY_BYTES + CLAIMS_BYTES),
            others: Room::new(max_bytes / 5, ENTRY_BYTES),
        }
    }

    pub(super) fn get(&self, token: &str, now: Timestamp) -> Option<Verdict> {
        if let Some(agent) = self.active.get(token, now) {
            return Some(Ok(agent));
        }
        self.others.get(token, now).map(Err)
    }

    pub(super) fn insert(&self, token: &str, judged: &Judged) {
        match &judged.verdict {
            Ok(agent) => {
                self.active.insert(token, Arc::clone(agent), judged.until);
            }
            Err(error) => {
                self.active.0.remove(token);
                self.others.insert(token, *error, judged.until);
            }
        }
    }
}

#[derive(Debug)]
struct Room<T>(Cache<Box<str>, Entry<T>, Weight, RandomState>);

#[derive(Clone, Debug)]
struct Entry<T> {
    value: T,
    until: Timestamp,
}

impl<T: Clone> Room<T> {
    fn new(max_bytes: u64, entry_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / (entry_bytes + 64)).unwrap_or(usize::MAX);
        let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
        let weight = Weight(entry_bytes);
        Self(Cache::with(entries, max_bytes, weight, hasher, lifecycle))
    }

    fn get(&self, token: &str, now: Timestamp) -> Option<T> {
        let entry = self.0.get(token)?;
        (now < entry.until).then_some(entry.value)
    }

    fn insert(&self, token: &str, value: T, until: Timestamp) {
        self.0.insert(token.into(), Entry { value, until });
    }
}

#[derive(Clone, Debug)]
struct Weight(u64);

impl<T> Weighter<Box<str>, Entry<T>> for Weight {
    fn weight(&self, token: &Box<str>, _: &Entry<T>) -> u64 {
        token.len() as u64 + self.0
    }
}
