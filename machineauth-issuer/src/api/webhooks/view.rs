//! Webhooks and deliveries as the API shows them. Never a secret, but for the one answer that makes it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::page::Pagination;
use crate::date::Date;
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::webhooks::{Delivery, Format, Health, TokenEvents, Webhook};

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookView {
    id: WebhookId,
    /// Empty for a webhook of the server.
    organization_id: String,
    /// Empty for all teams.
    team_id: String,
    name: String,
    url: String,
    /// Names of events, or `*` for all.
    events: Vec<String>,
    is_active: bool,
    max_retries: u32,
    /// Seconds; each retry waits that many times longer than the one before.
    retry_backoff_base: u32,
    /// `flat` or `cloudevents`.
    format: Format,
    /// `each`, `aggregate` or `off`; absent for as the server does.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_events: Option<TokenEvents>,
    created_at: Date,
    updated_at: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_tested_at: Option<Date>,
    /// Deliveries in a row that were given up.
    consecutive_fails: u32,
}

impl WebhookView {
    /// The webhook, with how its receiver has been lately.
    pub fn new(webhook: Webhook, health: Health) -> Self {
        let text = |id: Option<String>| id.unwrap_or_default();
        Self {
            id: webhook.id,
            organization_id: text(webhook.organization_id.map(|id| id.to_string())),
            team_id: text(webhook.team_id.map(|id| id.to_string())),
            name: webhook.name,
            url: webhook.url.as_str().to_owned(),
            events: webhook
                .events
                .iter()
                .map(|event| event.as_str().to_owned())
                .collect(),
            is_active: webhook.is_active,
            max_retries: webhook.max_retries,
            retry_backoff_base: webhook.retry_backoff_base,
            format: webhook.format,
            token_events: webhook.token_events,
            created_at: Date(webhook.created_at),
            updated_at: Date(webhook.updated_at),
            last_tested_at: webhook.last_tested_at.map(Date),
            consecutive_fails: health.consecutive_fails,
        }
    }
}

/// One webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneWebhook {
    /// The webhook.
    pub webhook: WebhookView,
}

/// All webhooks that the caller sees.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookList {
    /// The webhooks.
    pub webhooks: Vec<WebhookView>,
}

/// A new webhook with its signing secret, which is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedWebhook {
    /// The webhook.
    pub webhook: WebhookView,
    /// What signs its deliveries.
    pub secret: String,
}

/// A new signing secret. Shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotatedWebhookSecret {
    /// What signs deliveries from now on.
    pub secret: String,
    /// When the one before stops signing.
    pub previous_secret_expires_at: Date,
}

/// What a test showed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tested {
    /// Whether the receiver took it.
    pub success: bool,
    /// What it answered; 0 when it did not.
    pub status_code: u16,
    /// Why it failed. Empty when it did not.
    pub error: String,
}

/// A delivery.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    id: DeliveryId,
    webhook_config_id: WebhookId,
    event: String,
    /// The body, byte for byte as it is sent.
    payload: String,
    /// What the body is, as a header.
    headers: String,
    /// `pending`, `retrying`, `delivered`, `failed` or `dead`.
    status: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt_at: Option<Date>,
    /// What the receiver answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status_code: Option<u16>,
    last_error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_retry_at: Option<Date>,
    created_at: Date,
    /// Where the event stands in its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            webhook_config_id: delivery.webhook_id,
            event: delivery.event,
            payload: delivery.body,
            headers: format!("Content-Type: {}", delivery.content_type),
            status: delivery.status.as_str(),
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_attempt_at.map(Date),
            last_status_code: delivery.last_status_code,
            last_error: delivery.last_error,
            next_retry_at: delivery.due_at.map(Date),
            created_at: Date(delivery.created_at),
            position: delivery.position,
        }
    }
}

/// One delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneDelivery {
    /// The delivery.
    pub delivery: DeliveryView,
}

/// Deliveries to one webhook, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryList {
    /// The deliveries.
    pub deliveries: Vec<DeliveryView>,
    /// Where a numbered page stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    /// What leads to the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<DeliveryId>,
}

/// How many deliveries were asked for again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    /// How many.
    pub replayed: usize,
}

/// What can be subscribed to.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    /// The names.
    pub events: Vec<&'static str>,
}
