//! `/api/agents`: the administrator's view of agents.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};

use super::admin::Administrator;
use super::body::JsonBody;
use crate::app::App;
use crate::domain::agent::{Agent, NewAgent};
use crate::domain::id::{AgentId, ClientId};
use crate::domain::usage::Usage;
use crate::error::ApiError;
use crate::store::StoreError;

/// The most agents in one answer; a cursor leads to the rest.
const MAX_PAGE: usize = 1000;
/// How many agents' counters are read at the same time.
const CONCURRENT_READS: usize = 32;
const NO_SUCH_AGENT: ApiError = ApiError::NotFound("there is no such agent");

/// An agent as the API shows it. Never a secret.
#[derive(Debug, Serialize)]
pub struct AgentView {
    id: AgentId,
    /// Empty while the agent belongs to no organization, as the documented clients expect.
    organization_id: &'static str,
    name: String,
    client_id: ClientId,
    scopes: ScopeSet,
    is_active: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    token_count: i64,
    refresh_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_token_issued_at: Option<DateTime<Utc>>,
}

impl AgentView {
    fn new(agent: Agent, usage: Usage) -> Self {
        Self {
            id: agent.id,
            organization_id: "",
            name: agent.name,
            client_id: agent.client_id,
            scopes: agent.scopes,
            is_active: agent.is_active,
            created_at: date(agent.created_at),
            updated_at: date(agent.updated_at),
            expires_at: agent.expires_at.map(date),
            token_count: usage.token_count,
            refresh_count: usage.refresh_count,
            last_activity_at: usage.last_token_issued_at.map(date),
            last_token_issued_at: usage.last_token_issued_at.map(date),
        }
    }

    async fn read(app: &App, agent: Agent) -> Result<Self, StoreError> {
        let usage = Usage::read(&*app.store, agent.id).await?;
        Ok(Self::new(agent, usage))
    }
}

fn date(at: Timestamp) -> DateTime<Utc> {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
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
        for (field, value) in [
            ("organization_id", self.organization_id),
            ("team_id", self.team_id),
        ] {
            if value.is_some_and(|id| !id.is_empty()) {
                return Err(ApiError::InvalidRequest(
                    format!("{field}: there is no such object").into(),
                ));
            }
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
            name: self.name,
            scopes,
            expires_in: self.expires_in.map(Duration::from_secs),
        })
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
    _: Administrator,
    State(app): State<App>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Many>, ApiError> {
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
    let views = stream::iter(agents)
        .map(|agent| AgentView::read(&app, agent))
        .buffered(CONCURRENT_READS);
    Ok(Json(Many {
        agents: views.try_collect().await?,
        next_cursor,
    }))
}

/// `POST /api/agents`
pub async fn create(
    _: Administrator,
    State(app): State<App>,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<Created>), ApiError> {
    let (agent, secret) = app.agents.create(request.into_agent()?).await?;
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
    _: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<One>, ApiError> {
    let agent = app.agents.find(parse(&id)?).await?.value;
    Ok(Json(One {
        agent: AgentView::read(&app, agent).await?,
    }))
}

/// `DELETE /api/agents/{id}`
pub async fn delete(
    _: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse(&id)?;
    app.agents.delete(id).await?;
    tracing::info!(agent.id = %id, "deleted an agent");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/agents/{id}` with an `action`.
pub async fn act(
    _: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ActionRequest>,
) -> Result<Json<Rotated>, ApiError> {
    match request.action.as_deref() {
        Some("rotate") => rotate_secret(&app, &id, request.revoke_tokens).await,
        _ => Err(ApiError::InvalidRequest(
            "action: must be \"rotate\"".into(),
        )),
    }
}

/// `POST /api/agents/{id}/rotate`
pub async fn rotate(
    _: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Rotated>, ApiError> {
    rotate_secret(&app, &id, false).await
}

async fn rotate_secret(
    app: &App,
    id: &str,
    revoke_tokens: bool,
) -> Result<Json<Rotated>, ApiError> {
    let id = parse(id)?;
    let secret = app.agents.rotate(id, revoke_tokens).await?;
    tracing::info!(agent.id = %id, revoke_tokens, "rotated an agent's secret");
    Ok(Json(Rotated {
        client_secret: secret.reveal().to_owned(),
    }))
}

/// `POST /api/agents/{id}/deactivate`
pub async fn deactivate(
    _: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    let id = parse(&id)?;
    app.agents.set_active(id, false).await?;
    tracing::info!(agent.id = %id, "deactivated an agent");
    Ok(Json(Done {
        message: "agent deactivated successfully",
    }))
}

/// `POST /api/agents/{id}/reactivate`
pub async fn reactivate(
    _: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    let id = parse(&id)?;
    app.agents.set_active(id, true).await?;
    tracing::info!(agent.id = %id, "reactivated an agent");
    Ok(Json(Done {
        message: "agent reactivated successfully",
    }))
}

/// What is no identifier names no agent.
fn parse(id: &str) -> Result<AgentId, ApiError> {
    id.parse().map_err(|_| NO_SUCH_AGENT)
}
