//! `/api/agents`: the administrator's view of agents.

use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use http::StatusCode;
use http::request::Parts;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};

use super::body::{JsonBody, OptionalJsonBody};
use super::caller::Caller;
use super::date::Date;
use super::organizations::OrganizationPath;
use crate::app::App;
use crate::domain::agent::{Agent, InvalidAgent, MAX_SCOPES, NewAgent};
use crate::domain::agents::AgentError;
use crate::domain::id::{AgentId, ClientId, TeamId};
use crate::domain::usage::Usage;
use crate::error::ApiError;

/// The most agents in one answer; a cursor leads to the rest.
const MAX_PAGE: usize = 1000;

/// An agent as the API shows it. Never a secret.
#[derive(Debug, Serialize)]
pub struct AgentView {
    id: AgentId,
    /// Empty while the agent belongs to no organization, as the documented clients expect.
    organization_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<TeamId>,
    name: String,
    client_id: ClientId,
    scopes: ScopeSet,
    is_active: bool,
    created_at: Date,
    updated_at: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Date>,
    token_count: i64,
    refresh_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity_at: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_token_issued_at: Option<Date>,
}

impl AgentView {
    fn new(agent: Agent, usage: Usage) -> Self {
        Self {
            id: agent.id,
            organization_id: agent
                .organization_id
                .map_or_else(String::new, |id| id.to_string()),
            team_id: agent.team_id,
            name: agent.name,
            client_id: agent.client_id,
            scopes: agent.scopes,
            is_active: agent.is_active,
            created_at: Date(agent.created_at),
            updated_at: Date(agent.updated_at),
            expires_at: agent.expires_at.map(Date),
            token_count: usage.token_count,
            refresh_count: usage.refresh_count,
            last_activity_at: usage.last_token_issued_at.map(Date),
            last_token_issued_at: usage.last_token_issued_at.map(Date),
        }
    }
}

/// One agent.
#[derive(Debug, Serialize)]
pub struct One {
    agent: AgentView,
}

/// A list of agents, and where it goes on.
#[derive(Debug, Serialize)]
pub struct Many {
    agents: Vec<AgentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<AgentId>,
}

/// A new agent with its credentials. The secret is shown here and never again.
#[derive(Debug, Serialize)]
pub struct Created {
    agent: AgentView,
    client_id: ClientId,
    client_secret: String,
}

/// A new secret. Shown here and never again.
#[derive(Debug, Serialize)]
pub struct Rotated {
    client_secret: String,
}

/// The agent that the path names.
#[derive(Debug)]
pub struct AgentPath(AgentId);

impl<S: Send + Sync> FromRequestParts<S> for AgentPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // What is no identifier names no agent.
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(id)| id.parse().ok());
        id.map(Self).ok_or(ApiError::NO_SUCH_AGENT)
    }
}

/// What happened, for people.
#[derive(Debug, Serialize)]
pub struct Done {
    message: &'static str,
}

/// The body of a creation.
#[derive(Debug, Deserialize)]
pub struct CreateRequest {
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    expires_in: Option<u64>,
    organization_id: Option<String>,
    team_id: Option<String>,
}

impl CreateRequest {
    fn into_agent(self) -> Result<NewAgent, ApiError> {
        // Before the set is made: making one compares each with all before it.
        if self.scopes.len() > MAX_SCOPES {
            return Err(AgentError::from(InvalidAgent::Scopes).into());
        }
        let scopes = self
            .scopes
            .iter()
            .map(|scope| scope.parse())
            .collect::<Result<ScopeSet, _>>()
            .map_err(|_| {
                ApiError::InvalidRequest(
                    "scopes: each of printable ASCII without spaces, quotes and backslashes".into(),
                )
            })?;
        Ok(NewAgent {
            organization_id: named(self.organization_id, AgentError::NoSuchOrganization)?,
            team_id: named(self.team_id, AgentError::NoSuchTeam)?,
            name: self.name,
            scopes,
            expires_in: self.expires_in.map(Duration::from_secs),
        })
    }
}

/// The object that a field of a body names; none when the field is absent or empty.
fn named<T: FromStr>(text: Option<String>, missing: AgentError) -> Result<Option<T>, ApiError> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map(Some).map_err(|_| missing.into()),
        None => Ok(None),
    }
}

/// The paging of a list.
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// The body of an action on an agent.
#[derive(Debug, Default, Deserialize)]
pub struct ActionRequest {
    action: Option<String>,
    #[serde(default)]
    revoke_tokens: bool,
}

/// `GET /api/agents`
pub async fn list(
    caller: Caller,
    State(app): State<App>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Many>, ApiError> {
    caller.global()?;
    let Query(query) = query.map_err(|_| {
        ApiError::InvalidRequest("limit: a number; cursor: from the last answer".into())
    })?;
    let limit = query.limit.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::InvalidRequest(
            format!("limit: 1 to {MAX_PAGE}").into(),
        ));
    }
    let after = query
        .cursor
        .as_deref()
        .map(str::parse::<AgentId>)
        .transpose();
    let after = after
        .map_err(|_| ApiError::InvalidRequest("cursor: take it from the last answer".into()))?;
    let mut agents = app.agents.list(after, limit + 1).await?;
    let more = agents.len() > limit;
    agents.truncate(limit);
    let next_cursor = agents.last().filter(|_| more).map(|agent| agent.id);
    let usages = Usage::read_all(&*app.store, &agents).await?;
    let agents = agents
        .into_iter()
        .zip(usages)
        .map(|(agent, usage)| AgentView::new(agent, usage))
        .collect();
    Ok(Json(Many {
        agents,
        next_cursor,
    }))
}

