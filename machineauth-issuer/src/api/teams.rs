//! `/api/organizations/{organization_id}/teams`

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::body::JsonBody;
use super::date::Date;
use super::etag::{Tagged, if_match};
use super::organizations::OrganizationPath;
use crate::app::App;
use crate::domain::id::{OrganizationId, TeamId};
use crate::domain::teams::{Team, TeamChange};
use crate::error::ApiError;
use crate::store::Versioned;

/// A team as the API shows it.
#[derive(Debug, Serialize)]
pub struct TeamView {
    id: TeamId,
    organization_id: OrganizationId,
    name: String,
    description: String,
    created_at: Date,
    updated_at: Date,
}

impl From<Team> for TeamView {
    fn from(team: Team) -> Self {
        Self {
            id: team.id,
            organization_id: team.organization_id,
            name: team.name,
            description: team.description,
            created_at: Date(team.created_at),
            updated_at: Date(team.updated_at),
        }
    }
}

/// All teams of an organization.
#[derive(Debug, Serialize)]
pub struct TeamList {
    teams: Vec<TeamView>,
}

/// The body of a creation.
#[derive(Debug, Deserialize)]
pub struct CreateTeam {
    name: String,
    #[serde(default)]
    description: String,
}

/// The body of a change. What is absent stays as it is.
#[derive(Debug, Deserialize)]
pub struct UpdateTeam {
    name: Option<String>,
    description: Option<String>,
}

/// The team that the path names.
#[derive(Debug)]
pub struct TeamPath {
    path: OrganizationPath,
    team: Versioned<Team>,
}

#[derive(Deserialize)]
struct TeamParameter {
    team_id: String,
}

impl FromRequestParts<App> for TeamPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let path = OrganizationPath::from_request_parts(parts, app).await?;
        let parameter = Path::<TeamParameter>::from_request_parts(parts, app).await;
        let id: Option<TeamId> = parameter
            .ok()
            .and_then(|Path(path)| path.team_id.parse().ok());
        let id = id.ok_or(ApiError::NO_SUCH_TEAM)?;
        path.caller
            .reaches(Some(path.id()), Some(id), ApiError::NO_SUCH_TEAM)?;
        let team = app.teams.find(path.id(), id).await?;
        Ok(Self { path, team })
    }
}

fn tagged(stored: Versioned<Team>) -> Tagged<TeamView> {
    Tagged {
        version: stored.version,
        value: stored.value.into(),
    }
}

/// `GET …/teams`
pub async fn list(
    path: OrganizationPath,
    State(app): State<App>,
) -> Result<Json<TeamList>, ApiError> {
    let teams = app.teams.list(path.id()).await?;
    let teams = teams
        .into_iter()
        .filter(|team| {
            let reached = path.caller.reaches(
                Some(team.organization_id),
                Some(team.id),
                ApiError::NO_SUCH_TEAM,
            );
            reached.is_ok()
        })
        .map(TeamView::from)
        .collect();
    Ok(Json(TeamList { teams }))
}

/// `POST …/teams`
pub async fn create(
    path: OrganizationPath,
    State(app): State<App>,
    JsonBody(request): JsonBody<CreateTeam>,
) -> Result<Response, ApiError> {
    path.caller.whole_tenant()?;
    let team = app
        .teams
        .create(
            &path.organization,
            request.name,
            request.description,
            &path.caller.by,
        )
        .await?;
    tracing::info!(team.id = %team.value.id, organization.id = %path.id(), "created a team");
    Ok((StatusCode::CREATED, tagged(team)).into_response())
}

/// `GET …/teams/{team_id}`
pub async fn get(path: TeamPath) -> Tagged<TeamView> {
    tagged(path.team)
}

/// `PUT …/teams/{team_id}` and `PATCH …/teams/{team_id}`
pub async fn update(
    TeamPath { path, team }: TeamPath,
    State(app): State<App>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<UpdateTeam>,
) -> Result<Tagged<TeamView>, ApiError> {
    path.caller.whole_tenant()?;
    let change = TeamChange {
        name: request.name,
        description: request.description,
    };
    let expected = if_match(&headers, team.version)?;
    let stored = app
        .teams
        .update(path.id(), team.value.id, change, expected, &path.caller.by)
        .await?;
    tracing::info!(team.id = %stored.value.id, "changed a team");
    Ok(tagged(stored))
}

/// `DELETE …/teams/{team_id}`
pub async fn delete(
    TeamPath { path, team }: TeamPath,
    State(app): State<App>,
) -> Result<StatusCode, ApiError> {
    path.caller.whole_tenant()?;
    app.teams
        .delete(path.id(), team.value.id, &path.caller.by)
        .await?;
    tracing::info!(team.id = %team.value.id, "deleted a team");
    Ok(StatusCode::NO_CONTENT)
}
