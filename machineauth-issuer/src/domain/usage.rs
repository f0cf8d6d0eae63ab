//! What an agent has done, in counters beside its record.

use machineauth_core::clock::Timestamp;

use super::id::AgentId;
use crate::store::{Batch, Key, Store, StoreError};

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
    pub async fn read(store: &dyn Store, id: AgentId) -> Result<Self, StoreError> {
        let counts = store
            .counts(&Counter::ALL.map(|counter| counter.key(id)))
            .await?;
        let [token_count, refresh_count, last] = counts[..] else {
            return Ok(Self::default());
        };
        Ok(Self {
            token_count,
            refresh_count,
            last_token_issued_at: u64::try_from(last)
                .ok()
                .filter(|last| *last > 0)
                .map(Timestamp::from_millis),
        })
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

    /// The counter's key.
    pub fn key(self, id: AgentId) -> Key {
        let name = match self {
            Self::Tokens => "tokens",
            Self::Refreshes => "refreshes",
            Self::LastIssued => "last_issued",
        };
        id.partition().key(USAGE).with(id).with(name)
    }

    /// Adds one to this counter, and sets when the agent was last issued a token.
    pub fn count(self, batch: Batch, agent: AgentId, now: Timestamp) -> Batch {
        let millis = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        batch
            .add(&self.key(agent), 1)
            .max(&Self::LastIssued.key(agent), millis)
    }
}
