//! What is done to an agent with one button.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::detail::refused_with;
use super::secret::SecretPage;
use super::{found, path_of};
use crate::app::App;
use crate::console::address::Path;
use crate::console::failure::Failure;
use crate::console::page::Done;
use crate::console::session::Change;
use crate::domain::agent::Agent;
use crate::domain::agents::{Rotation, Suspension};
use crate::domain::id::SecretId;
use crate::domain::secret::SecretText;
use crate::error::ApiError;
use crate::paths;

/// Gives an agent a new secret and shows it.
pub async fn rotate(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    match rotated(&app, &change, &stored.value).await {
        Ok(secret) => {
            let agent = &stored.value;
            tracing::info!(agent.id = %agent.id, "rotated an agent's secret");
            Ok(SecretPage::of_rotated(&app, &change, agent, &secret))
        }
        Err(error) => {
            let change = change.refused(error)?;
            refused_with(&app, change, stored, |forms| &mut forms.rotation).await
        }
    }
}

async fn rotated(app: &App, change: &Change, agent: &Agent) -> Result<SecretText, ApiError> {
    let rotation = Rotation {
        grace: change.form.seconds("grace")?.unwrap_or(Duration::ZERO),
        revoke_tokens: change.form.is_ticked("revoke_tokens"),
    };
    change.prove(app).await?;
    Ok(app.agents.rotate(agent.id, rotation, change.by()).await?)
}

/// Cancels the secret that a rotation left alive.
pub async fn cancel_secret(
    State(app): State<App>,
    Path((id, secret)): Path<(String, String)>,
    change: Change,
) -> Result<Response, Failure> {
    let agent = found(&app, &id).await?.value;
    let secret: SecretId = secret.parse().map_err(|_| ApiError::NO_SUCH_SECRET)?;
    let agents = &app.agents;
    agents.cancel_secret(agent.id, secret, change.by()).await?;
    tracing::info!(agent.id = %agent.id, secret.id = %secret, "cancelled an agent's secret");
    Ok(Done::SECRET_CANCELLED.then(&path_of(agent.id)))
}

/// Suspends an agent.
pub async fn deactivate(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let agent = found(&app, &id).await?.value;
    let suspension = Suspension {
        by_itself: false,
        revoke_tokens: change.form.is_ticked("revoke_tokens"),
    };
    let agents = &app.agents;
    agents.deactivate(agent.id, suspension, change.by()).await?;
    tracing::info!(agent.id = %agent.id, "deactivated an agent");
    Ok(Done::AGENT_DEACTIVATED.then(&path_of(agent.id)))
}

/// Ends the suspension of an agent.
pub async fn reactivate(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let agent = found(&app, &id).await?.value;
    app.agents.reactivate(agent.id, false, change.by()).await?;
    tracing::info!(agent.id = %agent.id, "reactivated an agent");
    Ok(Done::AGENT_REACTIVATED.then(&path_of(agent.id)))
}

/// Deletes an agent whose name was typed.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let agent = &stored.value;
    if let Err(error) = change.form.confirms(&agent.name, "this is not its name") {
        let change = change.refused(error)?;
        return refused_with(&app, change, stored, |forms| &mut forms.deletion).await;
    }
    app.agents.delete(agent.id, change.by()).await?;
    tracing::info!(agent.id = %agent.id, "deleted an agent");
    Ok(Done::AGENT_DELETED.then(&format!("{}/agents", paths::ADMIN)))
}
