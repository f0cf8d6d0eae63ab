//! What signs deliveries to a webhook: sealed in its record, two at once during the grace of a rotation.

use std::time::Duration;

use machineauth_core::clock::Timestamp;

use super::webhook::{self, SealedSecret, Webhook};
use super::{WebhookError, Webhooks, record_key};
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::WebhookId;
use crate::domain::secret::SecretText;
use crate::store::StoreError;

/// The longest time that a replaced signing secret can go on signing: 30 days.
pub const LONGEST_GRACE: Duration = Duration::from_secs(30 * 86_400);
/// How long a replaced signing secret goes on signing when nobody says: a day.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(86_400);
/// How many signing secrets live at the same time.
const MAX_SECRETS: usize = 2;

impl Webhooks {
    /// Makes a new signing secret; the one before signs as well for `grace`. The text is returned here and never again.
    ///
    /// # Errors
    /// [`WebhookError::Grace`], [`WebhookError::NotFound`], or the store's failure.
    pub async fn rotate_secret(
        &self,
        id: WebhookId,
        grace: Duration,
        by: &By,
    ) -> Result<SecretText, WebhookError> {
        if grace > LONGEST_GRACE {
            return Err(WebhookError::Grace);
        }
        self.change(id, None, |webhook, batch, now| {
            let end = now.saturating_add(grace);
            webhook
                .secrets
                .retain(|secret| !grace.is_zero() && secret.expires_at.is_none_or(|end| now < end));
            let older = webhook.secrets.len().saturating_sub(MAX_SECRETS - 1);
            webhook.secrets.drain(..older);
            for secret in &mut webhook.secrets {
                secret.expires_at = Some(secret.expires_at.map_or(end, |earlier| earlier.min(end)));
            }
            let secret = self.add_secret(webhook, now);
            webhook.updated_at = now;
            let fact = Fact::webhook(Action::WebhookUpdated, webhook)
                .because("its signing secret was rotated");
            Ok((event::record(batch, fact, by, now), secret))
        })
        .await
        .map(|(_, secret)| secret)
    }

    /// The texts of the secrets that sign at `now`, the newest last.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for one that was not sealed here.
    pub fn signing_secrets(
        &self,
        webhook: &Webhook,
        now: Timestamp,
    ) -> Result<Vec<SecretText>, StoreError> {
        let row = record_key(webhook.id);
        webhook
            .live_secrets(now)
            .map(|secret| {
                let text = self.vault.open_sealed(&secret.sealed, &row);
                let text = text.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
                text.map(SecretText::from).ok_or(StoreError::Corrupt {
                    what: "a webhook's secret that was sealed for another store",
                })
            })
            .collect()
    }

    /// Gives the webhook a fresh secret, and shows it.
    pub(super) fn add_secret(&self, webhook: &mut Webhook, now: Timestamp) -> SecretText {
        let secret = webhook::generate_secret();
        self.seal_into(webhook, &secret, now);
        secret
    }

    pub(super) fn seal_into(&self, webhook: &mut Webhook, secret: &SecretText, now: Timestamp) {
        let text = secret.reveal().as_bytes();
        webhook.secrets.push(SealedSecret {
            sealed: self.vault.seal(text, &record_key(webhook.id)),
            created_at: now,
            expires_at: None,
        });
    }
}