/// `POST /api/agents`
pub async fn create(
    caller: Caller,
    State(app): State<App>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let new = caller.creates(request.into_agent()?)?;
    created(&app, new).await
}

/// `POST /api/organizations/{organization_id}/agents`
pub async fn create_in(
    path: OrganizationPath,
    State(app): State<App>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let new = NewAgent {
        organization_id: Some(path.id()),
        ..request.into_agent()?
    };
    created(&app, path.caller.creates(new)?).await
}

async fn created(app: &App, new: NewAgent) -> Result<(StatusCode, Json<Created>), ApiError> {
    let (agent, secret) = app.agents.create(new).await?;
    tracing::info!(agent.id = %agent.id, "created an agent");
    let client_id = agent.client_id;
    let agent = AgentView::new(agent, Usage::default());
    Ok((
        StatusCode::CREATED,
        Json(Created {
            agent,
            client_id,
            client_secret: secret.reveal().to_owned(),
        }),
    ))
}

/// `GET /api/agents/{id}`
pub async fn get(
    caller: Caller,
    State(app): State<App>,
    AgentPath(id): AgentPath,
) -> Result<Json<One>, ApiError> {
    let agent = reached(&app, &caller, id).await?;
    let usage = Usage::read(&*app.store, &agent).await?;
    Ok(Json(One {
        agent: AgentView::new(agent, usage),
    }))
}

/// `DELETE /api/agents/{id}`
pub async fn delete(
    caller: Caller,
    State(app): State<App>,
    AgentPath(id): AgentPath,
) -> Result<StatusCode, ApiError> {
    reached(&app, &caller, id).await?;
    app.agents.delete(id).await?;
    tracing::info!(agent.id = %id, "deleted an agent");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/agents/{id}` with an `action`.
pub async fn act(
    caller: Caller,
    State(app): State<App>,
    AgentPath(id): AgentPath,
    JsonBody(request): JsonBody<ActionRequest>,
) -> Result<Json<Rotated>, ApiError> {
    reached(&app, &caller, id).await?;
    match request.action.as_deref() {
        Some("rotate") => rotate_secret(&app, id, request.revoke_tokens).await,
        _ => Err(ApiError::InvalidRequest(
            "action: must be \"rotate\"".into(),
        )),
    }
}

/// `POST /api/agents/{id}/rotate`
pub async fn rotate(
    caller: Caller,
    State(app): State<App>,
    AgentPath(id): AgentPath,
    OptionalJsonBody(request): OptionalJsonBody<ActionRequest>,
) -> Result<Json<Rotated>, ApiError> {
    reached(&app, &caller, id).await?;
    rotate_secret(&app, id, request.revoke_tokens).await
}

/// The agent `id`, if it is the caller's to see.
async fn reached(app: &App, caller: &Caller, id: AgentId) -> Result<Agent, ApiError> {
    let agent = app.agents.find(id).await?.value;
    caller.reaches(
        agent.organization_id,
        agent.team_id,
        ApiError::NO_SUCH_AGENT,
    )?;
    Ok(agent)
}

async fn rotate_secret(
    app: &App,
    id: AgentId,
    revoke_tokens: bool,
) -> Result<Json<Rotated>, ApiError> {
    let secret = app.agents.rotate(id, revoke_tokens).await?;
    tracing::info!(agent.id = %id, revoke_tokens, "rotated an agent's secret");
    Ok(Json(Rotated {
        client_secret: secret.reveal().to_owned(),
    }))
}

/// `POST /api/agents/{id}/deactivate`
pub async fn deactivate(
    caller: Caller,
    State(app): State<App>,
    AgentPath(id): AgentPath,
    OptionalJsonBody(request): OptionalJsonBody<ActionRequest>,
) -> Result<Json<Done>, ApiError> {
    reached(&app, &caller, id).await?;
    app.agents.deactivate(id, request.revoke_tokens).await?;
    tracing::info!(agent.id = %id, revoke_tokens = request.revoke_tokens, "deactivated an agent");
    Ok(Json(Done {
        message: "agent deactivated successfully",
    }))
}

/// `POST /api/agents/{id}/reactivate`
pub async fn reactivate(
    caller: Caller,
    State(app): State<App>,
    AgentPath(id): AgentPath,
) -> Result<Json<Done>, ApiError> {
    reached(&app, &caller, id).await?;
    app.agents.reactivate(id).await?;
    tracing::info!(agent.id = %id, "reactivated an agent");
    Ok(Json(Done {
        message: "agent reactivated successfully",
    }))
}
