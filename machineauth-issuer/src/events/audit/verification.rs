//! Verifying the trail beside requests: it takes as long as the trail is long, and no request does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use machineauth_core::clock::{Clock, Timestamp};
use tokio::sync::watch;

use super::report::Report;
use super::trail::Trail;
use super::verify::{Progress, VerifyError, verify};
use crate::domain::vault::Vault;
use crate::store::DynStore;
use crate::telemetry::Chain;

/// Verifies the trail for whoever asks, once at a time for each process: who asks meanwhile gets what is found.
#[derive(Debug)]
pub struct Verification {
    store: DynStore,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    trail: Trail,
    state: watch::Sender<VerificationState>,
}

/// How it stands with the verification of the trail in this process.
#[derive(Debug, Clone, Default)]
pub struct VerificationState {
    /// The verification that goes on.
    pub running: Option<Arc<Running>>,
    /// What came of the one before.
    pub last: Option<Arc<Conclusion>>,
}

/// A verification that goes on.
#[derive(Debug)]
pub struct Running {
    /// When it was asked for.
    pub since: Timestamp,
    /// How many entries there were then, as far as that could be read.
    pub entries: u64,
    /// How far it is.
    pub progress: Progress,
}

/// A verification that is over.
#[derive(Debug)]
pub struct Conclusion {
    /// When it was.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What it found, or why it could not be finished.
    pub found: Result<Report, VerifyError>,
}

impl Verification {
    /// For the trail in `store`.
    pub fn new(store: DynStore, vault: Arc<Vault>, clock: Arc<dyn Clock>, trail: Trail) -> Self {
        Self {
            store,
            vault,
            clock,
            trail,
            state: watch::Sender::new(VerificationState::default()),
        }
    }

    /// How it stands.
    pub fn state(&self) -> VerificationState {
        self.state.borrow().clone()
    }

    /// Asks for a verification, unless one goes on. Says which one that is.
    pub async fn start(&self) -> Arc<Running> {
        // Progress is measured by it, and nothing else: it may be missing.
        let entries = self.trail.length().await.unwrap_or(0);
        let mut running = Arc::new(Running {
            since: self.clock.now(),
            entries,
            progress: Progress::default(),
        });
        self.state.send_if_modified(|state| match &state.running {
            Some(already) => {
                running = Arc::clone(already);
                false
            }
            None => {
                state.running = Some(Arc::clone(&running));
                true
            }
        });
        running
    }

    /// Asks for a verification, unless one goes on, and waits for what comes of it.
    pub async fn conclusion(&self) -> Arc<Conclusion> {
        let mut state = self.state.subscribe();
        let asked = self.start().await;
        loop {
            let VerificationState { running, last } = state.borrow_and_update().clone();
            // Another one may go on already: others ask as well.
            let is_over = running.is_none_or(|running| !Arc::ptr_eq(&running, &asked));
            if let Some(last) = last.filter(|_| is_over) {
                return last;
            }
            // The sender is ours.
            let _ = state.changed().await;
        }
    }

    /// Verifies whenever that is asked for, forever.
    pub async fn run(&self) {
        let mut state = self.state.subscribe();
        loop {
            let running = state.borrow_and_update().running.clone();
            match running {
                Some(running) => {
                    let conclusion = Arc::new(self.conclude(&running).await);
                    self.state.send_modify(|state| {
                        state.running = None;
                        state.last = Some(conclusion);
                    });
                }
                // The sender is ours.
                None => _ = state.changed().await,
            }
        }
    }

    async fn conclude(&self, running: &Running) -> Conclusion {
        let verified = verify(&*self.store, &self.vault, &[], &running.progress);
        // A panic is not to end all verifications to come.
        let verified = AssertUnwindSafe(verified).catch_unwind().await;
        let found = verified.unwrap_or(Err(VerifyError::Panicked));
        match &found {
            Ok(report) if report.intact => {}
            Ok(report) => {
                let findings = report.findings.len();
                tracing::error!(findings, "the audit trail is not as it was sealed");
            }
            Err(error) => {
                tracing::warn!(error = %Chain(error), "the audit trail could not be verified");
            }
        }
        let at = self.clock.now();
        Conclusion {
            at,
            took: at.duration_since(running.since),
            found,
        }
    }
}
