//! Time, injected: nothing in machineauth asks the operating system for the time except [`SystemClock`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A point in time, in Unix milliseconds. All arithmetic saturates, so no clock and no token can make it overflow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest representable time; comparisons against it behave like "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The time that lies `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The time that lies `secs` seconds after the Unix epoch, as RFC 7519 §2 `NumericDate` counts.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Unix milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole Unix seconds, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time moved later by `duration`.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }

    /// This time moved earlier by `duration`, not before the Unix epoch.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The wall clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the wall clock"
        )]
        let now = SystemTime::now();
        // A machine whose clock stands before 1970 sees every token as not yet valid, which is the safe side.
        Timestamp::default().saturating_add(
            now.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }
}

/// A clock that stands still until it is told otherwise. Clones share the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.as_millis())))
    }

    /// Moves the clock forward by `duration`.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(whole_millis(duration), Ordering::SeqCst);
    }

    /// Puts the clock at `now`, which may lie in its past: wall clocks step too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V21
    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(
            Timestamp::from_secs(1).saturating_sub(Duration::MAX),
            Timestamp::default()
        );
        assert_eq!(
            Timestamp::from_secs(1).duration_since(Timestamp::MAX),
            Duration::ZERO
        );
    }

    #[test]
    fn clones_of_a_manual_clock_share_its_time() {
        let clock = ManualClock::new(Timestamp::from_secs(10));
        let clone = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clone.now().as_millis(), 11_500);
        assert_eq!(clone.now().as_secs(), 11);
    }

    #[test]
    fn a_timestamp_is_an_integer_of_milliseconds_on_the_wire() {
        let text = serde_json::to_string(&Timestamp::from_secs(3)).unwrap();
        assert_eq!(text, "3000");
        assert_eq!(
            serde_json::from_str::<Timestamp>(&text).unwrap(),
            Timestamp::from_secs(3)
        );
    }
}
