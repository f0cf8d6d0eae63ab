//! What is on its way to webhooks: creating deliveries, claiming those that are due, settling them.
//!
//! A delivery that is not over stands in its webhook's queue under the time at which it is due. Whoever delivers it first
//! claims it: in one batch it moves to the end of a lease, so that it comes up again should its deliverer die. Nobody
//! else can claim it meanwhile, since the batch insists on the record's version.

use std::time::Duration;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;

use super::delivery::{Attempt, Delivery, Retries, Status, Verdict};
use super::history::{history_key, remember};
use super::webhook::Webhook;
use super::{
    DISABLED_AFTER, HEALTH, Health, MAX_ATTEMPTS, WEBHOOKS, Webhooks, health_key, record_key,
};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{DeliveryId, WebhookId};
use crate::store::{Batch, Key, Outcome, StoreError, Table, Versioned};

/// Deliveries that are not over.
pub(super) const WAITING: Table<Delivery> = Table::new("webhook_delivery", 1);
const QUEUE: &str = "webhook_queue";
/// How many deliveries are not over, in a counter beside the queue.
const COUNT: &str = "webhook_waiting";

/// How many deliveries are created in one batch.
const BATCH: usize = 50;

/// A delivery that its claimer may send, and nobody else until the lease is over.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The delivery.
    pub delivery: Delivery,
    stored: Versioned<Delivery>,
}

/// What became of a delivery, and of its webhook with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Where the delivery stands now.
    pub status: Status,
    /// Whether that was one failure too many, and the webhook is inactive from now on.
    pub disabled: bool,
}

