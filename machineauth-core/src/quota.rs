//! Who did how much lately, in constant memory.
//!
//! A limit is the generic cell rate algorithm: each subject has a time from which on it owes nothing, every act moves that
//! time on by one interval, and an act is refused that would move it further ahead of now than a burst allows. Subjects
//! share a fixed number of cells by a hash that nobody outside can aim at, so that invented names cost no memory; two
//! subjects that meet in a cell by chance share a limit.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::clock::Timestamp;
use crate::refusal::{Protocol, Refusal};

/// How much of its quotas a subject has left (draft-ietf-httpapi-ratelimit-headers-10 §4).
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What the quotas are (draft-ietf-httpapi-ratelimit-headers-10 §3).
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

const TOO_MANY: Refusal<'_> = Refusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    code: "too_many_requests",
    message: "too many requests; Retry-After says when to try again",
};

/// How many cells a limit has: half a megabyte.
const CELLS: usize = 1 << 16;
/// How many seconds of its rate a subject may use at once.
const BURST_SECONDS: u32 = 2;

/// How much each subject may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many acts at once.
    pub burst: u32,
    /// After which time one act more is free.
    pub interval: Duration,
}

impl Quota {
    /// So many acts in each stretch of this length.
    pub fn new(acts: u32, per: Duration) -> Self {
        Self {
            burst: acts,
            interval: per / acts.max(1),
        }
    }

    /// Adds to the lists in the headers `RateLimit-Policy` and `RateLimit` what is allowed to whom, and what remains of it.
    pub fn announce(&self, headers: &mut HeaderMap, name: &'static str, remaining: Remaining) {
        let window = whole_seconds(self.interval.saturating_mul(self.burst));
        let policy = format!("\"{name}\";q={};w={window}", self.burst);
        let Remaining { acts, more_after } = remaining;
        let state = format!("\"{name}\";r={acts};t={}", whole_seconds(more_after));
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
            let value = HeaderValue::try_from(value).expect("digits and names fit a header");
            headers.append(name, value);
        }
    }
}

/// What a subject may do at once, of its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// How many acts.
    pub acts: u32,
    /// After which time it is one act more.
    pub more_after: Duration,
}

impl From<Exhausted> for Remaining {
    fn from(Exhausted { retry_after }: Exhausted) -> Self {
        Self {
            acts: 0,
            more_after: retry_after,
        }
    }
}

/// A limit on what each of many subjects does.
#[derive(Debug)]
pub struct Buckets {
    quota: Quota,
    /// For each cell, the time from which on it owes nothing, in Unix microseconds.
    cells: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// A subject that has used up what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// After which time it may act again.
    pub retry_after: Duration,
}

impl Exhausted {
    /// The value of the `Retry-After` header: whole seconds, at least one.
    pub fn retry_after_header(&self) -> HeaderValue {
        HeaderValue::from(whole_seconds(self.retry_after).max(1))
    }

    /// The whole answer to a request too many, in the protocol of the request: 429 (RFC 6585 §4), or to gRPC the status
    /// `RESOURCE_EXHAUSTED`.
    pub fn to_response(&self, protocol: &Protocol) -> Response<Bytes> {
        let mut response = TOO_MANY.to_response(protocol);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, self.retry_after_header());
        response
    }
}

impl Buckets {
    /// A limit with this quota for each subject.
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// A limit of so many acts per second, twice as many at once. `None` for 0, which is no limit.
    pub fn per_second(acts: u32) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(acts)?;
        Some(Self::new(Quota {
            burst: acts.saturating_mul(BURST_SECONDS),
            interval,
        }))
    }

    /// How much each subject may do.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Whether the subject may act at `now`. Says what would remain to it.
    ///
    /// # Errors
    /// When it has used up what it may.
    pub fn check(&self, subject: impl Hash, now: Timestamp) -> Result<Remaining, Exhausted> {
        self.judge(self.cell(subject).load(Ordering::Relaxed), micros(now))
            .map(|(_, remaining)| remaining)
    }

    /// Counts an act of the subject at `now`. Says what remains to it.
    ///
    /// # Errors
    /// When it has used up what it may; the act then does not count.
    pub fn take(&self, subject: impl Hash, now: Timestamp) -> Result<Remaining, Exhausted> {
        let (cell, now) = (self.cell(subject), micros(now));
        let mut known = cell.load(Ordering::Relaxed);
        loop {
            let (next, remaining) = self.judge(known, now)?;
            match cell.compare_exchange_weak(known, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(remaining),
                Err(other) => known = other,
            }
        }
    }

    /// Forgets an act of the subject that was counted. Not for acts of long ago: when it would be forgotten by itself already,
    /// a later one is forgotten in its place.
    pub fn give_back(&self, subject: impl Hash) {
        let interval = length(self.quota.interval).max(1);
        let less = |owes_until: u64| Some(owes_until.saturating_sub(interval));
        let _ = self
            .cell(subject)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// What a cell holds after one act more, and what remains then.
    fn judge(&self, owes_until: u64, now: u64) -> Result<(u64, Remaining), Exhausted> {
        let interval = length(self.quota.interval).max(1);
        let next = owes_until.max(now).saturating_add(interval);
        let furthest = now.saturating_add(interval.saturating_mul(self.quota.burst.into()));
        match furthest.checked_sub(next) {
            None => Err(Exhausted {
                retry_after: Duration::from_micros(next - furthest),
            }),
            Some(room) => {
                let remaining = Remaining {
                    acts: u32::try_from(room / interval).unwrap_or(u32::MAX),
                    more_after: Duration::from_micros(interval - room % interval),
                };
                Ok((next, remaining))
            }
        }
    }

    fn cell(&self, subject: impl Hash) -> &AtomicU64 {
        let hash = self.hasher.hash_one(subject);
        let index = usize::try_from(hash % CELLS as u64).expect("there are fewer cells than that");
        &self.cells[index]
    }
}

