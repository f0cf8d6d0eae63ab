//! `/api/agents/me`: what an agent does to itself, with its own access token.

use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use serde::Serialize;
use utoipa::ToSchema;

use super::agents::{self, ActionBody, AgentView, Done, OneAgent, RotatedSecret, deleted, rotated};
use super::bearer::{AuthenticatedAgent, SuspendableAgent};
use super::body::OptionalJsonBody;
use super::etag::Tagged;
use crate::app::App;
use crate::date::Date;
use crate::domain::agents::Suspension;
use crate::domain::id::TeamId;
use crate::domain::usage::Usage;
use crate::error::ApiError;
use crate::openapi::{Conflict, NotFound};

/// What an agent has done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct UsageView {
    agent: AgentView,
    organization_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<TeamId>,
    token_count: i64,
    refresh_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity_at: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_token_issued_at: Option<Date>,
    /// The last rotations of its secret, the latest last.
    rotation_history: Vec<RotationView>,
}

/// One rotation of an agent's secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub struct RotationView {
    rotated_at: Date,
    /// The address that asked for it; empty where it is not known.
    rotated_by_ip: String,
}

/// Get oneself
#[utoipa::path(get, path = "")]
pub async fn get(
    AuthenticatedAgent { stored, .. }: AuthenticatedAgent,
    State(app): State<App>,
) -> Result<Tagged<OneAgent>, ApiError> {
    agents::shown(&app, stored).await
}

/// Get what one has done
#[utoipa::path(get, path = "")]
pub async fn usage(
    AuthenticatedAgent { stored, .. }: AuthenticatedAgent,
    State(app): State<App>,
) -> Result<Json<UsageView>, ApiError> {
    let agent = stored.value;
    let usage = Usage::read(&*app.store, &agent).await?;
    let last = usage.last_token_issued_at.map(Date);
    Ok(Json(UsageView {
        organization_id: agent
            .organization_id
            .map_or_else(String::new, |id| id.to_string()),
        team_id: agent.team_id,
        token_count: usage.token_count,
        refresh_count: usage.refresh_count,
        last_activity_at: last,
        last_token_issued_at: last,
        rotation_history: agent
            .rotations
            .iter()
            .map(|rotation| RotationView {
                rotated_at: Date(rotation.at),
                rotated_by_ip: rotation.by.map_or_else(String::new, |by| by.to_string()),
            })
            .collect(),
        agent: AgentView::new(agent, usage),
    }))
}

/// Get a new secret
///
/// The secret is in this answer and never shown again. The one before it works for `grace` seconds more.
#[utoipa::path(post, path = "", responses(NotFound, Conflict))]
pub async fn rotate(
    AuthenticatedAgent { stored, by }: AuthenticatedAgent,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<ActionBody>,
) -> Result<Json<RotatedSecret>, ApiError> {
    rotated(&app, &stored.value, &body, &by).await
}

/// Suspend oneself
///
/// One gets no tokens, and those that one has are good for nothing but to end the suspension.
#[utoipa::path(post, path = "", responses(NotFound, Conflict))]
pub async fn deactivate(
    AuthenticatedAgent { stored, by }: AuthenticatedAgent,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<ActionBody>,
) -> Result<Json<Done>, ApiError> {
    let suspension = Suspension {
        by_itself: true,
        revoke_tokens: body.revoke_tokens,
    };
    app.agents
        .deactivate(stored.value.id, suspension, &by)
        .await?;
    tracing::info!(agent.id = %stored.value.id, "an agent deactivated itself");
    Ok(Json(Done {
        message: "agent deactivated successfully",
    }))
}

/// End the suspension of oneself
///
/// Only an agent that suspended itself can do it.
#[utoipa::path(post, path = "", responses(NotFound, Conflict))]
pub async fn reactivate(
    SuspendableAgent { stored, by }: SuspendableAgent,
    State(app): State<App>,
) -> Result<Json<Done>, ApiError> {
    // Not of an agent that an administrator suspended (I11).
    app.agents.reactivate(stored.value.id, true, &by).await?;
    tracing::info!(agent.id = %stored.value.id, "an agent reactivated itself");
    Ok(Json(Done {
        message: "agent reactivated successfully",
    }))
}

/// Delete oneself
#[utoipa::path(delete, path = "", responses(NotFound, Conflict))]
pub async fn delete(
    AuthenticatedAgent { stored, by }: AuthenticatedAgent,
    State(app): State<App>,
) -> Result<NoContent, ApiError> {
    deleted(&app, stored.value.id, &by).await
}

/// Delete oneself, as the documented clients do
#[utoipa::path(post, path = "", responses(NotFound, Conflict))]
pub async fn delete_by_post(
    agent: AuthenticatedAgent,
    app: State<App>,
) -> Result<NoContent, ApiError> {
    delete(agent, app).await
}
