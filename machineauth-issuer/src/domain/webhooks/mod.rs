//! The webhooks of this server: creating, finding, changing and deleting them, and what is on its way to them.
//!
//! A webhook of an organization lives in that organization's partition, one of the server in its own; everything on its
//! way to it lives beside it.

mod delivery;
mod queue;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::delivery::{Attempt, Delivery, Retries, Status, Verdict};
pub use self::queue::{Claim, MAX_WAITING, Settled};
pub use self::webhook::{
    DEFAULT_BACKOFF_BASE, Format, InvalidWebhook, MAX_RETRIES, NewWebhook, SealedSecret,
    Subscription, TokenEvents, Webhook, WebhookChange, WebhookUrl,
};
use super::event::{self, Action, By, Fact};
use super::id::{OrganizationId, TeamId, WebhookId};
use super::organizations;
use super::secret::SecretText;
use super::teams;
use super::vault::Vault;
use crate::store::{
    Batch, DynStore, Key, Outcome, Partition, StoreError, Table, Version, Versioned,
};

const WEBHOOKS: Table<Webhook> = Table::new("webhook", 1);
const HEALTH: Table<Health> = Table::new("webhook_health", 1);
/// Webhooks that are gone, with deliveries of theirs that may still be there.
const DELETED: Table<()> = Table::new("deleted_webhook", 1);

/// The most webhooks that one organization can have, and the server itself.
pub const MAX_WEBHOOKS: usize = 100;
/// The longest time that a replaced signing secret can go on signing: 30 days.
pub const LONGEST_GRACE: Duration = Duration::from_secs(30 * 86_400);
/// How long a replaced signing secret goes on signing when nobody says: a day.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(86_400);
/// How many deliveries in a row that nobody took disable a webhook.
pub const DISABLED_AFTER: u32 = 10;
/// How many signing secrets live at the same time.
const MAX_SECRETS: usize = 2;
/// How often a write is tried again when somebody else's came first.
const MAX_ATTEMPTS: usize = 16;
const SCAN_PAGE: usize = 500;

/// A webhook's record with the version that a batch can insist on.
pub type StoredWebhook = Versioned<Webhook>;

