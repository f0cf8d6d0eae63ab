//! How requests are told apart in logs, and by the services behind the edge.

use std::sync::atomic::{AtomicU64, Ordering};

use machineauth_core::crypto::random;

/// A number for this process, and one for each request.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self {
            process: u64::from_ne_bytes(random()),
            next: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> u128 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        u128::from(self.process) << 64 | u128::from(number)
    }
}
