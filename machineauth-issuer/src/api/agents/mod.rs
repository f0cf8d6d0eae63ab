//! `/api/agents`: the administrators' view of agents.

mod body;
mod filter;
mod view;

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::NoContent;
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

pub use self::body::{ActionBody, AgentBody, Status};
pub use self::filter::AgentFilter;
pub use self::view::{
    AgentList, AgentView, CreatedAgent, Done, OneAgent, RotatedSecret, SecretList, SecretView,
};
use super::body::{JsonBody, OptionalJsonBody};
use super::caller::{Caller, Reach, Tenant};
use super::created::Created;
use super::etag::{IfMatch, Tagged};
use super::organizations::OrganizationPath;
use super::page::PageQuery;
use crate::app::App;
use crate::domain::agent::{Agent, NewAgent};
use crate::domain::agents::{AgentQuery, Rotation, Shelf, StoredAgent, Suspension};
use crate::domain::event::By;
use crate::domain::id::{AgentId, OrganizationId, SecretId};
use crate::domain::usage::Usage;
use crate::error::ApiError;
use crate::openapi::{Conflict, DescribeRequest, Description, NotFound};

/// The agent that the path names, when it is the caller's to see.
#[derive(Debug)]
pub struct AgentPath {
    by: By,
    stored: StoredAgent,
}

#[derive(Deserialize)]
struct AgentParameter {
    id: String,
}

impl FromRequestParts<App> for AgentPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        // What is no identifier names no agent.
        let path = Path::<AgentParameter>::from_request_parts(parts, app).await;
        let id = path.ok().and_then(|Path(path)| path.id.parse().ok());
        let stored = app.agents.find(id.ok_or(ApiError::NO_SUCH_AGENT)?).await?;
        let agent = &stored.value;
        caller.reaches(
            agent.organization_id,
            agent.team_id,
            ApiError::NO_SUCH_AGENT,
        )?;
        Ok(Self {
            by: caller.by,
            stored,
        })
    }
}

impl DescribeRequest for AgentPath {
    fn describe(operation: &mut Description<'_>) {
        Caller::describe(operation);
        operation
            .path::<AgentId>("id", "The agent.")
            .refuses::<NotFound>();
    }
}

impl AgentPath {
    fn id(&self) -> AgentId {
        self.stored.value.id
    }
}

/// List agents
///
/// The latest first, with `q` by their names; up to 1000 of them, and `next_cursor` where there are more. An organization's
/// credentials see the agents of the organization only.
#[utoipa::path(get, path = "", responses(NotFound))]
pub async fn list(
    caller: Caller,
    State(app): State<App>,
    page: PageQuery,
    filter: AgentFilter,
) -> Result<Json<AgentList>, ApiError> {
    let asked: Option<OrganizationId> = match filter.org_id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|_| ApiError::NO_SUCH_ORGANIZATION)?),
    };
    if let Some(organization) = asked {
        caller.reaches_organization(organization)?;
        app.organizations.find(organization).await?;
    }
    let query = filter.on(shelf(&caller, asked))?;
    listed(&app, &page, &query).await
}

/// List the agents of an organization
#[utoipa::path(get, path = "")]
pub async fn list_in(
    path: OrganizationPath,
    State(app): State<App>,
    page: PageQuery,
    filter: AgentFilter,
) -> Result<Json<AgentList>, ApiError> {
    let query = filter.on(shelf(&path.caller, Some(path.id())))?;
    listed(&app, &page, &query).await
}

/// The agents that a caller sees, of the organization that it asks about.
fn shelf(caller: &Caller, asked: Option<OrganizationId>) -> Shelf {
    match (caller.reach, asked) {
        (
            Reach::Tenant(Tenant {
                organization,
                team: Some(team),
            }),
            _,
        ) => Shelf::Team(organization, team),
        (
            Reach::Tenant(Tenant {
                organization,
                team: None,
            }),
            _,
        ) => Shelf::Organization(organization),
        (Reach::Administrator, Some(organization)) => Shelf::Organization(organization),
        (Reach::Administrator, None) => Shelf::All,
    }
}

