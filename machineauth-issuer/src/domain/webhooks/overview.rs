//! All webhooks at a glance: how each receiver has been, and what is on its way to it.
//!
//! Looking at all of them takes a walk over the store, so whoever asks within a few seconds gets what was found: pages that
//! many look at, and programs that collect metrics. However long a walk takes, who asks meanwhile makes no more than one more.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use machineauth_core::clock::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::history::counters;
use super::queue::{WAITING, count_key};
use super::webhook::Webhook;
use super::{HEALTH, Health, Webhooks, health_key};
use crate::domain::id::WebhookId;
use crate::store::{Partition, StoreError};

/// How old an overview can be. What was changed at this issuer is always in it.
const STALENESS: Duration = Duration::from_secs(2);
/// How many webhooks of a partition are looked at by one question to the store.
const AT_ONCE: usize = 250;

/// All webhooks, the newest first.
#[derive(Debug)]
pub struct Overview {
    /// How each of them stands.
    pub standings: Vec<Standing>,
}

/// How a webhook stands.
#[derive(Debug)]
pub struct Standing {
    /// The webhook.
    pub webhook: Webhook,
    /// How its receiver has been lately.
    pub health: Health,
    /// Deliveries that are not over.
    pub waiting: i64,
    /// When the event of the oldest of them happened, if the webhook is active.
    pub oldest: Option<Timestamp>,
    /// Deliveries that were given up, and can be asked for again.
    pub given_up: i64,
}

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

/// The overview that was found last.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Whoever looks holds the lock, so that others wait for what is found.
    last: Mutex<Last>,
    /// How many webhooks were changed here.
    changes: AtomicU64,
}

/// What came of looking.
#[derive(Debug, Default)]
struct Last {
    found: Option<Found>,
    /// When it was given up last because the store was unavailable.
    failed_at: Option<Instant>,
}

#[derive(Debug)]
struct Found {
    overview: Arc<Overview>,
    asked_at: Instant,
    /// After how many changes it was asked.
    changes: u64,
}

impl Remembered {
    /// A webhook was changed here: what was found before is not so any more.
    pub(super) fn forget(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// What was found, if that is new enough, or else what `look` finds. Who waited for somebody who looked in vain does not
    /// look again: with the store down, the last of many would wait for all of them, one after the other.
    async fn or_found_by(
        &self,
        look: impl Future<Output = Result<Overview, StoreError>>,
    ) -> Result<Arc<Overview>, StoreError> {
        // Whoever waits gets what is begun from now on, however long it takes.
        let arrived_at = Instant::now();
        let changes = self.changes.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if let Some(found) = &last.found
            && found.changes >= changes
            && found.asked_at + STALENESS > arrived_at
        {
            return Ok(Arc::clone(&found.overview));
        }
        if last.failed_at.is_some_and(|at| arrived_at < at) {
            let source = "the one before, who asked the same, had no answer";
            return Err(StoreError::Unavailable {
                source: source.into(),
            });
        }
        let asked_at = Instant::now();
        let changes = self.changes.load(Ordering::Acquire);
        match look.await {
            Ok(overview) => {
                let overview = Arc::new(overview);
                last.found = Some(Found {
                    overview: Arc::clone(&overview),
                    asked_at,
                    changes,
                });
                Ok(overview)
            }
            Err(error) => {
                if error.is_unavailable() {
                    last.failed_at = Some(Instant::now());
                }
                Err(error)
            }
        }
    }
}

impl Overview {
    /// The webhooks whose latest deliveries were given up, the worst first.
    pub fn failing(&self) -> Vec<&Standing> {
        let standings = self.standings.iter();
        let mut failing: Vec<_> = standings
            .filter(|standing| standing.health.consecutive_fails > 0)
            .collect();
        failing.sort_by_key(|standing| Reverse(standing.health.consecutive_fails));
        failing
    }

    /// How it stands with all deliveries.
    pub fn backlog(&self) -> Backlog {
        let mut backlog = Backlog::default();
        for standing in &self.standings {
            backlog.given_up += standing.given_up;
            // Nobody expects that anything arrives at the others.
            if standing.webhook.is_active {
                backlog.waiting += standing.waiting;
                backlog.oldest = match (backlog.oldest, standing.oldest) {
                    (Some(oldest), Some(other)) => Some(oldest.min(other)),
                    (oldest, other) => oldest.or(other),
                };
            }
        }
        backlog
    }
}

impl Webhooks {
    /// All webhooks, as they were a few seconds ago at most.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn overview(&self) -> Result<Arc<Overview>, StoreError> {
        self.remembered.or_found_by(self.look()).await
    }

