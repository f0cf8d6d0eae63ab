//! The webhooks of this server: creating, finding, changing and deleting them, and what is on its way to them.
//!
//! A webhook of an organization lives in that organization's partition, one of the server in its own; everything on its
//! way to it lives beside it.

mod delivery;
mod history;
mod import;
mod overview;
mod queue;
mod removal;
mod secrets;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use machineauth_core::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::delivery::{Attempt, Delivery, Retries, Status, Verdict};
pub use self::import::BroughtWebhook;
pub use self::overview::{Backlog, Overview, Remembered, Standing};
pub use self::queue::{Claim, Settled};
pub use self::secrets::{DEFAULT_GRACE, LONGEST_GRACE};
pub use self::webhook::{
    DEFAULT_BACKOFF_BASE, Format, InvalidWebhook, MAX_BACKOFF_BASE, MAX_RETRIES, NewWebhook,
    SealedSecret, Subscription, TokenEvents, Webhook, WebhookChange, WebhookUrl,
};
use super::event::{self, Action, By, Fact};
use super::id::{OrganizationId, TeamId, WebhookId};
use super::organizations;
use super::secret::SecretText;
use super::teams;
use super::vault::Vault;
use crate::store::{
    Batch, DynStore, Key, Log, Outcome, Partition, StoreError, Table, Version, Versioned,
};

const WEBHOOKS: Table<Webhook> = Table::new("webhook", 1);
const HEALTH: Table<Health> = Table::new("webhook_health", 1);

/// The most webhooks that one organization can have, and the server itself.
pub const MAX_WEBHOOKS: usize = 100;
/// How many deliveries in a row that nobody took disable a webhook.
pub const DISABLED_AFTER: u32 = 10;
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
    /// How many of them, for each webhook.
    pub keep_deliveries: u32,
    /// How many deliveries wait for one webhook.
    pub max_waiting: u32,
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
    /// How all of them stood lately.
    pub remembered: Remembered,
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
        self.accepts(&new)?;
        let now = self.clock.now();
        let id = match new.organization_id {
            Some(organization) => WebhookId::random_in(organization.partition()),
            None => WebhookId::random(),
        };
        let batch = self.belonging(&new, id).await?;
        let mut webhook = self.made_from(id, new, now)?;
        webhook.began_behind = Some(self.log_lengths().await?);
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
                self.remembered.forget();
                let version = batch.version();
                let value = webhook;
                Ok((Versioned { value, version }, secret))
            }
        }
    }

    /// How many entries the audit logs have had so far, by the number of the partition.
    async fn log_lengths(&self) -> Result<BTreeMap<u8, u64>, StoreError> {
        let lengths = Partition::all().map(|partition| async move {
            let head = self.store.head(partition, Log::Audit).await?;
            Ok::<_, StoreError>((partition.number(), head.sequence()))
        });
        Ok(try_join_all(lengths).await?.into_iter().collect())
    }

    /// Whether a webhook can be made from this.
    ///
    /// # Errors
    /// Names the field that cannot be accepted.
    pub fn accepts(&self, new: &NewWebhook) -> Result<(), InvalidWebhook> {
        new.validate()?;
        new.profile
            .url
            .as_ref()
            .map_or(Ok(()), |url| self.permit(url))
    }

    /// A batch that insists on whom the webhook `id` will belong to, if there is room for one more there.
    async fn belonging(&self, new: &NewWebhook, id: WebhookId) -> Result<Batch, WebhookError> {
        if self.beside(new.organization_id).await?.len() >= MAX_WEBHOOKS {
            return Err(WebhookError::TooMany);
        }
        let Some(organization) = new.organization_id else {
            return match new.team_id {
                Some(_) => Err(WebhookError::NoSuchTeam),
                None => Ok(Batch::new(id.partition())),
            };
        };
        let stored = organizations::read(&*self.store, organization).await?;
        let stored = stored.ok_or(WebhookError::NoSuchOrganization)?;
        let batch = organizations::unchanged(Batch::new(organization.partition()), &stored);
        match new.team_id {
            None => Ok(batch),
            Some(team) => {
                let team = teams::read(&*self.store, organization, team).await?;
                Ok(teams::unchanged(
                    batch,
                    &team.ok_or(WebhookError::NoSuchTeam)?,
                ))
            }
        }
    }

    /// The record of a new webhook, not yet with a secret.
    fn made_from(
        &self,
        id: WebhookId,
        new: NewWebhook,
        now: Timestamp,
    ) -> Result<Webhook, InvalidWebhook> {
        let profile = new.profile;
        let mut webhook = Webhook {
            id,
            organization_id: new.organization_id,
            team_id: new.team_id,
            name: profile.name.clone().ok_or(InvalidWebhook::Name)?,
            url: profile.url.clone().ok_or(InvalidWebhook::Url)?,
            events: profile.events.clone().ok_or(InvalidWebhook::Events)?,
            is_active: true,
            max_retries: self.policy.max_retries,
            retry_backoff_base: DEFAULT_BACKOFF_BASE,
            format: Format::default(),
            token_events: None,
            secrets: Vec::new(),
            created_at: now,
            began_behind: None,
            updated_at: now,
            imported_at: None,
            last_tested_at: None,
        };
        profile.apply(&mut webhook);
        Ok(webhook)
    }

    /// The webhooks of an organization, or those of the server.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn beside(
        &self,
        organization: Option<OrganizationId>,
    ) -> Result<Vec<StoredWebhook>, StoreError> {
        let mut found = match organization {
            Some(organization) => self.in_partition(organization.partition()).await?,
            None => self.all().await?,
        };
        found.retain(|stored| stored.value.organization_id == organization);
        Ok(found)
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
        let mut found = self.beside(Some(organization)).await?;
        found.retain(|stored| team.is_none() || stored.value.team_id == team);
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
            self.permit(&webhook.url)?;
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

    fn permit(&self, url: &WebhookUrl) -> Result<(), InvalidWebhook> {
        match self.policy.https_only && !url.is_https() {
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
                self.remembered.forget();
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
