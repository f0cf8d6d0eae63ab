//! The secrets of agents: rotating them, and ending those that a rotation left alive.

use std::time::Duration;

use machineauth_core::clock::Timestamp;

use super::ending::end_generation;
use super::{AgentError, Agents};
use crate::domain::agent::{Agent, LONGEST_GRACE, NotCancelled};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{AgentId, SecretId};
use crate::domain::last_use;
use crate::domain::secret::{SecretText, StoredSecret};
use crate::store::{Batch, Key, Partition, StoreError};

const SECRET_USED: &str = "secret_used";

/// How a secret is rotated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotation {
    /// How long the secret before goes on working; at most [`LONGEST_GRACE`].
    pub grace: Duration,
    /// Whether the agent's tokens end as well.
    pub revoke_tokens: bool,
}

impl Agents {
    /// Makes a new secret. The one before it works on for the grace of `rotation`; the agent's tokens stay valid, unless
    /// it also ends all of them.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], [`AgentError::Grace`], or the store's failure.
    pub async fn rotate(
        &self,
        id: AgentId,
        rotation: Rotation,
        by: &By,
    ) -> Result<SecretText, AgentError> {
        if rotation.grace > LONGEST_GRACE {
            return Err(AgentError::Grace);
        }
        self.change(id, None, |agent, batch, now| {
            let secret = agent.rotate(&self.vault, now, rotation.grace, by.address);
            let batch = match rotation.revoke_tokens {
                true => end_generation(agent, batch, now),
                false => batch,
            };
            let fact = Fact::agent(Action::AgentCredentialsRotated, agent)
                .with("grace", rotation.grace.as_secs())
                .with("revoke_tokens", rotation.revoke_tokens);
            Ok((event::record(batch, fact, by, now).on_replicas(), secret))
        })
        .await
        .map(|(_, secret)| secret)
    }

    /// The live secrets of an agent, each with the time of its last use.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn secrets(
        &self,
        agent: &Agent,
    ) -> Result<Vec<(StoredSecret, Option<Timestamp>)>, StoreError> {
        let now = self.clock.now();
        let live: Vec<_> = agent
            .secrets
            .iter()
            .filter(|secret| secret.is_live(now))
            .cloned()
            .collect();
        let keys: Vec<_> = live
            .iter()
            .map(|secret| secret_used_key(agent.home(), secret.id))
            .collect();
        let uses = self.store.counts(&keys).await?;
        let uses = uses.into_iter().map(last_use::read);
        Ok(live.into_iter().zip(uses).collect())
    }

    /// Adds to `batch`, which is in the agent's home: the secret was used.
    pub fn secret_used(&self, batch: Batch, secret: SecretId, now: Timestamp) -> Batch {
        if !self.secret_uses.is_news(secret, now) {
            return batch;
        }
        let key = secret_used_key(batch.partition(), secret);
        last_use::record(batch, &key, now)
    }

    /// Ends a secret that a rotation left alive.
    ///
    /// # Errors
    /// [`AgentError::NoSuchSecret`], [`AgentError::CurrentSecret`], or the store's failure.
    pub async fn cancel_secret(
        &self,
        id: AgentId,
        secret: SecretId,
        by: &By,
    ) -> Result<(), AgentError> {
        self.change(id, None, |agent, batch, now| {
            agent.cancel_secret(secret, now).map_err(|why| match why {
                NotCancelled::NoSuchSecret => AgentError::NoSuchSecret,
                NotCancelled::Current => AgentError::CurrentSecret,
            })?;
            let fact = Fact::agent(Action::AgentSecretRevoked, agent)
                .with("secret_id", secret.to_string());
            Ok((event::record(batch, fact, by, now).on_replicas(), ()))
        })
        .await
        .map(|_| ())
    }
}

/// When a secret was used last.
pub(super) fn secret_used_key(home: Partition, secret: SecretId) -> Key {
    home.key(SECRET_USED).with(secret)
}