async fn listed(
    app: &App,
    page: &PageQuery,
    query: &AgentQuery,
) -> Result<Json<AgentList>, ApiError> {
    let (window, after) = (page.page()?, page.cursor()?);
    let mut found = app
        .agents
        .list(query, after.as_ref(), window.start(), window.limit() + 1)
        .await?;
    let more = found.len() > window.limit();
    found.truncate(window.limit());
    let next_cursor = found
        .last()
        .filter(|_| more)
        .map(|(place, _)| place.to_string());
    let pagination = match page.is_paged() {
        true => page.pagination(app.agents.count(query).await?),
        false => None,
    };
    let agents: Vec<_> = found.into_iter().map(|(_, agent)| agent).collect();
    let usages = Usage::read_all(&*app.store, &agents).await?;
    let agents = agents.into_iter().zip(usages);
    Ok(Json(AgentList {
        agents: agents
            .map(|(agent, usage)| AgentView::new(agent, usage))
            .collect(),
        pagination,
        next_cursor,
    }))
}

/// Create an agent
///
/// Its secret is in this answer and never shown again.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create(
    caller: Caller,
    State(app): State<App>,
    JsonBody(body): JsonBody<AgentBody>,
) -> Result<Created<Json<CreatedAgent>>, ApiError> {
    let new = caller.creates(body.into_agent()?)?;
    created(&app, new, &caller.by).await
}

/// Create an agent in an organization
///
/// Its secret is in this answer and never shown again.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create_in(
    path: OrganizationPath,
    State(app): State<App>,
    JsonBody(body): JsonBody<AgentBody>,
) -> Result<Created<Json<CreatedAgent>>, ApiError> {
    let new = NewAgent {
        organization_id: Some(path.id()),
        ..body.into_agent()?
    };
    created(&app, path.caller.creates(new)?, &path.caller.by).await
}

async fn created(
    app: &App,
    new: NewAgent,
    by: &By,
) -> Result<Created<Json<CreatedAgent>>, ApiError> {
    let (agent, secret) = app.agents.create(new, by).await?;
    tracing::info!(agent.id = %agent.id, "created an agent");
    let created = CreatedAgent {
        client_id: agent.client_id,
        agent: AgentView::new(agent, Usage::default()),
        client_secret: secret.reveal().to_owned(),
    };
    Ok(Created(Json(created)))
}

/// The answer about one agent.
///
/// # Errors
/// The store's failure.
pub async fn shown(app: &App, stored: StoredAgent) -> Result<Tagged<OneAgent>, ApiError> {
    let usage = Usage::read(&*app.store, &stored.value).await?;
    Ok(Tagged {
        version: stored.version,
        value: OneAgent {
            agent: AgentView::new(stored.value, usage),
        },
    })
}

/// Get an agent
#[utoipa::path(get, path = "")]
pub async fn get(path: AgentPath, State(app): State<App>) -> Result<Tagged<OneAgent>, ApiError> {
    shown(&app, path.stored).await
}

/// Change an agent
///
/// What is absent stays as it is. A scope that is taken away is gone here and from introspection at once; who verifies tokens
/// without asking takes those that have it until they expire, or are ended by a rotation with `revoke_tokens`.
#[utoipa::path(method(put, patch), path = "", responses(Conflict))]
pub async fn update(
    path: AgentPath,
    State(app): State<App>,
    if_match: IfMatch,
    JsonBody(body): JsonBody<AgentBody>,
) -> Result<Tagged<OneAgent>, ApiError> {
    let expected = if_match.version(path.stored.version)?;
    let change = body.into_change(app.clock.now())?;
    let stored = app
        .agents
        .update(path.id(), &change, expected, &path.by)
        .await?;
    tracing::info!(agent.id = %path.id(), "changed an agent");
    shown(&app, stored).await
}

/// Delete an agent
///
/// Its tokens are refused from now on.
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn delete(path: AgentPath, State(app): State<App>) -> Result<NoContent, ApiError> {
    deleted(&app, path.id(), &path.by).await
}