fn micros(at: Timestamp) -> u64 {
    at.as_millis().saturating_mul(1_000)
}

/// As the headers have it, which know no fractions.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn length(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUOTA: Quota = Quota {
        burst: 5,
        interval: Duration::from_secs(10),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_burst_is_free_and_then_one_act_after_each_interval() {
        let buckets = Buckets::new(QUOTA);
        let remaining = |acts, seconds| {
            Ok(Remaining {
                acts,
                more_after: Duration::from_secs(seconds),
            })
        };
        for left in (0..5).rev() {
            assert_eq!(buckets.take("a", at(0)), remaining(left, 10));
        }
        let retry_after = Duration::from_secs(10);
        assert_eq!(buckets.take("a", at(0)), Err(Exhausted { retry_after }));
        assert_eq!(buckets.check("a", at(0)), Err(Exhausted { retry_after }));
        assert_eq!(buckets.take("a", at(10)), remaining(0, 10));
        assert!(buckets.take("a", at(10)).is_err());
        assert_eq!(buckets.take("a", at(24)), remaining(0, 6));
        assert_eq!(
            buckets.take("b", at(0)),
            remaining(4, 10),
            "another subject has its own"
        );
    }

    #[test]
    fn each_quota_adds_to_the_lists_of_the_headers() {
        let mut headers = HeaderMap::new();
        let remaining = Remaining {
            acts: 3,
            more_after: Duration::from_millis(1_001),
        };
        QUOTA.announce(&mut headers, "address", remaining);
        let exhausted = Exhausted {
            retry_after: Duration::from_secs(7),
        };
        QUOTA.announce(&mut headers, "agent", exhausted.into());
        let lines = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        let policies = ["\"address\";q=5;w=50", "\"agent\";q=5;w=50"];
        assert_eq!(lines(RATE_LIMIT_POLICY), policies);
        let states = ["\"address\";r=3;t=2", "\"agent\";r=0;t=7"];
        assert_eq!(lines(RATE_LIMIT), states);
    }

    #[test]
    fn an_act_that_is_given_back_was_never_counted() {
        let buckets = Buckets::new(QUOTA);
        let before = buckets.check("a", at(0));
        for _ in 0..20 {
            assert!(buckets.take("a", at(0)).is_ok());
            buckets.give_back("a");
        }
        assert_eq!(buckets.check("a", at(0)), before);
    }

    proptest! {
        /// However the acts come, in any stretch of time no more are allowed than the quota says.
        #[test]
        fn no_stretch_of_time_has_more_than_its_quota(pauses in prop::collection::vec(0_u64..30, 1..100)) {
            let buckets = Buckets::new(QUOTA);
            let mut now = 0;
            let mut allowed = Vec::new();
            for pause in pauses {
                now += pause;
                if buckets.take("a", at(now)).is_ok() {
                    allowed.push(now);
                }
            }
            for (first, start) in allowed.iter().enumerate() {
                for (last, end) in allowed.iter().enumerate().skip(first) {
                    let most = 5 + (end - start) / 10;
                    prop_assert!((last - first + 1) as u64 <= most, "{allowed:?}");
                }
            }
        }
    }

    /// I6
    #[test]
    fn a_million_invented_names_cost_no_memory_and_lock_out_few() {
        let buckets = Buckets::new(QUOTA);
        for name in 0..1_000_000_u32 {
            let _ = buckets.take(("invented", name), at(0));
        }
        assert_eq!(buckets.cells.len(), CELLS);
    }
}
