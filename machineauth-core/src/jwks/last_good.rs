//! The last good keys, and until when they serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::builder::Limits;
use super::source::{FetchError, KeysAnswer};
use crate::clock::Timestamp;
use crate::crypto;
use crate::keyset::KeySet;

/// A key set together with the number that tells it from the ones before.
#[derive(Debug)]
pub struct Keys {
    set: KeySet,
    generation: u64,
    /// What the set was parsed from: the same document again is no new generation.
    pub(super) document: Bytes,
    pub(super) etag: Option<String>,
}

impl Keys {
    /// The keys.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Moves each time the published document changes.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Keys that are replaced as a whole. What every check asks stands beside them, so that it need not touch them.
#[derive(Debug)]
pub(super) struct LastGood {
    keys: ArcSwapOption<Keys>,
    /// Of `keys`, and stored after them; zero while there are none.
    generation: AtomicU64,
    /// Unix milliseconds; zero while there are no keys.
    usable_until: AtomicU64,
    /// Unix milliseconds; never, while there are no keys: then requests ask by themselves.
    refresh_at: AtomicU64,
    /// Unix milliseconds: when the source was asked for what it answered last.
    fetched_at: AtomicU64,
}

impl LastGood {
    pub(super) fn none() -> Self {
        Self {
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            usable_until: AtomicU64::new(0),
            refresh_at: AtomicU64::new(u64::MAX),
            fetched_at: AtomicU64::new(0),
        }
    }

    /// The keys, however old.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether there are keys, and not too old ones.
    pub(super) fn are_usable(&self, now: Timestamp) -> bool {
        now.as_millis() < self.usable_until.load(Ordering::Acquire)
    }

    /// When the source was asked for them.
    pub(super) fn fetched_at(&self) -> Timestamp {
        Timestamp::from_millis(self.fetched_at.load(Ordering::Acquire))
    }

    /// Whether it is time for a refresh.
    pub(super) fn are_due(&self, now: Timestamp) -> bool {
        now.as_millis() >= self.refresh_at.load(Ordering::Relaxed)
    }

    /// Says when it is time for a refresh.
    pub(super) fn refresh_at(&self, at: Timestamp) {
        self.refresh_at.store(at.as_millis(), Ordering::Relaxed);
    }

    /// Takes the answer to a question of `asked_at`. Returns the keys when they are new.
    pub(super) fn accept(
        &self,
        answer: KeysAnswer,
        asked_at: Timestamp,
        limits: &Limits,
    ) -> Result<Option<Arc<Keys>>, FetchError> {
        let new = match answer.document {
            Some(document) => self.take(document, answer.etag)?,
            // 304, and nothing that could be unchanged.
            None if self.keys.load().is_none() => return Err(FetchError::Status(304)),
            None => None,
        };
        // Counted from before the question: an answer that was long under way is as old as that.
        self.fetched_at
            .store(asked_at.as_millis(), Ordering::Release);
        let usable_until = asked_at.saturating_add(limits.max_age);
        self.usable_until
            .store(usable_until.as_millis(), Ordering::Release);
        let refresh_after = shortened(limits.refresh_after(answer.fresh_for));
        self.refresh_at(asked_at.saturating_add(refresh_after));
        Ok(new)
    }

    /// Parses first and swaps then, so that a bad answer changes nothing.
    fn take(&self, document: Bytes, etag: Option<String>) -> Result<Option<Arc<Keys>>, FetchError> {
        let known = self.keys();
        let same = known.as_ref().filter(|keys| keys.document == document);
        if same.is_some_and(|keys| keys.etag == etag) {
            return Ok(None);
        }
        let is_new = same.is_none();
        let set = KeySet::parse(&document).map_err(|_| FetchError::InvalidKeySet)?;
        if set.is_empty() {
            return Err(FetchError::NoUsableKey);
        }
        let generation = known.map_or(0, |keys| keys.generation) + u64::from(is_new);
        let keys = Arc::new(Keys {
            set,
            generation,
            document,
            etag,
        });
        self.keys.store(Some(Arc::clone(&keys)));
        self.generation.store(generation, Ordering::Release);
        Ok(is_new.then_some(keys))
    }
}

/// By a random part of up to a tenth.
fn shortened(interval: Duration) -> Duration {
    let [random] = crypto::random::<1>();
    interval.mul_f64(1.0 - f64::from(random) / 2550.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_comes_at_most_a_tenth_early_and_never_late() {
        let interval = Duration::from_secs(300);
        for _ in 0..1000 {
            let due = shortened(interval);
            assert!(due <= interval && due >= interval.mul_f64(0.899), "{due:?}");
        }
    }
}