    async fn look(&self) -> Result<Overview, StoreError> {
        let walks = Partition::data().map(|partition| self.walk(partition));
        let walks = try_join_all(walks).await?;
        let mut standings: Vec<_> = walks.into_iter().flatten().collect();
        standings.sort_by_key(|standing| Reverse(standing.webhook.created_at));
        Ok(Overview { standings })
    }

    async fn walk(&self, partition: Partition) -> Result<Vec<Standing>, StoreError> {
        let webhooks = self.in_partition(partition).await?;
        let mut standings = Vec::with_capacity(webhooks.len());
        for some in webhooks.chunks(AT_ONCE) {
            let ids = some.iter().map(|stored| stored.value.id);
            let healths: Vec<_> = ids.clone().map(health_key).collect();
            let counts: Vec<_> = ids
                .flat_map(|id| {
                    let [_, given_up] = counters(id);
                    [count_key(id), given_up]
                })
                .collect();
            let (healths, counts) =
                futures_util::try_join!(self.store.get_all(&healths), self.store.counts(&counts))?;
            let (counts, _) = counts.as_chunks();
            for ((stored, health), &[waiting, given_up]) in some.iter().zip(healths).zip(counts) {
                let health = health
                    .map(|entry| HEALTH.decode(&entry.value))
                    .transpose()?;
                standings.push(Standing {
                    webhook: stored.value.clone(),
                    health: health.unwrap_or_default(),
                    waiting,
                    oldest: None,
                    given_up,
                });
            }
        }
        let waits = |standing: &&mut Standing| standing.waiting > 0 && standing.webhook.is_active;
        for standing in standings.iter_mut().filter(waits) {
            standing.oldest = self.oldest_waiting(standing.webhook.id).await?;
        }
        Ok(standings)
    }

    /// Deliveries sort by the age of their events.
    async fn oldest_waiting(&self, webhook: WebhookId) -> Result<Option<Timestamp>, StoreError> {
        let prefix = WAITING.key(webhook.partition()).with(webhook);
        let oldest = WAITING.scan(&*self.store, &prefix, None, 1).await?;
        Ok(oldest.first().map(|(_, stored)| stored.value.created_at))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    fn nothing() -> Result<Overview, StoreError> {
        Ok(Overview {
            standings: Vec::new(),
        })
    }

    fn unavailable() -> Result<Overview, StoreError> {
        Err(StoreError::Unavailable {
            source: "nobody answers".into(),
        })
    }

    /// What five get who all ask before anything is found, and how often it was looked.
    async fn ask(
        remembered: &Remembered,
        found: fn() -> Result<Overview, StoreError>,
    ) -> (Vec<Result<Arc<Overview>, StoreError>>, usize) {
        let (looks, all_ask) = (AtomicUsize::new(0), Semaphore::new(0));
        let (counter, gate) = (&looks, &all_ask);
        let asked = (0..5).map(|_| {
            remembered.or_found_by(async move {
                counter.fetch_add(1, Ordering::Relaxed);
                let _open = gate.acquire().await.unwrap();
                found()
            })
        });
        let (answers, ()) = futures_util::join!(join_all(asked), async { gate.add_permits(1) });
        (answers, looks.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn who_asks_meanwhile_gets_what_is_found() {
        let (answers, looks) = ask(&Remembered::default(), nothing).await;
        assert_eq!(looks, 1);
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|one| Arc::ptr_eq(one, &answers[0])));
    }

    #[tokio::test]
    async fn who_waited_in_vain_does_not_ask_the_store_again_and_who_comes_later_does() {
        let remembered = Remembered::default();
        let (answers, looks) = ask(&remembered, unavailable).await;
        assert_eq!(looks, 1);
        let is_unavailable =
            |answer: &Result<_, StoreError>| answer.as_ref().is_err_and(StoreError::is_unavailable);
        assert!(answers.iter().all(is_unavailable), "{answers:?}");
        let (answers, looks) = ask(&remembered, nothing).await;
        assert_eq!(looks, 1);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    #[tokio::test]
    async fn what_is_changed_while_it_is_looked_is_looked_for_again() {
        let remembered = Remembered::default();
        let look = async {
            remembered.forget();
            nothing()
        };
        let before = remembered.or_found_by(look).await.unwrap();
        let after = remembered.or_found_by(async { nothing() }).await.unwrap();
        assert!(!Arc::ptr_eq(&before, &after));
    }
}
