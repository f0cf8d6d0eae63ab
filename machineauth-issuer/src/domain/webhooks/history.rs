//! Deliveries that are over: listing them, asking for them again, and forgetting them by age and by number.

use machineauth_core::clock::Timestamp;

use super::delivery::{Delivery, Status};
use super::queue::{WAITING, count_waiting, place, waiting_key};
use super::webhook::Webhook;
use super::{MAX_ATTEMPTS, WebhookError, Webhooks};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{DeliveryId, WebhookId};
use crate::store::{Batch, Key, Outcome, Partition, StoreError, Table, Versioned};

const HISTORY: Table<Delivery> = Table::new("webhook_history", 1);
/// How many deliveries are remembered, in a counter beside them.
const REMEMBERED: &str = "webhook_remembered";
/// How many of those were given up.
const GIVEN_UP: &str = "webhook_given_up";
/// Deliveries that are forgotten in one step, so that no commit waits long behind it.
const FORGOTTEN_PER_STEP: usize = 200;
/// Steps in one go, for each webhook.
const STEPS: usize = 20;
/// How many deliveries are read at once, and looked at in all, for those that stand where it is asked for.
const READ_AT_ONCE: usize = 250;
const LOOKED_AT: usize = 5_000;

impl Webhooks {
    /// The delivery `id` to a webhook.
    ///
    /// # Errors
    /// [`WebhookError::NoSuchDelivery`], or the store's failure.
    pub async fn delivery(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Delivery, WebhookError> {
        let found = self.anywhere(webhook, id).await?;
        Ok(found.ok_or(WebhookError::NoSuchDelivery)?.value)
    }

    /// A delivery, whether it waits or is over.
    async fn anywhere(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<Versioned<Delivery>>, StoreError> {
        let waiting = WAITING.get(&*self.store, &waiting_key(webhook, id)).await?;
        match waiting {
            Some(waiting) => Ok(Some(waiting)),
            None => HISTORY.get(&*self.store, &history_key(webhook, id)).await,
        }
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
        let mut found = Vec::new();
        for table in [&WAITING, &HISTORY] {
            let prefix = table.key(webhook.partition()).with(webhook);
            let before = before.map(|id| prefix.with(id));
            let rows = self.store.scan_back(&prefix, before.as_ref(), limit);
            for (_, entry) in rows.await? {
                found.push(table.decode(&entry.value)?);
            }
        }
        // One that moved from the one to the other in between is in both.
        found.sort_by_key(|delivery| std::cmp::Reverse(delivery.id));
        found.dedup_by_key(|delivery| delivery.id);
        found.truncate(limit);
        Ok(found)
    }

    /// As [`Webhooks::deliveries`], those that stand at `status`, and where they go on. Where few stand there, it is looked
    /// at a bounded number of others, and the answer may hold fewer than `limit`, or none.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn deliveries_at(
        &self,
        webhook: WebhookId,
        status: Option<Status>,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Result<(Vec<Delivery>, Option<DeliveryId>), StoreError> {
        let (mut found, mut before, mut looked_at) = (Vec::new(), before, 0);
        let step = match status {
            None => limit + 1,
            Some(_) => READ_AT_ONCE,
        };
        while looked_at < LOOKED_AT {
            let some = self.deliveries(webhook, before, step).await?;
            let is_last = some.len() < step;
            looked_at += some.len();
            for delivery in some {
                let is_wanted = status.is_none_or(|status| delivery.status == status);
                if is_wanted && found.len() == limit {
                    return Ok((found, before));
                }
                before = Some(delivery.id);
                found.extend(is_wanted.then_some(delivery));
            }
            if is_last {
                return Ok((found, None));
            }
        }
        Ok((found, before))
    }

    /// Keeps a delivery that is over: a test, which was sent at once.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn keep(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let batch = Batch::new(delivery.webhook_id.partition());
        match self.store.commit(&remember(batch, delivery)).await? {
            Outcome::Committed | Outcome::Conflict => {}
        }
        self.leave_nothing_behind(delivery.webhook_id).await
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
        self.put_back(webhook, id, |batch, _| batch).await
    }

    /// As [`Webhooks::ask_again`], because somebody asked for this one.
    ///
    /// # Errors
    /// As [`Webhooks::ask_again`].
    pub async fn replay_one(
        &self,
        webhook: &Webhook,
        id: DeliveryId,
        by: &By,
    ) -> Result<Delivery, WebhookError> {
        let replayed =
            Fact::webhook(Action::WebhookReplayed, webhook).with("delivery_id", id.to_string());
        self.put_back(webhook.id, id, |batch, now| {
            event::record(batch, replayed.clone(), by, now)
        })
        .await
    }

    /// Lets a delivery wait anew, in one commit with what `add` adds.
    async fn put_back(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
        add: impl Fn(Batch, Timestamp) -> Batch,
    ) -> Result<Delivery, WebhookError> {
        let (waits, over) = (waiting_key(webhook, id), history_key(webhook, id));
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.anywhere(webhook, id).await?;
            let stored = stored.ok_or(WebhookError::NoSuchDelivery)?;
            let now = self.clock.now();
            let mut delivery = stored.value.clone();
            delivery.ask_again(now);
            let batch = Batch::new(webhook.partition());
            let batch = match stored.value.due_at {
                Some(due_at) => batch
                    .at_version(&waits, stored.version)
                    .delete(&place(webhook, due_at, id)),
                None => {
                    let batch = batch.absent(&waits).at_version(&over, stored.version);
                    count_waiting(forget(batch, &stored.value), webhook, 1)
                }
            };
            let batch = add(super::queue::wait(batch, &delivery), now);
            if self.store.commit(&batch).await? == Outcome::Committed {
                return Ok(delivery);
            }
        }
        Err(WebhookError::Contended)
    }

