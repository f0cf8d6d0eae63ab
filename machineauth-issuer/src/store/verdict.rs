//! What to do with a batch, judged in one place for the backends that judge in Rust.

use super::batch::Check;
use super::{Batch, Outcome, Version};

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All checks hold.
    Apply,
    /// It happened before.
    Recognised,
    /// A check fails.
    Refuse,
}

impl Verdict {
    /// Judges all checks. `row` gives the version of the row that a check guards, dead or alive, and whether it is
    /// alive.
    pub(super) fn of<E>(
        batch: &Batch,
        row: impl Fn(&Check) -> Result<Option<(Version, bool)>, E>,
    ) -> Result<Verdict, E> {
        let mut verdict = Verdict::Apply;
        for check in batch.checks() {
            let row = row(check)?;
            // Dead or alive: a batch must not happen again because what it wrote has expired since.
            if row.is_some_and(|(version, _)| version == batch.version()) {
                return Ok(Verdict::Recognised);
            }
            let live = row.and_then(|(version, is_live)| is_live.then_some(version));
            if !check.holds(live) {
                verdict = Verdict::Refuse;
            }
        }
        Ok(verdict)
    }

    pub(super) fn outcome(self) -> Outcome {
        match self {
            Verdict::Apply | Verdict::Recognised => Outcome::Committed,
            Verdict::Refuse => Outcome::Conflict,
        }
    }
}
