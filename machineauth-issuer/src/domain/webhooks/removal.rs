//! Deleting webhooks, with everything that was on its way to them.

use super::history::{counters, history};
use super::queue::{WAITING, count_key, queue};
use super::{MAX_ATTEMPTS, SCAN_PAGE, WebhookError, Webhooks, health_key, record_key};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{OrganizationId, WebhookId};
use crate::store::{Batch, Key, Outcome, Partition, StoreError, Table};

/// Webhooks that are gone, with deliveries of theirs that may still be there.
const DELETED: Table<()> = Table::new("deleted_webhook", 1);
/// Rows that are deleted in one step, of each kind, so that no commit waits long behind it.
const ROWS_PER_STEP: usize = 200;
/// Steps in one go; maintenance goes on.
const STEPS: usize = 20;

impl Webhooks {
    /// Deletes a webhook. Nothing is sent to it from now on; what was on its way is deleted in bounded steps.
    ///
    /// # Errors
    /// [`WebhookError::NotFound`], or the store's failure.
    pub async fn delete(&self, id: WebhookId, by: &By) -> Result<(), WebhookError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            let key = record_key(id);
            let now = self.clock.now();
            let batch = Batch::new(key.partition())
                .at_version(&key, stored.version)
                .delete(&key)
                .delete(&health_key(id))
                .put(&deleted_key(id), DELETED.encode(&()));
            let fact = Fact::webhook(Action::WebhookDeleted, &stored.value);
            let batch = event::record(batch, fact, by, now);
            if self.store.commit(&batch).await? == Outcome::Committed {
                self.remembered.forget();
                self.clean_up_after(id).await?;
                return Ok(());
            }
        }
        Err(WebhookError::Contended)
    }

    /// Deletes the webhooks of an organization that is gone.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete_all_of(
        &self,
        organization: OrganizationId,
        by: &By,
    ) -> Result<(), WebhookError> {
        for stored in self.of(organization, None).await? {
            match self.delete(stored.value.id, by).await {
                Ok(()) | Err(WebhookError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on deleting what was on its way to deleted webhooks of `partition`.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn clean_up(&self, partition: Partition) -> Result<(), StoreError> {
        let prefix = DELETED.key(partition);
        for (key, _) in DELETED.scan(&*self.store, &prefix, None, SCAN_PAGE).await? {
            if let Ok(id) = key.last_part().parse() {
                self.clean_up_after(id).await?;
            }
        }
        Ok(())
    }

    /// Sees to it that nothing stays of a webhook that was deleted while something was added.
    ///
    /// # Errors
    /// The store's failure.
    pub(super) async fn leave_nothing_behind(&self, id: WebhookId) -> Result<(), StoreError> {
        if self.store.get(&record_key(id)).await?.is_some() {
            return Ok(());
        }
        let key = deleted_key(id);
        let batch = Batch::new(key.partition()).put(&key, DELETED.encode(&()));
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => self.clean_up_after(id).await,
        }
    }

    async fn clean_up_after(&self, id: WebhookId) -> Result<(), StoreError> {
        for _ in 0..STEPS {
            if self.clean_up_step(id).await? {
                break;
            }
        }
        Ok(())
    }

    /// Says whether nothing is left.
    async fn clean_up_step(&self, id: WebhookId) -> Result<bool, StoreError> {
        let mut batch = Batch::new(id.partition());
        let mut is_done = true;
        let waiting = WAITING.key(id.partition()).with(id);
        for prefix in [queue(id), waiting, history(id)] {
            let rows = self.store.scan(&prefix, None, ROWS_PER_STEP).await?;
            is_done &= rows.len() < ROWS_PER_STEP;
            for (key, _) in rows {
                batch = batch.delete(&key);
            }
        }
        if is_done {
            batch = batch.delete(&count_key(id)).delete(&deleted_key(id));
            for counter in counters(id) {
                batch = batch.delete(&counter);
            }
        }
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(is_done),
        }
    }
}

fn deleted_key(id: WebhookId) -> Key {
    DELETED.key(id.partition()).with(id)
}