/// Deletes an agent for good.
///
/// # Errors
/// The store's failure.
pub async fn deleted(app: &App, id: AgentId, by: &By) -> Result<NoContent, ApiError> {
    app.agents.delete(id, by).await?;
    tracing::info!(agent.id = %id, "deleted an agent");
    Ok(NoContent)
}

/// Act on an agent
///
/// There is only the action `rotate`, which has a path of its own, too.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn act(
    path: AgentPath,
    State(app): State<App>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<RotatedSecret>, ApiError> {
    match body.action.as_deref() {
        Some("rotate") => rotated(&app, &path.stored.value, &body, &path.by).await,
        _ => Err(ApiError::invalid("action: must be \"rotate\"")),
    }
}

/// Give an agent a new secret
///
/// The secret is in this answer and never shown again. The one before it works for `grace` seconds more.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn rotate(
    path: AgentPath,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<ActionBody>,
) -> Result<Json<RotatedSecret>, ApiError> {
    rotated(&app, &path.stored.value, &body, &path.by).await
}

/// Gives an agent a new secret.
///
/// # Errors
/// When the grace is too long, or the store fails.
pub async fn rotated(
    app: &App,
    agent: &Agent,
    body: &ActionBody,
    by: &By,
) -> Result<Json<RotatedSecret>, ApiError> {
    let rotation = Rotation {
        grace: Duration::from_secs(body.grace),
        revoke_tokens: body.revoke_tokens,
    };
    let secret = app.agents.rotate(agent.id, rotation, by).await?;
    tracing::info!(agent.id = %agent.id, body.revoke_tokens, body.grace, "rotated an agent's secret");
    Ok(Json(RotatedSecret {
        client_secret: secret.reveal().to_owned(),
    }))
}

/// List the live secrets of an agent
///
/// Never what they are: when they were made, and when they were last used.
#[utoipa::path(get, path = "")]
pub async fn secrets(
    path: AgentPath,
    State(app): State<App>,
) -> Result<Json<SecretList>, ApiError> {
    let secrets = app.agents.secrets(&path.stored.value).await?;
    Ok(Json(SecretList {
        secrets: secrets
            .iter()
            .map(|(secret, last_used_at)| SecretView::new(secret, *last_used_at))
            .collect(),
    }))
}

/// The path's `secret_id`.
#[derive(Debug, Deserialize, IntoParams)]
pub struct SecretParameter {
    /// The secret.
    #[param(format = Uuid)]
    secret_id: String,
}

/// Cancel the secret that a rotation left alive
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn cancel_secret(
    path: AgentPath,
    Path(SecretParameter { secret_id }): Path<SecretParameter>,
    State(app): State<App>,
) -> Result<NoContent, ApiError> {
    let secret: SecretId = secret_id.parse().map_err(|_| ApiError::NO_SUCH_SECRET)?;
    app.agents
        .cancel_secret(path.id(), secret, &path.by)
        .await?;
    tracing::info!(agent.id = %path.id(), secret.id = %secret, "cancelled an agent's secret");
    Ok(NoContent)
}

/// Suspend an agent
///
/// It gets no tokens, and those that it has are refused, until it is reactivated.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn deactivate(
    path: AgentPath,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<ActionBody>,
) -> Result<Json<Done>, ApiError> {
    let suspension = Suspension {
        by_itself: false,
        revoke_tokens: body.revoke_tokens,
    };
    app.agents
        .deactivate(path.id(), suspension, &path.by)
        .await?;
    tracing::info!(agent.id = %path.id(), body.revoke_tokens, "deactivated an agent");
    Ok(Json(Done {
        message: "agent deactivated successfully",
    }))
}

/// End the suspension of an agent
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn reactivate(path: AgentPath, State(app): State<App>) -> Result<Json<Done>, ApiError> {
    app.agents.reactivate(path.id(), false, &path.by).await?;
    tracing::info!(agent.id = %path.id(), "reactivated an agent");
    Ok(Json(Done {
        message: "agent reactivated successfully",
    }))
}
