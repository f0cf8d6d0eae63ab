//! Taking over agents of another server, with their identifiers and what they have done.

use super::{
    AGENTS, AgentError, Agents, CLIENTS, DirectoryEntry, ELSEWHERE, count_agent, directory_key,
    elsewhere_key, index, record_key,
};
use crate::domain::agent::Agent;
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::organizations;
use crate::domain::stats::{self, Stat};
use crate::domain::teams;
use crate::domain::usage::{Counter, Usage};
use crate::store::{Batch, Key, Outcome};

impl Agents {
    /// Takes over an agent with its identifiers, which fall into whichever partitions they do: rows there lead home. They
    /// are written first, since without the record they lead nowhere and harm nobody, so the agent is there whole from the
    /// last commit on.
    ///
    /// # Errors
    /// [`AgentError::Invalid`] names the field that cannot be accepted; [`AgentError::Contended`] also when one of the
    /// identifiers is taken.
    pub async fn import(&self, agent: &Agent, usage: &Usage, by: &By) -> Result<(), AgentError> {
        agent.validate()?;
        let home = agent.home();
        let (organization, team) = self.belonging(agent.organization_id, agent.team_id).await?;
        let directory = directory_key(agent.client_id);
        let entry = CLIENTS.encode(&DirectoryEntry {
            agent_id: agent.id,
            organization_id: agent.organization_id,
        });
        self.lead(&directory, entry, |bytes| {
            let found = CLIENTS.decode(bytes);
            found.is_ok_and(|found| {
                found.agent_id == agent.id && found.organization_id == agent.organization_id
            })
        })
        .await?;
        if let Some(organization) = agent.organization_id
            && agent.id.partition() != home
        {
            self.lead(
                &elsewhere_key(agent.id),
                ELSEWHERE.encode(&organization),
                |bytes| {
                    ELSEWHERE
                        .decode(bytes)
                        .is_ok_and(|found| found == organization)
                },
            )
            .await?;
        }
        let record = record_key(home, agent.id);
        let mut batch = Batch::new(home)
            .absent(&record)
            .put(&record, AGENTS.encode(agent));
        if let Some(organization) = &organization {
            batch = organizations::unchanged(batch, organization);
        }
        if let Some(team) = &team {
            batch = teams::join(batch, team);
        }
        let batch = index::shelve(count_agent(batch, agent, 1), None, Some(agent));
        let fact = Fact::agent(Action::AgentCreated, agent)
            .with("client_id", agent.client_name())
            .imported();
        let batch = event::record(batch, fact, by, self.clock.now());
        match self.store.commit(&with_usage(batch, agent, usage)).await? {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(AgentError::Contended),
        }
    }

    /// Writes a row that leads to an agent, unless `is_the_same` is already there.
    async fn lead(
        &self,
        row: &Key,
        to: bytes::Bytes,
        is_the_same: impl Fn(&[u8]) -> bool + Send,
    ) -> Result<(), AgentError> {
        if let Some(found) = self.store.get(row).await? {
            return match is_the_same(&found.value) {
                true => Ok(()),
                false => Err(AgentError::Contended),
            };
        }
        let batch = Batch::new(row.partition()).absent(row).put(row, to);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(AgentError::Contended),
        }
    }
}

/// Adds to `batch`: the agent has done all this.
fn with_usage(batch: Batch, agent: &Agent, usage: &Usage) -> Batch {
    let home = batch.partition();
    let key = |counter: Counter| counter.key(home, agent.id);
    let batch = batch
        .add(&key(Counter::Tokens), usage.token_count)
        .add(&key(Counter::Refreshes), usage.refresh_count);
    let batch = stats::count(batch, Stat::TokensIssued, usage.token_count);
    let batch = stats::count(batch, Stat::TokensRefreshed, usage.refresh_count);
    match usage.last_token_issued_at {
        Some(at) => {
            let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
            batch.max(&key(Counter::LastIssued), millis)
        }
        None => batch,
    }
}
