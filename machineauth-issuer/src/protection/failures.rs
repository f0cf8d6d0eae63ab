//! Guessing: how many wrong secrets an address may present, for one name and in all.
//!
//! A secret counts as wrong from when it is presented until it is found right: however many are presented at the same time,
//! no more are looked at than may fail. Whoever comes beyond that waits for those before to be decided. So that a client
//! with many requests at once need not wait, the secret that was right last is not counted. An assertion is never the one
//! that was right last: of one client, as many are looked at at once as may fail.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::quota::{Buckets, Exhausted, Quota};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::address_block;
use crate::domain::secret::SecretText;

/// After which time one guess more is free, for one name.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// How many times as many wrong secrets an address may present for all names together.
const NAMES_PER_ADDRESS: u32 = 10;
/// Of how many names is remembered what was presented last. Names share a memory by chance; they then forget each other.
const REMEMBERED: usize = 1 << 12;

/// Counts wrong secrets. Other addresses are not affected by what one does, so nobody can lock somebody else out.
#[derive(Debug)]
pub struct Failures {
    by_name: Buckets,
    by_address: Buckets,
    /// The last wrong secret of each name, to know a repetition by.
    wrong: Memory,
    /// The last right secret of each name.
    right: Memory,
    /// Names and addresses with secrets that count as wrong although nothing is known of them yet.
    undecided: Mutex<HashMap<u64, Undecided>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Undecided {
    count: u32,
    /// One of them was decided.
    decided: Arc<Notify>,
}

/// What was presented last, by name.
#[derive(Debug)]
struct Memory(Box<[AtomicU64]>);

impl Memory {
    fn new() -> Self {
        Self((0..REMEMBERED).map(|_| AtomicU64::new(0)).collect())
    }

    fn of(&self, name: u64) -> &AtomicU64 {
        let index = usize::try_from(name % REMEMBERED as u64);
        &self.0[index.expect("there are fewer than that")]
    }
}

/// Who presents what. No more than hashes, under a key of this process.
#[derive(Debug, Clone, Copy)]
struct Guess {
    address: u64,
    name: u64,
    presented: u64,
}

/// One presentation of a secret, which may be right or wrong.
#[must_use = "it counts as a failure until it is decided"]
#[derive(Debug)]
pub struct Attempt<'a>(Option<Counted<'a>>);

#[derive(Debug)]
struct Counted<'a> {
    failures: &'a Failures,
    guess: Guess,
    now: Timestamp,
    standing: Standing,
}

/// What is said to whoever wants to present a secret.
enum Admission {
    Granted(Standing),
    /// It has to wait until one of those before it is decided.
    Depends(OwnedNotified),
}

/// How an attempt is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not at all.
    Free,
    /// As a failure, until it is decided.
    Reserved,
    /// As a failure, for good.
    Failed,
}

impl Failures {
    /// Allows `limit` wrong secrets at once for one name from one address, and one more every 30 seconds.
    pub fn new(limit: u32) -> Self {
        let quota = |burst, interval| Buckets::new(Quota { burst, interval });
        Self {
            by_name: quota(limit, FORGIVEN_AFTER),
            by_address: quota(
                limit.saturating_mul(NAMES_PER_ADDRESS),
                FORGIVEN_AFTER / NAMES_PER_ADDRESS,
            ),
            wrong: Memory::new(),
            right: Memory::new(),
            undecided: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Lets `address` present `secret` for `name`, if it has not failed too often. What name and secret are is not kept.
    ///
    /// # Errors
    /// When it has. The secret is then not looked at, so that being right says nothing either.
    pub async fn attempt(
        &self,
        address: IpAddr,
        name: &str,
        secret: &SecretText,
        now: Timestamp,
    ) -> Result<Attempt<'_>, Exhausted> {
        let guess = self.guess(address_block(address), name, secret);
        loop {
            match self.admit(guess, now)? {
                Admission::Granted(standing) => {
                    return Ok(Attempt(Some(Counted {
                        failures: self,
                        guess,
                        now,
                        standing,
                    })));
                }
                Admission::Depends(decided) => decided.await,
            }
        }
    }

    fn guess(&self, address: IpAddr, name: &str, secret: &SecretText) -> Guess {
        Guess {
            address: self.hasher.hash_one(address),
            name: self.hasher.hash_one((address, name)),
            presented: self.hasher.hash_one((address, name, secret.reveal())),
        }
    }

    fn admit(&self, guess: Guess, now: Timestamp) -> Result<Admission, Exhausted> {
        let mut undecided = self.undecided();
        let is_right = self.right.of(guess.name).load(Ordering::Relaxed) == guess.presented;
        let admitted = match is_right {
            true => self.check(guess, now).map(|()| Standing::Free),
            false => self.take(guess, now).map(|()| Standing::Reserved),
        };
        match admitted {
            Ok(standing) => {
                if standing == Standing::Reserved {
                    for subject in [guess.name, guess.address] {
                        undecided.entry(subject).or_default().count += 1;
                    }
                }
                Ok(Admission::Granted(standing))
            }
            // Nobody can decide in between: that takes the lock.
            Err((subject, exhausted)) => match undecided.get(&subject) {
                Some(some) => Ok(Admission::Depends(
                    Arc::clone(&some.decided).notified_owned(),
                )),
                None => Err(exhausted),
            },
        }
    }

    /// Says who has failed too often: the name, or the address.
    fn check(&self, guess: Guess, now: Timestamp) -> Result<(), (u64, Exhausted)> {
        let Guess { name, address, .. } = guess;
        let by_name = self.by_name.check(name, now);
        by_name.map_err(|exhausted| (name, exhausted))?;
        let by_address = self.by_address.check(address, now);
        by_address.map_err(|exhausted| (address, exhausted))?;
        Ok(())
    }

    /// As [`Failures::check`].
    fn take(&self, guess: Guess, now: Timestamp) -> Result<(), (u64, Exhausted)> {
        let Guess { name, address, .. } = guess;
        let by_name = self.by_name.take(name, now);
        by_name.map_err(|exhausted| (name, exhausted))?;
        self.by_address.take(address, now).map_err(|exhausted| {
            self.by_name.give_back(name);
            (address, exhausted)
        })?;
        Ok(())
    }

    fn decide(&self, guess: Guess) {
        let mut undecided = self.undecided();
        for subject in [guess.name, guess.address] {
            if let Entry::Occupied(mut some) = undecided.entry(subject) {
                some.get().decided.notify_waiters();
                some.get_mut().count -= 1;
                if some.get().count == 0 {
                    some.remove();
                }
            }
        }
    }

    fn undecided(&self) -> MutexGuard<'_, HashMap<u64, Undecided>> {
        self.undecided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// One of as many as anybody likes.
    pub fn uncounted() -> Self {
        Self(None)
    }

    /// The secret was right.
    pub fn succeeded(self) {
        if let Some(counted) = self.0 {
            counted.succeeded();
        }
    }

    /// Counts a wrong secret, unless it is the one that was wrong last: clients that try each way of presenting a secret in
    /// turn guess once, and a repeated guess is no new one.
    pub fn failed(self) {
        if let Some(counted) = self.0 {
            counted.failed();
        }
    }
}

impl Counted<'_> {
    fn succeeded(self) {
        let right = self.failures.right.of(self.guess.name);
        right.store(self.guess.presented, Ordering::Relaxed);
    }

