//! What is on its way to webhooks: creating deliveries, claiming those that are due, settling them.
//!
//! A delivery that is not over stands in its webhook's queue under the time at which it is due. Whoever delivers it first
//! claims it: in one batch it moves to the end of a lease, so that it comes up again should its deliverer die. Nobody
//! else can claim it meanwhile, since the batch insists on the record's version.

use std::time::Duration;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;

use super::delivery::{Attempt, Delivery, Retries, Status, Verdict};
use super::webhook::Webhook;
use super::{
    DISABLED_AFTER, HEALTH, Health, MAX_ATTEMPTS, WEBHOOKS, WebhookError, Webhooks, health_key,
    record_key,
};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{DeliveryId, WebhookId};
use crate::store::{Batch, Key, Outcome, StoreError, Table, Versioned};

const DELIVERIES: Table<Delivery> = Table::new("webhook_delivery", 1);
const QUEUE: &str = "webhook_queue";
/// How many deliveries are not over, in a counter beside the queue.
const WAITING: &str = "webhook_waiting";

/// The most deliveries that wait for one webhook; what comes after that is given up at once, and can be asked for again.
pub const MAX_WAITING: i64 = 100_000;
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
    /// how many were.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn enqueue(
        &self,
        webhook: WebhookId,
        deliveries: Vec<Delivery>,
    ) -> Result<usize, StoreError> {
        let waiting = self.waiting(webhook).await?;
        let room = usize::try_from(MAX_WAITING - waiting).unwrap_or(0);
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
            match self.store.commit(&self.creation(webhook, some)).await? {
                Outcome::Committed => created += some.len(),
                // One of them was created before, by somebody who died or was faster: each has its own try.
                Outcome::Conflict => {
                    for one in some {
                        let alone = self.creation(webhook, std::slice::from_ref(one));
                        if self.store.commit(&alone).await? == Outcome::Committed {
                            created += 1;
                        }
                    }
                }
            }
        }
        Ok(created)
    }

    fn creation(&self, webhook: WebhookId, deliveries: &[Delivery]) -> Batch {
        let mut batch = Batch::new(webhook.partition());
        for delivery in deliveries {
            batch = batch.absent(&delivery_key(webhook, delivery.id));
        }
        let mut waiting = 0;
        for delivery in deliveries {
            batch = self.put(batch, delivery);
            waiting += i64::from(!delivery.status.is_final());
        }
        batch.add(&waiting_key(webhook), waiting)
    }

    /// Adds to `batch`: the record, and its place in the queue. What is over is forgotten after a while.
    fn put(&self, batch: Batch, delivery: &Delivery) -> Batch {
        let key = delivery_key(delivery.webhook_id, delivery.id);
        let record = DELIVERIES.encode(delivery);
        match delivery.due_at {
            Some(due_at) => batch.put(&key, record).put(
                &place(delivery.webhook_id, due_at, delivery.id),
                Bytes::new(),
            ),
            None => {
                let end = self.clock.now().saturating_add(self.policy.keep);
                batch.put_until(&key, record, end)
            }
        }
    }

    /// How many deliveries wait for a webhook.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn waiting(&self, webhook: WebhookId) -> Result<i64, StoreError> {
        let counts = self.store.counts(&[waiting_key(webhook)]).await?;
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
        let key = delivery_key(webhook, id);
        let stands = place(webhook, due_at, id);
        let stored = DELIVERIES.get(&*self.store, &key).await?;
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
        let batch = self.put(batch, &leased);
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
        let key = delivery_key(webhook.id, delivery.id);
        for _ in 0..MAX_ATTEMPTS {
            let batch = Batch::new(key.partition()).at_version(&key, stored.version);
            let batch = match stored.value.due_at {
                Some(due_at) => batch.delete(&place(webhook.id, due_at, delivery.id)),
                None => batch,
            };
            let batch = self.put(batch, &delivery);
            let (batch, disabled) = match delivery.status.is_final() {
                false => (batch, false),
                true => {
                    let batch = batch.add(&waiting_key(webhook.id), -1);
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
            let current = DELIVERIES.get(&*self.store, &key).await?;
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

    /// The delivery `id` to a webhook.
    ///
    /// # Errors
    /// [`WebhookError::NoSuchDelivery`], or the store's failure.
    pub async fn delivery(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Delivery, WebhookError> {
        let stored = DELIVERIES
            .get(&*self.store, &delivery_key(webhook, id))
            .await?;
        Ok(stored.ok_or(WebhookError::NoSuchDelivery)?.value)
    }

    /// Up to `limit` deliveries to a webhook before the delivery `before`, the newest first.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let prefix = DELIVERIES.key(webhook.partition()).with(webhook);
        let before = before.map(|id| delivery_key(webhook, id));
        let rows = self
            .store
            .scan_back(&prefix, before.as_ref(), limit)
            .await?;
        rows.iter()
            .map(|(_, entry)| DELIVERIES.decode(&entry.value))
            .collect()
    }

    /// Keeps a delivery that is over: a test, which was sent at once.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn keep(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let batch = self.put(Batch::new(delivery.webhook_id.partition()), delivery);
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }

    /// Asks for a delivery again: it is sent as soon as possible, as if it had never been tried.
    ///
    /// # Errors
    /// [`WebhookError::NoSuchDelivery`], [`WebhookError::Contended`], or the store's failure.
    pub async fn ask_again(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Delivery, WebhookError> {
        let key = delivery_key(webhook, id);
        for _ in 0..MAX_ATTEMPTS {
            let stored = DELIVERIES.get(&*self.store, &key).await?;
            let stored = stored.ok_or(WebhookError::NoSuchDelivery)?;
            let mut delivery = stored.value.clone();
            delivery.ask_again(self.clock.now());
            let batch = Batch::new(key.partition()).at_version(&key, stored.version);
            let batch = match stored.value.due_at {
                Some(due_at) => batch.delete(&place(webhook, due_at, id)),
                None => batch.add(&waiting_key(webhook), 1),
            };
            let batch = self.put(batch, &delivery);
            if self.store.commit(&batch).await? == Outcome::Committed {
                return Ok(delivery);
            }
        }
        Err(WebhookError::Contended)
    }

    /// Deletes up to `limit` records and places of a deleted webhook. Says whether none is left.
    pub(super) async fn delete_deliveries_of(
        &self,
        webhook: WebhookId,
        limit: usize,
    ) -> Result<bool, StoreError> {
        let records = DELIVERIES.key(webhook.partition()).with(webhook);
        let mut batch = Batch::new(webhook.partition());
        let mut is_done = true;
        for prefix in [queue(webhook), records] {
            let rows = self.store.scan(&prefix, None, limit).await?;
            is_done &= rows.len() < limit;
            for (key, _) in rows {
                batch = batch.delete(&key);
            }
        }
        let batch = batch.delete(&waiting_key(webhook));
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(is_done),
        }
    }
}

fn given_up(mut delivery: Delivery) -> Delivery {
    delivery.status = Status::Dead;
    delivery.due_at = None;
    "too many deliveries wait for this webhook".clone_into(&mut delivery.last_error);
    delivery
}

fn delivery_key(webhook: WebhookId, id: DeliveryId) -> Key {
    DELIVERIES.key(webhook.partition()).with(webhook).with(id)
}

fn waiting_key(webhook: WebhookId) -> Key {
    webhook.partition().key(WAITING).with(webhook)
}

fn queue(webhook: WebhookId) -> Key {
    webhook.partition().key(QUEUE).with(webhook)
}

fn place(webhook: WebhookId, due_at: Timestamp, id: DeliveryId) -> Key {
    queue(webhook).with(due_at.as_millis()).with(id)
}

fn parse_place(key: &Key) -> Option<(Timestamp, DeliveryId)> {
    let mut parts = key.path().rsplit('/');
    let id = parts.next()?.parse().ok()?;
    let due_at = parts.next()?.parse().ok()?;
    Some((Timestamp::from_millis(due_at), id))
}