/// How a webhook's receiver has been lately. Apart from the record, which somebody may be changing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Deliveries in a row that were given up.
    pub consecutive_fails: u32,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is no such webhook.
    #[error("there is no such webhook")]
    NotFound,
    /// There is no such delivery, or it was long ago.
    #[error("there is no such delivery")]
    NoSuchDelivery,
    /// The webhook would belong to an organization that does not exist.
    #[error("organization_id: there is no such organization")]
    NoSuchOrganization,
    /// The webhook would belong to a team that does not exist in its organization.
    #[error("team_id: the organization has no such team")]
    NoSuchTeam,
    /// The record would not be valid.
    #[error(transparent)]
    Invalid(#[from] InvalidWebhook),
    /// The grace of a rotation is longer than any can be.
    #[error("grace: at most {} seconds", LONGEST_GRACE.as_secs())]
    Grace,
    /// There are as many as there can be.
    #[error("there are at most {MAX_WEBHOOKS} webhooks of one organization, and of the server")]
    TooMany,
    /// The record is not at the version that the change was made for.
    #[error("the webhook has changed since; read it again")]
    Outdated,
    /// Too many others changed the same record at the same time.
    #[error("the webhook is being changed by many at once; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What webhooks get when nobody says, and what they may have.
#[derive(Debug, Clone, Copy)]
pub struct WebhookPolicy {
    /// How often a delivery is tried again.
    pub max_retries: u32,
    /// How they are told of tokens.
    pub token_events: TokenEvents,
    /// Whether deliveries must be encrypted.
    pub https_only: bool,
    /// How long deliveries that are over are remembered.
    pub keep: Duration,
}

/// All webhooks.
#[derive(Debug)]
pub struct Webhooks {
    /// Where they are.
    pub store: DynStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals their secrets.
    pub vault: Arc<Vault>,
    /// What they get.
    pub policy: WebhookPolicy,
}

impl Webhooks {
    /// Creates a webhook. The text of its signing secret is returned here and never again.
    ///
    /// # Errors
    /// [`WebhookError::Invalid`] names the field that cannot be accepted.
    pub async fn create(
        &self,
        new: NewWebhook,
        by: &By,
    ) -> Result<(StoredWebhook, SecretText), WebhookError> {
        new.validate()?;
        let now = self.clock.now();
        let (id, batch) = self.belonging(&new).await?;
        if self.count_beside(new.organization_id).await? >= MAX_WEBHOOKS {
            return Err(WebhookError::TooMany);
        }
        let (Some(name), Some(url), Some(events)) = (
            new.profile.name.clone(),
            new.profile.url.clone(),
            new.profile.events.clone(),
        ) else {
            return Err(InvalidWebhook::Name.into());
        };
        let mut webhook = Webhook {
            id,
            organization_id: new.organization_id,
            team_id: new.team_id,
            name,
            url,
            events,
            is_active: true,
            max_retries: self.policy.max_retries,
            retry_backoff_base: DEFAULT_BACKOFF_BASE,
            format: Format::default(),
            token_events: None,
            secrets: Vec::new(),
            created_at: now,
            updated_at: now,
            last_tested_at: None,
        };
        new.profile.apply(&mut webhook);
        self.permit(&webhook)?;
        let secret = self.add_secret(&mut webhook, now);
        let key = record_key(id);
        let batch = batch.absent(&key).put(&key, WEBHOOKS.encode(&webhook));
        let batch = event::record(
            batch,
            Fact::webhook(Action::WebhookCreated, &webhook),
            by,
            now,
        );
        match self.store.commit(&batch).await? {
            Outcome::Conflict => Err(WebhookError::Contended),
            Outcome::Committed => {
                let version = batch.version();
                let value = webhook;
                Ok((Versioned { value, version }, secret))
            }
        }
    }

    /// A new webhook's identifier, and a batch that insists on whom it will belong to.
    async fn belonging(&self, new: &NewWebhook) -> Result<(WebhookId, Batch), WebhookError> {
        let Some(organization) = new.organization_id else {
            return match new.team_id {
                Some(_) => Err(WebhookError::NoSuchTeam),
                None => {
                    let id = WebhookId::random();
                    Ok((id, Batch::new(id.partition())))
                }
            };
        };
        let home = organization.partition();
        let stored = organizations::read(&*self.store, organization).await?;
        let stored = stored.ok_or(WebhookError::NoSuchOrganization)?;
        let batch = organizations::unchanged(Batch::new(home), &stored);
        let batch = match new.team_id {
            None => batch,
            Some(team) => {
                let team = teams::read(&*self.store, organization, team).await?;
                teams::unchanged(batch, &team.ok_or(WebhookError::NoSuchTeam)?)
            }
        };
        Ok((WebhookId::random_in(home), batch))
    }

    async fn count_beside(
        &self,
        organization: Option<OrganizationId>,
    ) -> Result<usize, StoreError> {
        let all = match organization {
            Some(organization) => self.in_partition(organization.partition()).await?,
            None => self.all().await?,
        };
        let beside = all
            .iter()
            .filter(|stored| stored.value.organization_id == organization);
        Ok(beside.count())
    }

    /// The webhook named `id`.
    ///
    /// # Errors
    /// [`WebhookError::NotFound`], or the store's failure.
    pub async fn find(&self, id: WebhookId) -> Result<StoredWebhook, WebhookError> {
        WEBHOOKS
            .get(&*self.store, &record_key(id))
            .await?
            .ok_or(WebhookError::NotFound)
    }

    /// All webhooks, partition by partition.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn all(&self) -> Result<Vec<StoredWebhook>, StoreError> {
        let partitions = Partition::data().map(|partition| self.in_partition(partition));
        let all = futures_util::future::try_join_all(partitions).await?;
        Ok(all.into_iter().flatten().collect())
    }

    async fn in_partition(&self, partition: Partition) -> Result<Vec<StoredWebhook>, StoreError> {
        let prefix = WEBHOOKS.key(partition);
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let rows = WEBHOOKS
                .scan(&*self.store, &prefix, after.as_ref(), SCAN_PAGE)
                .await?;
            let exhausted = rows.len() < SCAN_PAGE;
            after = rows.last().map(|(key, _)| key.clone());
            found.extend(rows.into_iter().map(|(_, row)| row));
            if exhausted {
                return Ok(found);
            }
        }
    }

    /// The webhooks of an organization, and of a team in it where one is named.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn of(
        &self,
        organization: OrganizationId,
        team: Option<TeamId>,
    ) -> Result<Vec<StoredWebhook>, StoreError> {
        let mut found = self.in_partition(organization.partition()).await?;
        found.retain(|stored| {
            let webhook = &stored.value;
            webhook.organization_id == Some(organization)
                && (team.is_none() || webhook.team_id == team)
        });
        Ok(found)
    }

    /// How the receiver of a webhook has been lately.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn health(&self, id: WebhookId) -> Result<Health, StoreError> {
        let health = HEALTH.get(&*self.store, &health_key(id)).await?;
        Ok(health.map(|health| health.value).unwrap_or_default())
    }

    /// Changes a webhook, if `expected` is given only at that version.
    ///
    /// # Errors
    /// [`WebhookError::Invalid`] names the field; the version may be another.
    pub async fn update(
        &self,
        id: WebhookId,
        change: &WebhookChange,
        expected: Option<Version>,
        by: &By,
    ) -> Result<StoredWebhook, WebhookError> {
        change.validate()?;
        self.change(id, expected, |webhook, batch, now| {
            let before = webhook.clone();
            change.clone().apply(webhook);
            self.permit(webhook)?;
            webhook.updated_at = now;
            // Who turns it on again begins anew.
            let batch = match webhook.is_active && !before.is_active {
                true => batch.delete(&health_key(id)),
                false => batch,
            };
            let fact = Fact::webhook(Action::WebhookUpdated, webhook).changed(&before, webhook);
            Ok((event::record(batch, fact, by, now), ()))
        })
        .await
        .map(|(stored, ())| stored)
    }

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

    /// Notes that somebody tried the webhook.
    ///
    /// # Errors
    /// [`WebhookError::NotFound`], or the store's failure.
    pub async fn tested(&self, id: WebhookId, by: &By) -> Result<(), WebhookError> {
        self.change(id, None, |webhook, batch, now| {
            webhook.last_tested_at = Some(now);
            let fact = Fact::webhook(Action::WebhookTest, webhook);
            Ok((event::record(batch, fact, by, now), ()))
        })
        .await
        .map(|_| ())
    }

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

    async fn clean_up_after(&self, id: WebhookId) -> Result<(), StoreError> {
        if !self.delete_deliveries_of(id, SCAN_PAGE).await? {
            // There may be more: maintenance goes on.
            return Ok(());
        }
        let key = deleted_key(id);
        match self
            .store
            .commit(&Batch::new(key.partition()).delete(&key))
            .await?
        {
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
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

    fn add_secret(&self, webhook: &mut Webhook, now: Timestamp) -> SecretText {
        let secret = webhook::generate_secret();
        webhook.secrets.push(SealedSecret {
            sealed: self
                .vault
                .seal(secret.reveal().as_bytes(), &record_key(webhook.id)),
            created_at: now,
            expires_at: None,
        });
        secret
    }

    fn permit(&self, webhook: &Webhook) -> Result<(), InvalidWebhook> {
        match self.policy.https_only && !webhook.url.is_https() {
            true => Err(InvalidWebhook::HttpsRequired),
            false => Ok(()),
        }
    }

    /// Reads the record, lets `alter` change it and add to the batch, and writes it if nobody was faster.
    async fn change<T>(
        &self,
        id: WebhookId,
        expected: Option<Version>,
        alter: impl Fn(&mut Webhook, Batch, Timestamp) -> Result<(Batch, T), WebhookError>,
    ) -> Result<(StoredWebhook, T), WebhookError> {
        let key = record_key(id);
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            if expected.is_some_and(|expected| expected != stored.version) {
                return Err(WebhookError::Outdated);
            }
            let mut webhook = stored.value;
            let batch = Batch::new(key.partition()).at_version(&key, stored.version);
            let (batch, answer) = alter(&mut webhook, batch, self.clock.now())?;
            let batch = batch.put(&key, WEBHOOKS.encode(&webhook));
            if self.store.commit(&batch).await? == Outcome::Committed {
                let version = batch.version();
                let value = webhook;
                return Ok((Versioned { value, version }, answer));
            }
        }
        Err(WebhookError::Contended)
    }
}

fn record_key(id: WebhookId) -> Key {
    WEBHOOKS.key(id.partition()).with(id)
}

fn health_key(id: WebhookId) -> Key {
    HEALTH.key(id.partition()).with(id)
}

fn deleted_key(id: WebhookId) -> Key {
    DELETED.key(id.partition()).with(id)
}