impl Webhooks {
    /// Creates those of the deliveries to one webhook that were not created before, whatever became of them since. Says
    /// how many were. What there is no room for is given up at once, and can be asked for again.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn enqueue(
        &self,
        webhook: WebhookId,
        deliveries: Vec<Delivery>,
    ) -> Result<usize, StoreError> {
        let waiting = self.waiting(webhook).await?;
        let room = i64::from(self.policy.max_waiting).saturating_sub(waiting);
        let room = usize::try_from(room).unwrap_or(0);
        let mut created = 0;
        let deliveries: Vec<_> = deliveries
            .into_iter()
            .enumerate()
            .map(|(at, delivery)| match at < room {
                true => delivery,
                false => given_up(delivery),
            })
            .collect();
        for some in deliveries.chunks(BATCH) {
            match self.store.commit(&creation(webhook, some)).await? {
                Outcome::Committed => created += some.len(),
                // One of them was created before, by somebody who died or was faster: each has its own try.
                Outcome::Conflict => {
                    for one in some {
                        let alone = creation(webhook, std::slice::from_ref(one));
                        if self.store.commit(&alone).await? == Outcome::Committed {
                            created += 1;
                        }
                    }
                }
            }
        }
        self.leave_nothing_behind(webhook).await?;
        Ok(created)
    }

    /// How many deliveries wait for a webhook.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn waiting(&self, webhook: WebhookId) -> Result<i64, StoreError> {
        let counts = self.store.counts(&[count_key(webhook)]).await?;
        Ok(counts.first().copied().unwrap_or(0))
    }

    /// Up to `limit` deliveries to a webhook in the order in which they are due, each with that time.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn due(
        &self,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<Vec<(Timestamp, DeliveryId)>, StoreError> {
        let rows = self.store.scan(&queue(webhook), None, limit).await?;
        Ok(rows
            .iter()
            .filter_map(|(key, _)| parse_place(key))
            .collect())
    }

    /// Claims the delivery that was due at `due_at`, for the time of `lease`. `None` when somebody else has it, or it is
    /// over.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn claim(
        &self,
        webhook: WebhookId,
        (due_at, id): (Timestamp, DeliveryId),
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let key = waiting_key(webhook, id);
        let stands = place(webhook, due_at, id);
        let stored = WAITING.get(&*self.store, &key).await?;
        let Some(stored) = stored.filter(|stored| stored.value.due_at == Some(due_at)) else {
            // The place of a delivery that was settled or forgotten.
            let batch = Batch::new(key.partition()).delete(&stands);
            return match self.store.commit(&batch).await? {
                Outcome::Committed | Outcome::Conflict => Ok(None),
            };
        };
        let mut leased = stored.value;
        leased.due_at = Some(self.clock.now().saturating_add(lease));
        let batch = Batch::new(key.partition())
            .at_version(&key, stored.version)
            .delete(&stands);
        let batch = wait(batch, &leased);
        Ok(match self.store.commit(&batch).await? {
            Outcome::Conflict => None,
            Outcome::Committed => Some(Claim {
                delivery: leased.clone(),
                stored: Versioned {
                    value: leased,
                    version: batch.version(),
                },
            }),
        })
    }

    /// Notes what became of an attempt. `None` when the lease was over, and somebody else has the delivery.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn settle(
        &self,
        webhook: &Webhook,
        claim: Claim,
        attempt: &Attempt,
        jitter: f64,
    ) -> Result<Option<Settled>, StoreError> {
        let now = self.clock.now();
        let Claim {
            mut delivery,
            stored,
        } = claim;
        let retries = Retries {
            most: webhook.max_retries,
            backoff_base: webhook.retry_backoff_base,
        };
        delivery.settle(attempt, retries, now, jitter);
        let is_gone = matches!(attempt.verdict, Verdict::Gone);
        let key = waiting_key(webhook.id, delivery.id);
        for _ in 0..MAX_ATTEMPTS {
            let batch = Batch::new(key.partition()).at_version(&key, stored.version);
            let batch = match stored.value.due_at {
                Some(due_at) => batch.delete(&place(webhook.id, due_at, delivery.id)),
                None => batch,
            };
            let (batch, disabled) = match delivery.status.is_final() {
                false => (wait(batch, &delivery), false),
                true => {
                    let batch = remember(batch.delete(&key), &delivery);
                    let batch = count_waiting(batch, webhook.id, -1);
                    self.judge(batch, webhook.id, delivery.status, is_gone, now)
                        .await?
                }
            };
            if self.store.commit(&batch).await? == Outcome::Committed {
                return Ok(Some(Settled {
                    status: delivery.status,
                    disabled,
                }));
            }
            let current = WAITING.get(&*self.store, &key).await?;
            if current.is_none_or(|current| current.version != stored.version) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Adds to `batch` what the end of a delivery says about its receiver: a success forgets all failures, a run of
    /// failures disables the webhook. Says whether it does.
    async fn judge(
        &self,
        batch: Batch,
        id: WebhookId,
        status: Status,
        is_gone: bool,
        now: Timestamp,
    ) -> Result<(Batch, bool), StoreError> {
        let key = health_key(id);
        let stored = HEALTH.get(&*self.store, &key).await?;
        let fails = stored
            .as_ref()
            .map_or(0, |health| health.value.consecutive_fails);
        if status == Status::Delivered {
            return Ok(match stored {
                Some(_) => (batch.delete(&key), false),
                None => (batch, false),
            });
        }
        let consecutive_fails = fails.saturating_add(1);
        let health = HEALTH.encode(&Health { consecutive_fails });
        let batch = match stored {
            Some(stored) => batch.at_version(&key, stored.version),
            None => batch.absent(&key),
        };
        let batch = batch.put(&key, health);
        if !is_gone && consecutive_fails < DISABLED_AFTER {
            return Ok((batch, false));
        }
        let record = record_key(id);
        let webhook = WEBHOOKS.get(&*self.store, &record).await?;
        let Some(webhook) = webhook.filter(|webhook| webhook.value.is_active) else {
            return Ok((batch, false));
        };
        let mut disabled = webhook.value;
        disabled.is_active = false;
        disabled.updated_at = now;
        let fact = Fact::webhook(Action::WebhookDisabled, &disabled).because(match is_gone {
            true => "its receiver answered that it is gone",
            false => "its receiver took none of its last deliveries",
        });
        let batch = batch
            .at_version(&record, webhook.version)
            .put(&record, WEBHOOKS.encode(&disabled));
        Ok((event::record(batch, fact, &By::SYSTEM, now), true))
    }
}

fn given_up(mut delivery: Delivery) -> Delivery {
    delivery.status = Status::Dead;
    delivery.due_at = None;
    "too many deliveries wait for this webhook".clone_into(&mut delivery.last_error);
    delivery
}

fn creation(webhook: WebhookId, deliveries: &[Delivery]) -> Batch {
    let mut batch = Batch::new(webhook.partition());
    for delivery in deliveries {
        batch = batch.absent(&waiting_key(webhook, delivery.id));
        batch = match delivery.status.is_final() {
            true => remember(batch, delivery),
            false => {
                let batch = batch.absent(&history_key(webhook, delivery.id));
                count_waiting(wait(batch, delivery), webhook, 1)
            }
        };
    }
    batch
}

/// Adds to `batch`: the delivery waits, and stands in the queue.
pub(super) fn wait(batch: Batch, delivery: &Delivery) -> Batch {
    let Delivery { id, webhook_id, .. } = *delivery;
    let batch = batch.put(&waiting_key(webhook_id, id), WAITING.encode(delivery));
    match delivery.due_at {
        Some(due_at) => batch.put(&place(webhook_id, due_at, id), Bytes::new()),
        None => batch,
    }
}

/// Adds to `batch`: so many more wait.
pub(super) fn count_waiting(batch: Batch, webhook: WebhookId, n: i64) -> Batch {
    batch.add(&count_key(webhook), n)
}

pub(super) fn waiting_key(webhook: WebhookId, id: DeliveryId) -> Key {
    WAITING.key(webhook.partition()).with(webhook).with(id)
}

pub(super) fn count_key(webhook: WebhookId) -> Key {
    webhook.partition().key(COUNT).with(webhook)
}

pub(super) fn queue(webhook: WebhookId) -> Key {
    webhook.partition().key(QUEUE).with(webhook)
}

pub(super) fn place(webhook: WebhookId, due_at: Timestamp, id: DeliveryId) -> Key {
    queue(webhook).with(due_at.as_millis()).with(id)
}

fn parse_place(key: &Key) -> Option<(Timestamp, DeliveryId)> {
    let mut parts = key.path().rsplit('/');
    let id = parts.next()?.parse().ok()?;
    let due_at = parts.next()?.parse().ok()?;
    Some((Timestamp::from_millis(due_at), id))
}
