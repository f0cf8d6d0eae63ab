//! What is done to an agent with one button.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::detail::{self, Forms};
use super::secret::SecretPage;
use super::{found, path_of};
use crate::app::App;
use crate::console::address::Path;
use crate::console::failure::Failure;
use crate::console::form::wrong;
use crate::console::page::Done;
use crate::console::session::Change;
use crate::domain::agents::{Rotation, Suspension};
use crate::domain::id::SecretId;
use crate::domain::secret::SecretText;
use crate::error::ApiError;
use crate::paths;

/// Gives an agent a new secret and shows it.
pub async fn rotate(
    State(app): State<App>,
    Path(id): Path<String>,
    mut change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    match rotated(&app, &change, &stored.value).await {
        Ok(secret) => {
            tracing::info!(agent.id = %stored.value.id, "rotated an agent's secret");
            let Change { administrator, .. } = &change;
            Ok(SecretPage::of_rotated(
                &app,
                administrator,
                &stored.value,
                &secret,
            ))
        }
        Err(error) => {
            change.form.refuse(error)?;
            let forms = Forms {
                rotation: change.form,
                ..Forms::default()
            };
            detail::refused_with(&app, &change.administrator, stored, forms).await
        }
    }
}

async fn rotated(
    app: &App,
    Change {
        administrator,
        form,
    }: &Change,
    agent: &crate::domain::agent::Agent,
) -> Result<SecretText, ApiError> {
    let rotation = Rotation {
        grace: form.seconds("grace")?.unwrap_or(Duration::ZERO),
        revoke_tokens: form.is_ticked("revoke_tokens"),
    };
    administrator.prove(app, form).await?;
    let by = &administrator.by;
    Ok(app.agents.rotate(agent.id, rotation, by).await?)
}

/// Cancels the secret that a rotation left alive.
pub async fn cancel_secret(
    State(app): State<App>,
    Path((id, secret)): Path<(String, String)>,
    Change { administrator, .. }: Change,
) -> Result<Response, Failure> {
    let agent = found(&app, &id).await?.value;
    let missing = ApiError::NotFound("there is no such secret");
    let secret: SecretId = secret.parse().map_err(|_| missing)?;
    let by = &administrator.by;
    app.agents.cancel_secret(agent.id, secret, by).await?;
    tracing::info!(agent.id = %agent.id, secret.id = %secret, "cancelled an agent's secret");
    Ok(Done::SECRET_CANCELLED.then(&path_of(agent.id)))
}

/// Suspends an agent.
pub async fn deactivate(
    State(app): State<App>,
    Path(id): Path<String>,
    Change {
        administrator,
        form,
    }: Change,
) -> Result<Response, Failure> {
    let agent = found(&app, &id).await?.value;
    let suspension = Suspension {
        by_itself: false,
        revoke_tokens: form.is_ticked("revoke_tokens"),
    };
    let by = &administrator.by;
    app.agents.deactivate(agent.id, suspension, by).await?;
    tracing::info!(agent.id = %agent.id, "deactivated an agent");
    Ok(Done::AGENT_DEACTIVATED.then(&path_of(agent.id)))
}

/// Ends the suspension of an agent.
pub async fn reactivate(
    State(app): State<App>,
    Path(id): Path<String>,
    Change { administrator, .. }: Change,
) -> Result<Response, Failure> {
    let agent = found(&app, &id).await?.value;
    let by = &administrator.by;
    app.agents.reactivate(agent.id, false, by).await?;
    tracing::info!(agent.id = %agent.id, "reactivated an agent");
    Ok(Done::AGENT_REACTIVATED.then(&path_of(agent.id)))
}

/// Deletes an agent whose name was typed.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    mut change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let agent = &stored.value;
    if change.form.value("confirmation").trim() != agent.name.trim() {
        change
            .form
            .refuse(wrong("confirmation", "this is not its name"))?;
        let forms = Forms {
            deletion: change.form,
            ..Forms::default()
        };
        return detail::refused_with(&app, &change.administrator, stored, forms).await;
    }
    app.agents
        .delete(agent.id, &change.administrator.by)
        .await?;
    tracing::info!(agent.id = %agent.id, "deleted an agent");
    Ok(Done::AGENT_DELETED.then(&format!("{}/agents", paths::ADMIN)))
}
