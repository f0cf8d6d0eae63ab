//! A webhook: whom to tell what happened, and how.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::random;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::domain::event::{Action, Event};
use crate::domain::id::{OrganizationId, TeamId, WebhookId};
use crate::domain::secret::SecretText;
use crate::domain::text;
use crate::store::{Partition, Position};

/// The most subscriptions of one webhook.
pub(super) const MAX_EVENTS: usize = 100;
/// The most retries that a webhook can ask for.
pub const MAX_RETRIES: u32 = 20;
/// The longest base of the back-off, in seconds.
pub const MAX_BACKOFF_BASE: u32 = 3_600;
/// The base of the back-off when nobody says, in seconds.
pub const DEFAULT_BACKOFF_BASE: u32 = 2;
const MAX_URL: usize = 2_048;
/// Everything that happens.
const ALL: &str = "*";
/// How signing secrets begin (Standard Webhooks 1.0.0).
const SECRET_PREFIX: &str = "whsec_";

/// The stored record of a webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Webhook {
    /// Names it in the API.
    pub id: WebhookId,
    /// Whose events it is told of. `None`: everybody's.
    pub organization_id: Option<OrganizationId>,
    /// The only team whose events it is told of.
    pub team_id: Option<TeamId>,
    /// For people.
    pub name: String,
    /// Where to.
    pub url: WebhookUrl,
    /// What of.
    pub events: Vec<Subscription>,
    /// An inactive webhook is told nothing; what waits for it goes on waiting.
    pub is_active: bool,
    /// How often a delivery is tried again.
    pub max_retries: u32,
    /// Seconds; each retry waits that many times longer than the one before.
    pub retry_backoff_base: u32,
    /// In which form.
    #[serde(default)]
    pub format: Format,
    /// How it is told of tokens. `None`: as the server does.
    #[serde(default)]
    pub token_events: Option<TokenEvents>,
    /// What signs deliveries, the newest last; more than one only during the grace of a rotation.
    pub secrets: Vec<SealedSecret>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How many entries the audit log of each partition had then, by the partition's number: what was before it. Clocks
    /// alone do not say: they step, and those of two issuers differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_behind: Option<BTreeMap<u8, u64>>,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// When it was taken over from another server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_at: Option<Timestamp>,
    /// When somebody last tried it.
    #[serde(default)]
    pub last_tested_at: Option<Timestamp>,
}

/// What signs deliveries, sealed for its webhook's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// The text, sealed.
    pub sealed: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The end of a rotation's grace. `None` for the current one.
    pub expires_at: Option<Timestamp>,
}

/// Where deliveries go: an absolute `https` or `http` URL without a user and without a fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookUrl(String);

/// What a webhook is told of: one kind of event by its name, or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subscription(String);

/// In which form an event is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The documented one: a flat JSON object.
    #[default]
    Flat,
    /// CloudEvents 1.0 in structured mode, with the flat object as data.
    CloudEvents,
}

/// How a webhook is told of issued and introspected tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenEvents {
    /// Of each.
    Each,
    /// Summed up by the minute.
    Aggregate,
    /// Not at all.
    Off,
}

/// What a webhook is made from.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Whose events it will be told of.
    pub organization_id: Option<OrganizationId>,
    /// The only team.
    pub team_id: Option<TeamId>,
    /// Everything else; a name, a URL and events must be among it.
    pub profile: WebhookChange,
}

/// What changes of a webhook. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange {
    /// For people.
    pub name: Option<String>,
    /// Where to.
    pub url: Option<WebhookUrl>,
    /// What of.
    pub events: Option<Vec<Subscription>>,
    /// Whether it is told anything.
    pub is_active: Option<bool>,
    /// How often a delivery is tried again.
    pub max_retries: Option<u32>,
    /// Seconds.
    pub retry_backoff_base: Option<u32>,
    /// In which form.
    pub format: Option<Format>,
    /// How it is told of tokens; `Some(None)` for as the server does.
    pub token_events: Option<Option<TokenEvents>>,
}

