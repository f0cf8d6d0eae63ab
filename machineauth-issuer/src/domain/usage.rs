//! What an agent has done, in counters beside its record.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use machineauth_core::clock::Timestamp;

use super::agent::Agent;
use super::id::AgentId;
use crate::store::{Batch, Key, Partition, Store, StoreError};

const USAGE: &str = "usage";

/// What an agent has done, from counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Access tokens by client credentials.
    pub token_count: i64,
    /// Access tokens by refresh.
    pub refresh_count: i64,
    /// When the last token was issued.
    pub last_token_issued_at: Option<Timestamp>,
}

impl Usage {
    /// What the agent has done.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn read(store: &dyn Store, agent: &Agent) -> Result<Self, StoreError> {
        let counts = store
            .counts(&Counter::ALL.map(|counter| counter.key(agent.home(), agent.id)))
            .await?;
        Ok(Self::of(&counts))
    }

    /// What each of the agents has done, with one look per partition.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn read_all(store: &dyn Store, agents: &[Agent]) -> Result<Vec<Self>, StoreError> {
        let mut neighbours: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
        for (at, agent) in agents.iter().enumerate() {
            neighbours.entry(agent.home()).or_default().push(at);
        }
        let looks = neighbours.iter().map(|(home, places)| {
            let keys: Vec<_> = places
                .iter()
                .flat_map(|at| Counter::ALL.map(|counter| counter.key(*home, agents[*at].id)))
                .collect();
            async move { store.counts(&keys).await }
        });
        let looks = try_join_all(looks).await?;
        let mut usages = vec![Self::default(); agents.len()];
        for (places, counts) in neighbours.values().zip(looks) {
            for (at, counts) in places.iter().zip(counts.chunks(Counter::ALL.len())) {
                usages[*at] = Self::of(counts);
            }
        }
        Ok(usages)
    }

    /// From the counters in the order of [`Counter::ALL`].
    fn of(counts: &[i64]) -> Self {
        let [token_count, refresh_count, last] = *counts else {
            return Self::default();
        };
        let last = u64::try_from(last).ok().filter(|last| *last > 0);
        Self {
            token_count,
            refresh_count,
            last_token_issued_at: last.map(Timestamp::from_millis),
        }
    }
}

/// The counters of one agent, in rows of their own so that counting never conflicts with a change of the record.
#[derive(Debug, Clone, Copy)]
pub enum Counter {
    /// Access tokens by client credentials.
    Tokens,
    /// Access tokens by refresh.
    Refreshes,
    /// When the last token was issued, in Unix milliseconds.
    LastIssued,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tokens, Self::Refreshes, Self::LastIssued];

    /// The counter's key in the agent's home.
    pub fn key(self, home: Partition, id: AgentId) -> Key {
        let name = match self {
            Self::Tokens => "tokens",
            Self::Refreshes => "refreshes",
            Self::LastIssued => "last_issued",
        };
        home.key(USAGE).with(id).with(name)
    }

    /// Adds one to this counter, and sets when the agent was last issued a token.
    pub fn count(self, batch: Batch, agent: AgentId, now: Timestamp) -> Batch {
        let millis = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let home = batch.partition();
        batch
            .add(&self.key(home, agent), 1)
            .max(&Self::LastIssued.key(home, agent), millis)
    }
}
