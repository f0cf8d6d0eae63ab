//! The end of agents, and of all their tokens.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use machineauth_core::clock::Timestamp;

use super::rotation::secret_used_key;
use super::{
    AGENTS, AgentError, Agents, MAX_ATTEMPTS, SCAN_PAGE, count_agent, directory_key, elsewhere_key,
    index, record_key,
};
use crate::domain::agent::Agent;
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{AgentId, OrganizationId};
use crate::domain::revocation;
use crate::domain::usage::Counter;
use crate::store::{Batch, Key, Outcome, Partition, StoreError};

/// How many records are changed at the same time, when all are.
const CHANGED_AT_ONCE: usize = 64;
/// More than an agent's generation was ever raised: where it was raised after a copy was made, nobody knows how often.
const GENERATIONS_SKIPPED: u64 = 1 << 20;

impl Agents {
    /// Deletes the agent; all of its tokens die, everywhere.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn delete(&self, id: AgentId, by: &By) -> Result<(), AgentError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            let home = stored.value.home();
            let record = record_key(home, id);
            let mut batch = Batch::new(home)
                .at_version(&record, stored.version)
                .delete(&record);
            let directions = [directory_key(stored.value.client_id), elsewhere_key(id)];
            let (near, far): (Vec<_>, Vec<_>) = directions
                .into_iter()
                .partition(|key| key.partition() == home);
            for key in near
                .into_iter()
                .chain(Counter::ALL.map(|counter| counter.key(home, id)))
                .chain(
                    stored
                        .value
                        .secrets
                        .iter()
                        .map(|secret| secret_used_key(home, secret.id)),
                )
            {
                batch = batch.delete(&key);
            }
            let now = self.clock.now();
            let owner = stored.value.organization_id;
            let batch = revocation::revoke_agent(batch, owner, id, u64::MAX, now);
            let fact = Fact::agent(Action::AgentDeleted, &stored.value);
            let batch = event::record(batch, fact, by, now);
            let batch = count_agent(batch, &stored.value, -1);
            let batch = index::shelve(batch, Some(&stored.value), None);
            if self.store.commit(&batch).await? == Outcome::Committed {
                self.by_client.invalidate(&stored.value.client_id);
                self.forget_directions(&far).await?;
                return Ok(());
            }
        }
        Err(AgentError::Contended)
    }

    /// Deletes up to `limit` agents of a deleted organization, and says how many.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete_some_of(
        &self,
        organization: OrganizationId,
        limit: usize,
        by: &By,
    ) -> Result<usize, AgentError> {
        let prefix = AGENTS.key(organization.partition());
        let mut after = None;
        let mut deleted = 0;
        loop {
            let rows = AGENTS
                .scan(&*self.store, &prefix, after.as_ref(), SCAN_PAGE)
                .await?;
            after = rows.last().map(|(key, _)| key.clone());
            let exhausted = rows.len() < SCAN_PAGE;
            let agents = rows.into_iter().map(|(_, row)| row.value);
            for agent in agents.filter(|agent| agent.organization_id == Some(organization)) {
                if deleted == limit {
                    return Ok(deleted);
                }
                match self.delete(agent.id, by).await {
                    Ok(()) | Err(AgentError::NotFound) => deleted += 1,
                    Err(error) => return Err(error),
                }
            }
            if exhausted {
                return Ok(deleted);
            }
        }
    }

    /// Ends all tokens of all agents, everywhere. Says how many agents there are.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn end_all_tokens(&self) -> Result<usize, StoreError> {
        let mut ended = 0;
        for partition in Partition::data() {
            let prefix = AGENTS.key(partition);
            let mut after = None;
            loop {
                let rows = self.store.scan(&prefix, after.as_ref(), SCAN_PAGE).await?;
                let Some((last, _)) = rows.last() else { break };
                after = Some(last.clone());
                ended += rows.len();
                stream::iter(rows)
                    .map(|(record, _)| self.end_tokens_of(record))
                    .buffer_unordered(CHANGED_AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
        }
        Ok(ended)
    }

    async fn end_tokens_of(&self, record: Key) -> Result<(), StoreError> {
        while let Some(stored) = AGENTS.get(&*self.store, &record).await? {
            let mut agent = stored.value;
            agent.generation += GENERATIONS_SKIPPED;
            let batch = Batch::new(record.partition())
                .at_version(&record, stored.version)
                .put(&record, AGENTS.encode(&agent));
            let now = self.clock.now();
            let batch = revocation::revoke_agent(
                batch,
                agent.organization_id,
                agent.id,
                agent.generation,
                now,
            );
            if self.store.commit(&batch).await? == Outcome::Committed {
                self.by_client.invalidate(&agent.client_id);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deletes rows that lead to an agent that is gone. One that a crash leaves behind leads nowhere and harms nobody.
    async fn forget_directions(&self, keys: &[Key]) -> Result<(), StoreError> {
        for key in keys {
            match self
                .store
                .commit(&Batch::new(key.partition()).delete(key))
                .await?
            {
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
        Ok(())
    }
}

/// Ends all tokens of the agent that there are.
pub(super) fn end_generation(agent: &mut Agent, batch: Batch, now: Timestamp) -> Batch {
    agent.generation += 1;
    revocation::revoke_agent(
        batch,
        agent.organization_id,
        agent.id,
        agent.generation,
        now,
    )
}
