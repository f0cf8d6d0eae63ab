//! Wakes readers of logs.

use tokio::sync::watch;

use super::Log;

/// One counter per log and one for all of them; a reader waits until its counter moves.
#[derive(Debug)]
pub(super) struct Changes {
    any: watch::Sender<u64>,
    audit: watch::Sender<u64>,
    revocations: watch::Sender<u64>,
}

impl Changes {
    pub(super) fn new() -> Changes {
        let sender = || watch::Sender::new(0);
        Changes {
            any: sender(),
            audit: sender(),
            revocations: sender(),
        }
    }

    /// A log may have grown.
    pub(super) fn moved(&self, log: Log) {
        for sender in [self.of(log), &self.any] {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    pub(super) fn any(&self) -> watch::Receiver<u64> {
        self.any.subscribe()
    }

    pub(super) fn in_log(&self, log: Log) -> watch::Receiver<u64> {
        self.of(log).subscribe()
    }

    fn of(&self, log: Log) -> &watch::Sender<u64> {
        match log {
            Log::Audit => &self.audit,
            Log::Revocations => &self.revocations,
        }
    }
}
