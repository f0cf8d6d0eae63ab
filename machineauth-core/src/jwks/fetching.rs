//! When the source may be asked, and who waits for the answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Timestamp;

/// The first pause before any keys are known; it doubles up to the cool-down. An API that starts a moment before its
/// issuer should not refuse everybody for a whole cool-down.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Each request that waits takes memory, so a flood may not have all of them wait.
pub(super) const MOST_WAITING: usize = 1000;

/// When the source was asked last, and whether the answer is still awaited.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    last_start: Option<Timestamp>,
    attempts: u32,
    landing: Option<watch::Receiver<()>>,
}

impl Fetching {
    pub(super) fn under_way(&self) -> Option<watch::Receiver<()>> {
        let landing = self.landing.as_ref()?;
        landing.has_changed().is_ok().then(|| landing.clone())
    }

    pub(super) fn may_start(&self, now: Timestamp, has_keys: bool, cool_down: Duration) -> bool {
        let Some(last_start) = self.last_start else {
            return true;
        };
        let pause = if has_keys {
            cool_down
        } else {
            let doublings = self.attempts.saturating_sub(1).min(16);
            cool_down.min(FIRST_PAUSE * (1 << doublings))
        };
        // A clock that was put back must not freeze the cache until it has caught up.
        now < last_start || now.duration_since(last_start) >= pause
    }

    pub(super) fn end_cool_down(&mut self) {
        self.last_start = None;
    }

    pub(super) fn started(&mut self, now: Timestamp, landing: watch::Receiver<()>) {
        self.last_start = Some(now);
        self.attempts = self.attempts.saturating_add(1);
        self.landing = Some(landing);
    }
}

/// Where requests wait for keys, in bounded numbers.
#[derive(Debug, Default)]
pub(super) struct WaitingRoom(AtomicUsize);

impl WaitingRoom {
    /// `None` when there is no room.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let place = Place(&self.0);
        (self.0.fetch_add(1, Ordering::AcqRel) < MOST_WAITING).then_some(place)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// A place among those who wait, given back at the end.
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
