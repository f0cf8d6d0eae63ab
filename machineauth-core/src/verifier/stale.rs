//! What to do while it is long ago that the revocations were known to be complete (V24).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::revocation::RevocationSet;

/// What to do when it is long ago that the revocations were known to be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StalePolicy {
    /// Go on with what is known.
    Serve,
    /// Go on with what is known, and say so: in the log and to
    /// [`VerifierBuilder::on_stale_revocations`](super::VerifierBuilder::on_stale_revocations).
    ServeAndReport {
        /// How old the last complete knowledge may be.
        after: Duration,
    },
    /// Ask the issuer about each token that is good otherwise, by
    /// [`VerifierBuilder::introspection`](super::VerifierBuilder::introspection), until the revocations are fresh again.
    Introspect {
        /// How old the last complete knowledge may be.
        after: Duration,
    },
    /// Refuse every token, as [`ErrorKind::RevocationsStale`].
    Refuse {
        /// How old the last complete knowledge may be.
        after: Duration,
    },
}

impl StalePolicy {
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Serve => None,
            Self::ServeAndReport { after }
            | Self::Introspect { after }
            | Self::Refuse { after } => Some(after),
        }
    }
}

/// Told when revocations become stale, and when they are fresh again.
pub(super) type StaleHook = Arc<dyn Fn(bool) + Send + Sync>;

/// Applies a [`StalePolicy`], and tells when it begins to bite and when it stops.
pub(super) struct Freshness {
    pub(super) policy: StalePolicy,
    pub(super) hook: Option<StaleHook>,
    was_stale: AtomicBool,
}

/// How to go on with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoOn {
    /// By what is known here.
    Locally,
    /// The issuer must confirm it.
    Confirmed,
}

impl Freshness {
    pub(super) fn new(policy: StalePolicy, hook: Option<StaleHook>) -> Self {
        Self {
            policy,
            hook,
            was_stale: AtomicBool::new(false),
        }
    }

    /// # Errors
    /// [`ErrorKind::RevocationsStale`]
    pub(super) fn judge(
        &self,
        revocations: Option<&RevocationSet>,
        now: Timestamp,
    ) -> Result<GoOn, Error> {
        let (Some(limit), Some(revocations)) = (self.policy.limit(), revocations) else {
            return Ok(GoOn::Locally);
        };
        let staleness = revocations.staleness(now);
        let is_stale = staleness.is_none_or(|staleness| staleness > limit);
        if is_stale != self.was_stale.load(Ordering::Relaxed) {
            self.tell(is_stale, staleness);
        }
        match self.policy {
            StalePolicy::Introspect { .. } if is_stale => Ok(GoOn::Confirmed),
            StalePolicy::Refuse { .. } if is_stale => Err(ErrorKind::RevocationsStale.into()),
            _ => Ok(GoOn::Locally),
        }
    }

    #[cold]
    fn tell(&self, is_stale: bool, staleness: Option<Duration>) {
        // One of many requests at the same time tells it.
        if self.was_stale.swap(is_stale, Ordering::Relaxed) == is_stale {
            return;
        }
        let policy = self.policy;
        match is_stale {
            true => tracing::warn!(?policy, ?staleness, "the revocations are stale"),
            false => tracing::info!(?policy, "the revocations are fresh again"),
        }
        if let Some(hook) = &self.hook {
            hook(is_stale);
        }
    }
}

impl fmt::Debug for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}