/// A value that a webhook cannot have. The text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWebhook {
    /// The name is missing, too long, or holds control characters.
    #[error("name: 1 to {} characters, no control characters", text::MAX_NAME)]
    Name,
    /// Nobody can be reached there.
    #[error(
        "url: an absolute https or http URL of at most {MAX_URL} characters, without user and fragment"
    )]
    Url,
    /// Only encrypted in production.
    #[error("url: https only, in production")]
    HttpsRequired,
    /// No event, too many, or one that does not exist.
    #[error(
        "events: 1 to {MAX_EVENTS} of those that GET /api/webhook-events lists, or \"*\" for all"
    )]
    Events,
    /// More retries than there can be.
    #[error("max_retries: 0 to {MAX_RETRIES}")]
    MaxRetries,
    /// A back-off that nobody waits for.
    #[error("retry_backoff_base: 1 to {MAX_BACKOFF_BASE} seconds")]
    BackoffBase,
}

impl Webhook {
    /// Whether it is to be told of `event`, which stands at `place` in the audit log of its partition.
    pub fn hears(&self, event: &Event, place: (Partition, Position), server: TokenEvents) -> bool {
        let sees = self.organization_id.is_none() || self.organization_id == event.organization_id;
        let of_its_team = self.team_id.is_none() || self.team_id == event.team_id;
        self.is_active
            && sees
            && of_its_team
            && !self.is_predated_by(event, place)
            && self.is_subscribed_to(&event.action)
            && self.hears_of_tokens(event, server)
    }

    /// It is told of nothing that was before it, nor of what came over with it.
    fn is_predated_by(&self, event: &Event, (partition, position): (Partition, Position)) -> bool {
        if let Some(imported_at) = self.imported_at {
            return event.at <= imported_at;
        }
        let stands_before = self.began_behind.as_ref().is_none_or(|logs| {
            let entries = logs.get(&partition.number()).copied().unwrap_or(0);
            position.sequence() <= entries
        });
        // The time as well: a store that lost its last entries writes others in their places.
        stands_before && event.at < self.created_at
    }

    fn hears_of_tokens(&self, event: &Event, server: TokenEvents) -> bool {
        match Action::find(&event.action).filter(|action| action.is_about_a_token()) {
            None => true,
            Some(_) => match self.token_events.unwrap_or(server) {
                TokenEvents::Each => !event.is_sum(),
                TokenEvents::Aggregate => event.is_sum(),
                TokenEvents::Off => false,
            },
        }
    }

    /// How it wants to be told of tokens, so that it is recorded: not at all, unless it subscribes to that.
    pub fn wants_of_tokens(&self, server: TokenEvents) -> TokenEvents {
        let is_subscribed = Action::ALL
            .iter()
            .filter(|action| action.is_about_a_token())
            .any(|action| self.is_subscribed_to(action.as_str()));
        match is_subscribed {
            true => self.token_events.unwrap_or(server),
            false => TokenEvents::Off,
        }
    }

    fn is_subscribed_to(&self, action: &str) -> bool {
        let mut subscriptions = self.events.iter();
        subscriptions.any(|subscription| subscription.is_to(action))
    }

    /// The secrets that sign at `now`, the newest last.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &SealedSecret> {
        self.secrets
            .iter()
            .filter(move |secret| secret.expires_at.is_none_or(|end| now < end))
    }
}

impl NewWebhook {
    pub(super) fn validate(&self) -> Result<(), InvalidWebhook> {
        let WebhookChange {
            name, url, events, ..
        } = &self.profile;
        if name.is_none() {
            return Err(InvalidWebhook::Name);
        }
        if url.is_none() {
            return Err(InvalidWebhook::Url);
        }
        if events.is_none() {
            return Err(InvalidWebhook::Events);
        }
        self.profile.validate()
    }
}

