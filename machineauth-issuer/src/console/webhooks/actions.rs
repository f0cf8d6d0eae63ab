//! What is done to a webhook with one button.

use axum::extract::State;
use axum::response::Response;

use super::deliveries;
use super::detail::refused_with;
use super::secret::signing_secret;
use super::{found, path_of};
use crate::app::App;
use crate::console::address::Path;
use crate::console::failure::Failure;
use crate::console::form::wrong;
use crate::console::page::Done;
use crate::console::session::Change;
use crate::date::moment;
use crate::domain::event::{Action, By};
use crate::domain::id::WebhookId;
use crate::domain::secret::SecretText;
use crate::domain::webhooks::{DEFAULT_GRACE, Webhook, WebhookChange};
use crate::error::ApiError;
use crate::events::webhooks::replay::Replay;
use crate::paths;

/// Sends a test and shows what became of it.
pub async fn test(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let webhook = found(&app, &id).await?.value;
    let sent = app.delivering.test(&webhook, Action::WebhookTest, None);
    let delivery = sent.await?;
    app.webhooks.tested(webhook.id, change.by()).await?;
    Ok(Done::WEBHOOK_TESTED.then(&deliveries::path_of(webhook.id, delivery.id)))
}

/// Turns a webhook on, which forgets its failures.
pub async fn turn_on(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let id = turned(&app, &id, change.by(), true).await?;
    Ok(Done::WEBHOOK_ENABLED.then(&path_of(id)))
}

/// Turns a webhook off: what waits for it goes on waiting.
pub async fn turn_off(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let id = turned(&app, &id, change.by(), false).await?;
    Ok(Done::WEBHOOK_DISABLED.then(&path_of(id)))
}

async fn turned(app: &App, id: &str, by: &By, is_active: bool) -> Result<WebhookId, ApiError> {
    let webhook = found(app, id).await?.value;
    let change = WebhookChange {
        is_active: Some(is_active),
        ..WebhookChange::default()
    };
    app.webhooks.update(webhook.id, &change, None, by).await?;
    tracing::info!(webhook.id = %webhook.id, is_active, "changed a webhook");
    app.delivering.changed().await?;
    Ok(webhook.id)
}

/// Gives a webhook a new signing secret and shows it.
pub async fn rotate(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    match rotated(&app, &change, &stored.value).await {
        Ok(secret) => {
            tracing::info!(webhook.id = %stored.value.id, "rotated a webhook's signing secret");
            let title = format!("The new signing secret of {}", stored.value.name);
            Ok(signing_secret(
                &app,
                &change,
                &stored.value,
                &title,
                &secret,
            ))
        }
        Err(error) => {
            let change = change.refused(error)?;
            refused_with(&app, change, stored, |forms| &mut forms.rotation).await
        }
    }
}

async fn rotated(app: &App, change: &Change, webhook: &Webhook) -> Result<SecretText, ApiError> {
    let grace = change.form.seconds("grace")?.unwrap_or(DEFAULT_GRACE);
    change.prove(app).await?;
    let webhooks = &app.webhooks;
    Ok(webhooks
        .rotate_secret(webhook.id, grace, change.by())
        .await?)
}

/// Sends again all that was given up.
pub async fn replay_given_up(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let webhook = found(&app, &id).await?.value;
    replayed(&app, &webhook, Replay::GivenUp, change.by()).await
}

/// Sends again everything since a time.
pub async fn replay_since(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    if let Some(since) = moment(change.form.value("since").trim(), false) {
        return replayed(&app, &stored.value, Replay::Since(since), change.by()).await;
    }
    let expected = "a day as 2026-03-01, or a time as 2026-03-01T12:00:00Z";
    let change = change.refused(wrong("since", expected))?;
    refused_with(&app, change, stored, |forms| &mut forms.replay).await
}

async fn replayed(
    app: &App,
    webhook: &Webhook,
    what: Replay,
    by: &By,
) -> Result<Response, Failure> {
    let replayed = app.delivering.replay(webhook, what, by).await?;
    tracing::info!(webhook.id = %webhook.id, replayed, "deliveries are sent again");
    Ok(Done::DELIVERIES_REPLAYED.then(&path_of(webhook.id)))
}

/// Deletes a webhook whose name was typed.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let webhook = &stored.value;
    if let Err(error) = change.form.confirms(&webhook.name, "this is not its name") {
        let change = change.refused(error)?;
        return refused_with(&app, change, stored, |forms| &mut forms.deletion).await;
    }
    app.webhooks.delete(webhook.id, change.by()).await?;
    tracing::info!(webhook.id = %webhook.id, "deleted a webhook");
    Ok(Done::WEBHOOK_DELETED.then(&format!("{}/webhooks", paths::ADMIN)))
}
