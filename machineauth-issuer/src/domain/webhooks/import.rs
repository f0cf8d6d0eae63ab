//! Taking over webhooks of another server, with the secrets that their receivers already have.

use machineauth_core::clock::Timestamp;

use super::webhook::NewWebhook;
use super::{WEBHOOKS, WebhookError, Webhooks, record_key};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::WebhookId;
use crate::domain::secret::SecretText;
use crate::store::Outcome;

/// A webhook as another server has it.
#[derive(Debug, Clone)]
pub struct BroughtWebhook {
    /// Names it. It falls into the partition of its organization.
    pub id: WebhookId,
    /// Whose it is, and what is set.
    pub new: NewWebhook,
    /// What signs its deliveries. Without one it gets a new one, which nobody has seen until it is rotated.
    pub secret: Option<SecretText>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When somebody last tried it.
    pub last_tested_at: Option<Timestamp>,
}

impl Webhooks {
    /// Takes over a webhook. It is told of nothing that was before.
    ///
    /// # Errors
    /// [`WebhookError::Invalid`] names the field that cannot be accepted; [`WebhookError::Contended`] also when its
    /// identifier is taken.
    pub async fn import(&self, brought: BroughtWebhook, by: &By) -> Result<(), WebhookError> {
        let BroughtWebhook { id, new, .. } = brought;
        self.accepts(&new)?;
        let now = self.clock.now();
        let batch = self.belonging(&new, id).await?;
        let mut webhook = self.made_from(id, new, brought.created_at)?;
        webhook.updated_at = brought.updated_at;
        webhook.imported_at = Some(now);
        webhook.last_tested_at = brought.last_tested_at;
        match &brought.secret {
            Some(secret) => self.seal_into(&mut webhook, secret, now),
            None => {
                self.add_secret(&mut webhook, now);
            }
        }
        let key = record_key(id);
        let batch = batch.absent(&key).put(&key, WEBHOOKS.encode(&webhook));
        let fact = Fact::webhook(Action::WebhookCreated, &webhook).imported();
        let batch = event::record(batch, fact, by, now);
        match self.store.commit(&batch).await? {
            Outcome::Committed => {
                self.remembered.forget();
                Ok(())
            }
            Outcome::Conflict => Err(WebhookError::Contended),
        }
    }
}