impl WebhookChange {
    pub(super) fn validate(&self) -> Result<(), InvalidWebhook> {
        let checks = [
            (
                self.name.as_deref().is_none_or(text::is_name),
                InvalidWebhook::Name,
            ),
            (
                self.events
                    .as_ref()
                    .is_none_or(|events| (1..=MAX_EVENTS).contains(&events.len())),
                InvalidWebhook::Events,
            ),
            (
                self.max_retries
                    .is_none_or(|retries| retries <= MAX_RETRIES),
                InvalidWebhook::MaxRetries,
            ),
            (
                self.retry_backoff_base
                    .is_none_or(|base| (1..=MAX_BACKOFF_BASE).contains(&base)),
                InvalidWebhook::BackoffBase,
            ),
        ];
        let broken = checks.into_iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, invalid)| Err(invalid))
    }

    pub(super) fn apply(self, webhook: &mut Webhook) {
        let current = webhook.clone();
        *webhook = Webhook {
            name: self.name.unwrap_or(current.name),
            url: self.url.unwrap_or(current.url),
            events: self.events.unwrap_or(current.events),
            is_active: self.is_active.unwrap_or(current.is_active),
            max_retries: self.max_retries.unwrap_or(current.max_retries),
            retry_backoff_base: self
                .retry_backoff_base
                .unwrap_or(current.retry_backoff_base),
            format: self.format.unwrap_or(current.format),
            token_events: self.token_events.unwrap_or(current.token_events),
            ..current
        };
    }
}

impl WebhookUrl {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether deliveries are encrypted on their way.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = InvalidWebhook;

    fn try_from(text: String) -> Result<Self, InvalidWebhook> {
        let url = Url::parse(&text).map_err(|_| InvalidWebhook::Url)?;
        let fits = text.len() <= MAX_URL
            && matches!(url.scheme(), "https" | "http")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none();
        match fits {
            true => Ok(Self(url.into())),
            false => Err(InvalidWebhook::Url),
        }
    }
}

impl Subscription {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_to(&self, action: &str) -> bool {
        self.0 == ALL || self.0 == action
    }
}

impl TryFrom<String> for Subscription {
    type Error = InvalidWebhook;

    fn try_from(text: String) -> Result<Self, InvalidWebhook> {
        match text == ALL || Action::find(&text).is_some() {
            true => Ok(Self(text)),
            false => Err(InvalidWebhook::Events),
        }
    }
}

/// A fresh signing secret: `whsec_` and 32 random bytes in base64 (Standard Webhooks 1.0.0).
pub(super) fn generate_secret() -> SecretText {
    let bytes = Zeroizing::new(random::<32>());
    let mut text = String::with_capacity(SECRET_PREFIX.len() + 44);
    text.push_str(SECRET_PREFIX);
    STANDARD.encode_string(bytes.as_slice(), &mut text);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_absolute_and_holds_no_credentials() {
        for text in [
            "https://example.com/hook",
            "http://127.0.0.1:9000/?token=x",
            "https://[2001:db8::1]/",
        ] {
            assert!(WebhookUrl::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in [
            "",
            "/hook",
            "example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://user@example.com",
            "https://user:pass@example.com",
            "https://example.com/#x",
            "https://",
        ] {
            assert!(WebhookUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
        assert!(WebhookUrl::try_from(long).is_err());
    }

    #[test]
    fn one_subscribes_to_what_there_is() {
        for name in ["*", "agent.created", "webhook.test", "login.failed"] {
            assert!(Subscription::try_from(name.to_owned()).is_ok(), "{name}");
        }
        for name in ["", "agent", "agent.*", "Agent.Created"] {
            assert!(Subscription::try_from(name.to_owned()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_signing_secret_is_a_standard_one() {
        let secret = generate_secret();
        let encoded = secret.reveal().strip_prefix("whsec_").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap().len(), 32);
    }
}
