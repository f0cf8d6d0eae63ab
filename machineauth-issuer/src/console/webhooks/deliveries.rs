//! `/admin/webhooks/{id}/deliveries`

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::found;
use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::failure::Failure;
use crate::console::moment::Moment;
use crate::console::page::{Done, Following, Section, Shell, page};
use crate::console::session::{Administrator, Change};
use crate::domain::id::{DeliveryId, WebhookId};
use crate::domain::webhooks::{Delivery, Webhook};
use crate::error::ApiError;

#[derive(Template)]
#[template(path = "webhooks/delivery.html")]
struct DeliveryPage {
    shell: Shell,
    webhook: Webhook,
    delivery: Delivery,
    path: String,
}

impl DeliveryPage {
    /// The body for people, where it is JSON.
    fn body(&self) -> String {
        let body = &self.delivery.body;
        let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
        json.and_then(|json| serde_json::to_string_pretty(&json).ok())
            .unwrap_or_else(|| body.clone())
    }
}

/// Where a delivery's page is.
pub(super) fn path_of(webhook: WebhookId, delivery: DeliveryId) -> String {
    format!("{}/deliveries/{delivery}", super::path_of(webhook))
}

async fn named(app: &App, webhook: &str, id: &str) -> Result<(Webhook, Delivery), ApiError> {
    let webhook = found(app, webhook).await?.value;
    let id = id.parse().map_err(|_| ApiError::NO_SUCH_DELIVERY)?;
    let delivery = app.webhooks.delivery(webhook.id, id).await?;
    Ok((webhook, delivery))
}

/// The page of a delivery.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Path((webhook, id)): Path<(String, String)>,
    Query(following): Query<Following>,
) -> Result<Response, Failure> {
    let (webhook, delivery) = named(&app, &webhook, &id).await?;
    Ok(page(&DeliveryPage {
        shell: administrator
            .shell(&app, Section::Webhooks)
            .after(following.done.as_deref()),
        path: path_of(webhook.id, delivery.id),
        webhook,
        delivery,
    }))
}

/// Sends a delivery again, as if it had never been tried.
pub async fn replay(
    State(app): State<App>,
    Path((webhook, id)): Path<(String, String)>,
    change: Change,
) -> Result<Response, Failure> {
    let (webhook, delivery) = named(&app, &webhook, &id).await?;
    app.webhooks
        .replay_one(&webhook, delivery.id, change.by())
        .await?;
    tracing::info!(webhook.id = %webhook.id, delivery.id = %delivery.id, "a delivery is sent again");
    app.delivering.wake();
    Ok(Done::DELIVERY_REPLAYED.then(&path_of(webhook.id, delivery.id)))
}
