//! Guessing: how many wrong secrets an address may present, for one name and in all.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::quota::{Buckets, Exhausted, Quota};

use super::address_block;
use crate::domain::secret::SecretText;

/// After which time one guess more is free, for one name.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// How many times as many wrong secrets an address may present for all names together.
const NAMES_PER_ADDRESS: u32 = 10;
/// How many last failures are remembered, to know a repetition by.
const REMEMBERED: usize = 1 << 12;

/// Counts wrong secrets. Other addresses are not affected by what one does, so nobody can lock somebody else out.
#[derive(Debug)]
pub struct Failures {
    by_name: Buckets,
    by_address: Buckets,
    last: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// One presentation of a secret, which may fail.
#[derive(Debug)]
pub struct Attempt<'a> {
    failures: &'a Failures,
    address: IpAddr,
    name: u64,
    presented: u64,
    now: Timestamp,
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
            last: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Lets `address` present `secret` for `name`, if it has not failed too often. What name and secret are is not kept.
    ///
    /// # Errors
    /// When it has. The secret is then not looked at, so that being right says nothing either.
    pub fn attempt(
        &self,
        address: IpAddr,
        name: &str,
        secret: &SecretText,
        now: Timestamp,
    ) -> Result<Attempt<'_>, Exhausted> {
        let address = address_block(address);
        let name = self.hasher.hash_one(name);
        self.by_name.check((address, name), now)?;
        self.by_address.check(address, now)?;
        Ok(Attempt {
            failures: self,
            address,
            name,
            presented: self.hasher.hash_one((address, name, secret.reveal())),
            now,
        })
    }
}

impl Attempt<'_> {
    /// Counts a wrong secret, unless it is the one that was presented last: clients that try each way of presenting a
    /// secret in turn guess once, and a repeated guess is no new one.
    pub fn failed(self) {
        let Self {
            failures,
            address,
            name,
            presented,
            now,
        } = self;
        let slot = failures.hasher.hash_one((address, name)) % REMEMBERED as u64;
        let slot = usize::try_from(slot).expect("there are fewer slots than that");
        if failures.last[slot].swap(presented, Ordering::Relaxed) == presented {
            return;
        }
        // Both are counted, also when one of them is exhausted.
        let _ = failures.by_name.take((address, name), now);
        let _ = failures.by_address.take(address, now);
    }
}
