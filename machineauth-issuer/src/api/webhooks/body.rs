//! What requests say about webhooks.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::api::body::{named, nullable};
use crate::date::Date;
use crate::domain::event::Action;
use crate::domain::json_object::JsonObject;
use crate::domain::webhooks::{
    DEFAULT_GRACE, Format, InvalidWebhook, NewWebhook, Subscription, TokenEvents, WebhookChange,
    WebhookError, WebhookUrl,
};
use crate::error::ApiError;
use crate::events::webhooks::replay::Replay;

/// What the Go service's console calls a rotation where it offers events to test with, and only there.
const ROTATED: &str = "agent.rotated";
/// The longest body of a test.
const MAX_PAYLOAD: usize = 64 * 1024;

/// The body of a creation or a change. What is absent is as it was, or as usual.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = WebhookChange)]
pub struct WebhookBody {
    /// Whose events it hears of; only at creation.
    organization_id: Option<String>,
    /// The only team of it; only at creation.
    team_id: Option<String>,
    /// For people. A new webhook needs one.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Where deliveries go: https, and http outside production. A new webhook needs one.
    url: Option<String>,
    /// Names of events, or `*` for all.
    events: Option<Vec<String>>,
    is_active: Option<bool>,
    #[schema(maximum = 20)]
    max_retries: Option<u32>,
    /// Seconds; each retry waits that many times longer than the one before.
    #[schema(minimum = 1, maximum = 3600)]
    retry_backoff_base: Option<u32>,
    /// `flat` or `cloudevents`.
    format: Option<Format>,
    /// `each`, `aggregate` or `off`; null for as the server does.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<TokenEvents>)]
    token_events: Option<Option<TokenEvents>>,
}

impl WebhookBody {
    /// The webhook to create.
    ///
    /// # Errors
    /// Names the field that cannot be understood.
    pub fn into_webhook(mut self) -> Result<NewWebhook, ApiError> {
        Ok(NewWebhook {
            organization_id: named(
                self.organization_id.take(),
                WebhookError::NoSuchOrganization,
            )?,
            team_id: named(self.team_id.take(), WebhookError::NoSuchTeam)?,
            profile: self.into_profile()?,
        })
    }

    /// The change to make.
    ///
    /// # Errors
    /// Names the field that cannot be understood, or that never changes.
    pub fn into_change(self) -> Result<WebhookChange, ApiError> {
        if self.organization_id.is_some() || self.team_id.is_some() {
            return Err(ApiError::InvalidRequest(
                "organization_id, team_id: a webhook stays where it was created".into(),
            ));
        }
        self.into_profile()
    }

    fn into_profile(self) -> Result<WebhookChange, ApiError> {
        let events = self.events.map(|events| {
            let events = events.into_iter().map(Subscription::try_from);
            events.collect::<Result<Vec<_>, InvalidWebhook>>()
        });
        Ok(WebhookChange {
            name: self.name,
            url: self
                .url
                .map(WebhookUrl::try_from)
                .transpose()
                .map_err(WebhookError::from)?,
            events: events.transpose().map_err(WebhookError::from)?,
            is_active: self.is_active,
            max_retries: self.max_retries,
            retry_backoff_base: self.retry_backoff_base,
            format: self.format,
            token_events: self.token_events,
        })
    }
}

/// The body of a rotation of the signing secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RotateWebhookSecret {
    /// How long the secret before goes on signing as well, in seconds; a day without.
    grace: Option<u64>,
}

impl RotateWebhookSecret {
    /// How long.
    pub fn grace(&self) -> Duration {
        self.grace.map_or(DEFAULT_GRACE, Duration::from_secs)
    }
}

/// The body of a test.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct WebhookTest {
    /// Any event that there is; `webhook.test` without.
    event: Option<String>,
    /// What to send: a text that is sent as it is, or an object.
    #[schema(value_type = Option<Value>)]
    payload: Option<Box<RawValue>>,
}

impl WebhookTest {
    /// The event to send, and its body where one is given.
    ///
    /// # Errors
    /// Names the field that cannot be understood.
    pub fn read(self) -> Result<(Action, Option<String>), ApiError> {
        let invalid = |what: &'static str| ApiError::InvalidRequest(what.into());
        let event = match self.event.filter(|event| !event.is_empty()) {
            None => Action::WebhookTest,
            Some(name) if name == ROTATED => Action::AgentCredentialsRotated,
            Some(name) => Action::find(&name)
                .ok_or_else(|| invalid("event: one of those that GET /api/webhook-events lists"))?,
        };
        let neither = |_| invalid("payload: a text or an object");
        let payload = match self.payload.as_deref().map(RawValue::get) {
            None => None,
            Some(text) if text.starts_with('"') => {
                Some(serde_json::from_str::<String>(text).map_err(neither)?)
                    .filter(|text| !text.is_empty())
            }
            Some(object) => {
                let object: JsonObject = serde_json::from_str(object).map_err(neither)?;
                Some(object.as_str().to_owned())
            }
        };
        match payload
            .as_ref()
            .is_some_and(|text| text.len() > MAX_PAYLOAD)
        {
            true => Err(invalid("payload: at most 64 KiB")),
            false => Ok((event, payload)),
        }
    }
}

/// The body of a replay.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct WebhookReplay {
    /// `dead`: all that was given up.
    status: Option<String>,
    /// Everything that happened from then on, also what was never sent.
    since: Option<Date>,
}

impl WebhookReplay {
    /// What to send again.
    ///
    /// # Errors
    /// When that is not one of the two.
    pub fn which(self) -> Result<Replay, ApiError> {
        match (self.status.as_deref(), self.since) {
            (Some("dead"), None) => Ok(Replay::GivenUp),
            (None, Some(Date(since))) => Ok(Replay::Since(since)),
            _ => Err(ApiError::InvalidRequest(
                "either status: \"dead\", or since: a time as 2026-03-01T12:00:00Z".into(),
            )),
        }
    }
}
