//! Deactivating agents, and reactivating them.

use machineauth_core::clock::Timestamp;

use super::ending::end_generation;
use super::{AgentError, Agents, changed};
use crate::domain::agent::Agent;
use crate::domain::event::{Action, By};
use crate::domain::id::AgentId;
use crate::domain::revocation;
use crate::store::Batch;

/// How an agent is deactivated.
#[derive(Debug, Clone, Copy)]
pub struct Suspension {
    /// Whether by itself.
    pub by_itself: bool,
    /// Whether its tokens end for good, not only until it is reactivated.
    pub revoke_tokens: bool,
}

impl Suspension {
    pub(super) const BY_ADMINISTRATOR: Self = Self {
        by_itself: false,
        revoke_tokens: false,
    };
}

/// Suspends the agent in its record, and tells the feed by `batch`.
pub(super) fn suspend(
    agent: &mut Agent,
    batch: Batch,
    suspension: Suspension,
    now: Timestamp,
) -> Batch {
    // What an administrator has decided is not weakened by the agent's own word.
    agent.suspended_itself = suspension.by_itself && (agent.is_active || agent.suspended_itself);
    agent.is_active = false;
    agent.updated_at = now;
    let batch = revocation::suspend_agent(batch, agent.organization_id, agent.id, now);
    match suspension.revoke_tokens {
        true => end_generation(agent, batch, now),
        false => batch,
    }
}

/// Resumes the agent in its record, and tells the feed by `batch`.
pub(super) fn resume(agent: &mut Agent, batch: Batch) -> Batch {
    agent.is_active = true;
    agent.suspended_itself = false;
    revocation::resume_agent(batch, agent.organization_id, agent.id)
}

impl Agents {
    /// Suspends the agent: while it is inactive it gets no token and its tokens are refused.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn deactivate(
        &self,
        id: AgentId,
        suspension: Suspension,
        by: &By,
    ) -> Result<(), AgentError> {
        self.change(id, None, |agent, batch, now| {
            let before = agent.clone();
            let batch = suspend(agent, batch, suspension, now);
            let action = Some(Action::AgentDeactivated);
            Ok((changed(batch, &before, agent, action, by, now), ()))
        })
        .await
        .map(|_| ())
    }

    /// Resumes the agent: it gets tokens again, and those that nothing else ended are good again. On its own word only
    /// when it suspended itself.
    ///
    /// # Errors
    /// [`AgentError::NotByItself`], [`AgentError::NotFound`], or the store's failure.
    pub async fn reactivate(
        &self,
        id: AgentId,
        by_itself: bool,
        by: &By,
    ) -> Result<(), AgentError> {
        self.change(id, None, |agent, batch, now| {
            if by_itself && !agent.is_active && !agent.suspended_itself {
                return Err(AgentError::NotByItself);
            }
            let before = agent.clone();
            agent.updated_at = now;
            let batch = resume(agent, batch);
            let action = Some(Action::AgentReactivated);
            Ok((changed(batch, &before, agent, action, by, now), ()))
        })
        .await
        .map(|_| ())
    }
}