    fn failed(mut self) {
        let Self {
            failures,
            guess,
            now,
            ..
        } = self;
        let Guess {
            name, presented, ..
        } = guess;
        // It was right once, and is no more.
        let _ = failures.right.of(name).compare_exchange(
            presented,
            0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if failures.wrong.of(name).swap(presented, Ordering::Relaxed) == presented {
            return;
        }
        match self.standing {
            Standing::Reserved => self.standing = Standing::Failed,
            Standing::Free | Standing::Failed => {
                // Both are counted, also when one of them is exhausted.
                let _ = failures.by_name.take(name, now);
                let _ = failures.by_address.take(guess.address, now);
            }
        }
    }
}

impl Drop for Counted<'_> {
    /// What was not found wrong is no failure; also when nobody waited to hear.
    fn drop(&mut self) {
        let Self {
            failures,
            guess,
            standing,
            ..
        } = *self;
        if standing == Standing::Reserved {
            failures.by_name.give_back(guess.name);
            failures.by_address.give_back(guess.address);
        }
        if standing != Standing::Free {
            failures.decide(guess);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::task::Poll;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn attempt<'a>(
        failures: &'a Failures,
        name: &str,
        secret: &str,
    ) -> Result<Attempt<'a>, Exhausted> {
        let secret = secret.to_owned().into();
        failures.attempt(HERE, name, &secret, NOW).await
    }

    /// Whether it is decided at once.
    async fn at_once<F: Future>(future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn whoever_comes_beyond_the_limit_waits_for_those_before() {
        let failures = Failures::new(2);
        let first = attempt(&failures, "a", "1").await.unwrap();
        let second = attempt(&failures, "a", "2").await.unwrap();
        let mut third = std::pin::pin!(attempt(&failures, "a", "2"));
        assert!(at_once(&mut third).await.is_none(), "it depends");
        first.failed();
        assert!(at_once(&mut third).await.is_none(), "it still does");
        second.succeeded();
        let third = at_once(&mut third).await.expect("it does no more");
        third.unwrap().succeeded();
        attempt(&failures, "a", "3").await.unwrap().failed();
        assert!(attempt(&failures, "a", "2").await.is_err());
    }

    #[tokio::test]
    async fn an_attempt_that_nobody_waits_for_is_none() {
        let failures = Failures::new(1);
        for _ in 0..3 {
            drop(attempt(&failures, "a", "1").await.unwrap());
        }
        assert!(failures.undecided().is_empty());
    }

    #[tokio::test]
    async fn a_name_that_is_locked_out_does_not_wait_for_others_of_its_address() {
        let failures = Failures::new(1);
        attempt(&failures, "a", "1").await.unwrap().failed();
        let other = attempt(&failures, "b", "1").await.unwrap();
        let refused = at_once(attempt(&failures, "a", "2")).await;
        assert!(refused.expect("at once").is_err());
        other.succeeded();
    }

    #[tokio::test]
    async fn the_secret_that_was_right_last_never_waits_and_counts_when_it_is_wrong() {
        let failures = Failures::new(1);
        attempt(&failures, "a", "1").await.unwrap().succeeded();
        let mut attempts = Vec::new();
        for _ in 0..10 {
            let attempt = at_once(attempt(&failures, "a", "1")).await;
            attempts.push(attempt.expect("it does not wait").unwrap());
        }
        attempts.remove(0).failed();
        assert!(attempt(&failures, "a", "1").await.is_err());
    }
}
