//! Guessing: how many wrong secrets an address may present, for one name and in all.
//!
//! A secret counts as wrong from when it is presented until it is found right: however many are presented at the same time,
//! no more are looked at than may fail. Whoever comes beyond that waits for those before to be decided. So that a client
//! with many requests at once need not wait, the secret that was right last is not counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::quota::{Buckets, Exhausted, Quota};
use tokio::sync::Notify;

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
    /// How many secrets count as wrong although nothing is known of them yet, of a name or of an address.
    undecided: Mutex<HashMap<u64, u32>>,
    /// Some of them were decided.
    decided: Notify,
    hasher: RandomState,
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
#[derive(Debug)]
pub struct Attempt<'a>(Option<Counted<'a>>);

#[derive(Debug)]
struct Counted<'a> {
    failures: &'a Failures,
    guess: Guess,
    now: Timestamp,
    standing: Standing,
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
            decided: Notify::new(),
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
            // Hears of whatever is decided from here on.
            let decided = self.decided.notified();
            match self.admit(guess, now)? {
                Some(standing) => {
                    return Ok(Attempt(Some(Counted {
                        failures: self,
                        guess,
                        now,
                        standing,
                    })));
                }
                None => decided.await,
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

    /// `None` while it depends on those that are undecided.
    fn admit(&self, guess: Guess, now: Timestamp) -> Result<Option<Standing>, Exhausted> {
        let Guess { address, name, .. } = guess;
        let mut undecided = self.undecided();
        let is_right = self.right.of(name).load(Ordering::Relaxed) == guess.presented;
        let admitted = match is_right {
            true => self.check(guess, now).map(|()| Standing::Free),
            false => self.take(guess, now).map(|()| Standing::Reserved),
        };
        match admitted {
            Ok(Standing::Reserved) => {
                for subject in [name, address] {
                    *undecided.entry(subject).or_default() += 1;
                }
                Ok(Some(Standing::Reserved))
            }
            Ok(standing) => Ok(Some(standing)),
            Err(_)
                if [name, address]
                    .iter()
                    .any(|subject| undecided.contains_key(subject)) =>
            {
                Ok(None)
            }
            Err(exhausted) => Err(exhausted),
        }
    }

    fn check(&self, guess: Guess, now: Timestamp) -> Result<(), Exhausted> {
        self.by_name.check(guess.name, now)?;
        self.by_address.check(guess.address, now)?;
        Ok(())
    }

    fn take(&self, guess: Guess, now: Timestamp) -> Result<(), Exhausted> {
        self.by_name.take(guess.name, now)?;
        let taken = self.by_address.take(guess.address, now);
        taken
            .map(|_| ())
            .inspect_err(|_| self.by_name.give_back(guess.name))
    }

    fn decide(&self, guess: Guess) {
        let mut undecided = self.undecided();
        for subject in [guess.name, guess.address] {
            if let Entry::Occupied(mut count) = undecided.entry(subject) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        drop(undecided);
        self.decided.notify_waiters();
    }

    fn undecided(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
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
