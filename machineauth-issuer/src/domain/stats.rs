//! What the whole server has done, from counters that every issuer on the store adds to.

use futures_util::future::try_join_all;

use crate::store::{Batch, Key, Partition, Store, StoreError};

const STATS: &str = "stats";

/// A counter over all agents. Each partition has its own part, so that counting joins the batch that is counted.
#[derive(Debug, Clone, Copy)]
pub enum Stat {
    /// Agents that exist.
    Agents,
    /// Organizations that exist.
    Organizations,
    /// Access tokens by client credentials.
    TokensIssued,
    /// Access tokens by refresh.
    TokensRefreshed,
    /// Revocations of tokens and of families.
    TokensRevoked,
}

impl Stat {
    const ALL: [Self; 5] = [
        Self::Agents,
        Self::Organizations,
        Self::TokensIssued,
        Self::TokensRefreshed,
        Self::TokensRevoked,
    ];

    fn key(self, partition: Partition) -> Key {
        let name = match self {
            Self::Agents => "agents",
            Self::Organizations => "organizations",
            Self::TokensIssued => "tokens_issued",
            Self::TokensRefreshed => "tokens_refreshed",
            Self::TokensRevoked => "tokens_revoked",
        };
        partition.key(STATS).with(name)
    }
}

/// Adds `n` to the counter, in the batch that makes it true.
pub fn count(batch: Batch, stat: Stat, n: i64) -> Batch {
    let key = stat.key(batch.partition());
    batch.add(&key, n)
}

/// The sums over all partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Agents that exist.
    pub agents: i64,
    /// Organizations that exist.
    pub organizations: i64,
    /// Access tokens by client credentials.
    pub tokens_issued: i64,
    /// Access tokens by refresh.
    pub tokens_refreshed: i64,
    /// Revocations of tokens and of families.
    pub tokens_revoked: i64,
}

impl Stats {
    /// Reads all counters.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let keys: Vec<_> = Partition::data()
            .map(|partition| Stat::ALL.map(|stat| stat.key(partition)))
            .collect();
        let parts = try_join_all(keys.iter().map(|keys| store.counts(keys))).await?;
        let sum = |stat: Stat| {
            parts
                .iter()
                .filter_map(|part| part.get(stat as usize))
                .sum()
        };
        Ok(Self {
            agents: sum(Stat::Agents),
            organizations: sum(Stat::Organizations),
            tokens_issued: sum(Stat::TokensIssued),
            tokens_refreshed: sum(Stat::TokensRefreshed),
            tokens_revoked: sum(Stat::TokensRevoked),
        })
    }
}