    /// How many deliveries to a webhook are remembered, and how many of those were given up.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn remembered(&self, webhook: WebhookId) -> Result<(i64, i64), StoreError> {
        let keys = [REMEMBERED, GIVEN_UP].map(|name| counter_key(name, webhook));
        let counts = self.store.counts(&keys).await?;
        let count = |at: usize| counts.get(at).copied().unwrap_or(0);
        Ok((count(0), count(1)))
    }

    /// Forgets deliveries to the webhooks of `partition` that are over, the oldest first: those that are too old, and
    /// those that are too many. What is too old and waits for a webhook that is not active goes with them.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn trim(&self, partition: Partition) -> Result<(), StoreError> {
        for webhook in self.in_partition(partition).await? {
            for _ in 0..STEPS {
                if !self.trim_history(webhook.value.id).await? {
                    break;
                }
            }
            for _ in 0..STEPS {
                if !self.trim_abandoned(&webhook.value).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Says whether there may be more to do.
    async fn trim_history(&self, webhook: WebhookId) -> Result<bool, StoreError> {
        let (remembered, _) = self.remembered(webhook).await?;
        let surplus = remembered.saturating_sub(self.policy.keep_deliveries.into());
        let surplus = usize::try_from(surplus).unwrap_or(0);
        let prefix = HISTORY.key(webhook.partition()).with(webhook);
        let oldest = HISTORY.scan(&*self.store, &prefix, None, FORGOTTEN_PER_STEP);
        let oldest = oldest.await?;
        let mut batch = Batch::new(webhook.partition());
        let mut forgotten = 0;
        for (at, (key, stored)) in oldest.iter().enumerate() {
            let delivery = &stored.value;
            let over_since = delivery.last_attempt_at.unwrap_or(delivery.created_at);
            if at < surplus || self.is_too_old(over_since) {
                // Somebody may be asking for it again.
                batch = forget(batch.at_version(key, stored.version), delivery);
                forgotten += 1;
            }
        }
        self.commit_step(&batch, forgotten).await
    }

    async fn trim_abandoned(&self, webhook: &Webhook) -> Result<bool, StoreError> {
        if webhook.is_active {
            return Ok(false);
        }
        let prefix = WAITING.key(webhook.id.partition()).with(webhook.id);
        let oldest = WAITING.scan(&*self.store, &prefix, None, FORGOTTEN_PER_STEP);
        let oldest = oldest.await?;
        let mut batch = Batch::new(webhook.id.partition());
        let mut forgotten = 0;
        for (key, stored) in &oldest {
            let delivery = &stored.value;
            let Some(due_at) = delivery.due_at else {
                continue;
            };
            if self.is_too_old(delivery.created_at.max(due_at)) {
                batch = batch
                    .at_version(key, stored.version)
                    .delete(key)
                    .delete(&place(webhook.id, due_at, delivery.id));
                batch = count_waiting(batch, webhook.id, -1);
                forgotten += 1;
            }
        }
        self.commit_step(&batch, forgotten).await
    }

    async fn commit_step(&self, batch: &Batch, forgotten: usize) -> Result<bool, StoreError> {
        if forgotten == 0 {
            return Ok(false);
        }
        let outcome = self.store.commit(batch).await?;
        Ok(outcome == Outcome::Committed && forgotten == FORGOTTEN_PER_STEP)
    }

    fn is_too_old(&self, since: Timestamp) -> bool {
        since.saturating_add(self.policy.keep) <= self.clock.now()
    }
}

/// Adds to `batch`: the delivery is over.
pub(super) fn remember(batch: Batch, delivery: &Delivery) -> Batch {
    let key = history_key(delivery.webhook_id, delivery.id);
    let batch = batch
        .absent(&key)
        .put(&key, HISTORY.encode(delivery))
        .add(&counter_key(REMEMBERED, delivery.webhook_id), 1);
    count_given_up(batch, delivery, 1)
}

/// Adds to `batch`: nobody knows any more that the delivery is over.
fn forget(batch: Batch, delivery: &Delivery) -> Batch {
    let batch = batch
        .delete(&history_key(delivery.webhook_id, delivery.id))
        .add(&counter_key(REMEMBERED, delivery.webhook_id), -1);
    count_given_up(batch, delivery, -1)
}

fn count_given_up(batch: Batch, delivery: &Delivery, n: i64) -> Batch {
    match delivery.status {
        Status::Failed | Status::Dead => batch.add(&counter_key(GIVEN_UP, delivery.webhook_id), n),
        Status::Pending | Status::Retrying | Status::Delivered => batch,
    }
}

/// Everything that is known of deliveries to `webhook` that are over.
pub(super) fn history(webhook: WebhookId) -> Key {
    HISTORY.key(webhook.partition()).with(webhook)
}

/// The counters beside it.
pub(super) fn counters(webhook: WebhookId) -> [Key; 2] {
    [REMEMBERED, GIVEN_UP].map(|name| counter_key(name, webhook))
}

pub(super) fn history_key(webhook: WebhookId, id: DeliveryId) -> Key {
    history(webhook).with(id)
}

fn counter_key(name: &'static str, webhook: WebhookId) -> Key {
    webhook.partition().key(name).with(webhook)
}
