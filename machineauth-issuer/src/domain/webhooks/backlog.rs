//! How much is on its way to webhooks, and how much got lost on it.

use futures_util::future::try_join_all;
use machineauth_core::clock::Timestamp;

use super::Webhooks;
use super::queue::WAITING;
use super::webhook::Webhook;
use crate::domain::id::WebhookId;
use crate::store::StoreError;

/// How many webhooks are looked at at the same time.
const CONCURRENT: usize = 16;

/// What waits for active webhooks, and what was given up, over all issuers on the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries that are not over.
    pub waiting: i64,
    /// When the event of the oldest of them happened.
    pub oldest: Option<Timestamp>,
    /// Deliveries that were given up, and can be asked for again.
    pub given_up: i64,
}

impl Webhooks {
    /// How it stands with all deliveries.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let webhooks = self.all().await?;
        let mut backlog = Backlog::default();
        for some in webhooks.chunks(CONCURRENT) {
            let some = some.iter().map(|stored| self.backlog_of(&stored.value));
            for one in try_join_all(some).await? {
                backlog.waiting += one.waiting;
                backlog.given_up += one.given_up;
                backlog.oldest = match (backlog.oldest, one.oldest) {
                    (Some(oldest), Some(other)) => Some(oldest.min(other)),
                    (oldest, other) => oldest.or(other),
                };
            }
        }
        Ok(backlog)
    }

    /// The webhooks whose latest deliveries were given up, each with how many in a row.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn failing(&self) -> Result<Vec<(Webhook, u32)>, StoreError> {
        let mut failing = Vec::new();
        for some in self.all().await?.chunks(CONCURRENT) {
            let looks = some.iter().map(|stored| self.health(stored.value.id));
            let healths = try_join_all(looks).await?;
            let with_fails = some.iter().zip(healths).filter_map(|(stored, health)| {
                let fails = health.consecutive_fails;
                (fails > 0).then(|| (stored.value.clone(), fails))
            });
            failing.extend(with_fails);
        }
        Ok(failing)
    }

    async fn backlog_of(&self, webhook: &Webhook) -> Result<Backlog, StoreError> {
        let (_, given_up) = self.remembered(webhook.id).await?;
        if !webhook.is_active {
            // Nobody expects that anything arrives there.
            return Ok(Backlog {
                given_up,
                ..Backlog::default()
            });
        }
        Ok(Backlog {
            waiting: self.waiting(webhook.id).await?,
            oldest: self.oldest_waiting(webhook.id).await?,
            given_up,
        })
    }

    /// Deliveries sort by the age of their events.
    async fn oldest_waiting(&self, webhook: WebhookId) -> Result<Option<Timestamp>, StoreError> {
        let prefix = WAITING.key(webhook.partition()).with(webhook);
        let oldest = WAITING.scan(&*self.store, &prefix, None, 1).await?;
        Ok(oldest.first().map(|(_, stored)| stored.value.created_at))
    }
}
