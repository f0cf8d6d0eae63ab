//! Verifying the trail beside requests: it takes as long as the trail is long, and no request does.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use tokio::sync::watch;

use super::trail::Trail;
use super::verify::{Progress, Report, VerifyError, verify};
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

    /// Asks for a verification, unless one goes on.
    pub async fn start(&self) {
        // Progress is measured by it, and nothing else: it may be missing.
        let entries = self.trail.length().await.unwrap_or(0);
        let since = self.clock.now();
        self.state.send_if_modified(|state| {
            let is_idle = state.running.is_none();
            state.running.get_or_insert_with(|| {
                Arc::new(Running {
                    since,
                    entries,
                    progress: Progress::default(),
                })
            });
            is_idle
        });
    }

    /// Asks for a verification, unless one goes on, and waits for what comes of it.
    pub async fn conclusion(&self) -> Arc<Conclusion> {
        let mut state = self.state.subscribe();
        self.start().await;
        loop {
            if let VerificationState {
                running: None,
                last: Some(last),
            } = &*state.borrow_and_update()
            {
                return Arc::clone(last);
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
        let found = verify(&*self.store, &self.vault, &[], &running.progress).await;
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
