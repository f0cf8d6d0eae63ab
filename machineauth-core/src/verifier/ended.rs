//! What outlives a request: until when its token is good.

use std::time::Duration;

use tokio::time::timeout;

use super::stale::GoOn;
use super::{Agent, Verifier};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};

/// Revocations wake whoever waits, and expiry is waited for. What remains, a clock that was set or revocations that
/// became stale, is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Verifier {
    /// Whether a token that was accepted is still good: for what outlives a request, as streams do. Never waits, so the
    /// issuer cannot be asked here.
    ///
    /// # Errors
    /// What has become wrong with it, by its [kind](Error::kind): [`ErrorKind::Expired`], [`ErrorKind::Revoked`],
    /// [`ErrorKind::RevocationsStale`]; [`ErrorKind::IntrospectionUnavailable`] while a policy for stale revocations would
    /// have the issuer asked; [`ErrorKind::WrongIssuer`] when another verifier accepted it.
    pub fn recheck(&self, agent: &Agent) -> Result<(), Error> {
        let judge = self.of_issuer(&agent.claims().issuer)?;
        let now = judge.clock.now();
        match judge.freshness.judge(judge.revocations.as_ref(), now)? {
            GoOn::Locally => judge.recheck(agent, now),
            GoOn::Confirmed => Err(ErrorKind::IntrospectionUnavailable.into()),
        }
    }

    /// Waits until the token of `agent`, which this verifier accepted, is no longer good: expired, revoked, or past what
    /// the policy for stale revocations allows. At a revocation that is at once.
    ///
    /// For streams and sockets: run it beside what must not outlive the token. Needs a Tokio runtime with time enabled.
    pub async fn ended(&self, agent: &Agent) -> Error {
        loop {
            let judge = match self.of_issuer(&agent.claims().issuer) {
                Ok(judge) => judge,
                Err(error) => return error,
            };
            // Before the look, so that a change in between is not slept through.
            let changes = judge.revocations.as_ref().map(|set| set.changes());
            if let Err(error) = self.recheck(agent) {
                return error;
            }
            let end = Timestamp::from_secs(agent.claims().expires_at).saturating_add(judge.leeway);
            let pause = end.duration_since(judge.clock.now()).min(LOOK_AGAIN);
            let changed = async {
                match changes {
                    Some(mut changes) => changes.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            let _ = timeout(pause, changed).await;
        }
    }
}
