//! `/api/organizations/{organization_id}/teams`

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::NoContent;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::created::Created;
use super::etag::{IfMatch, Tagged};
use super::organizations::OrganizationPath;
use crate::app::App;
use crate::date::Date;
use crate::domain::id::{OrganizationId, TeamId};
use crate::domain::teams::{Team, TeamChange};
use crate::error::ApiError;
use crate::openapi::{Conflict, DescribeRequest, Description};
use crate::store::Versioned;

/// A team as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Team)]
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
#[derive(Debug, Serialize, ToSchema)]
pub struct TeamList {
    teams: Vec<TeamView>,
}

/// The body of a creation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewTeam)]
pub struct CreateTeam {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: String,
}

/// The body of a change. What is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TeamChange)]
pub struct UpdateTeam {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// For people.
    #[schema(max_length = 2000)]
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

impl DescribeRequest for TeamPath {
    fn describe(operation: &mut Description<'_>) {
        OrganizationPath::describe(operation);
        operation.path::<TeamId>("team_id", "The team.");
    }
}

fn tagged(stored: Versioned<Team>) -> Tagged<TeamView> {
    Tagged {
        version: stored.version,
        value: stored.value.into(),
    }
}

/// List the teams of an organization
///
/// An API key that was made for a team sees that team only.
#[utoipa::path(get, path = "")]
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

/// Create a team
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create(
    path: OrganizationPath,
    State(app): State<App>,
    JsonBody(request): JsonBody<CreateTeam>,
) -> Result<Created<Tagged<TeamView>>, ApiError> {
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
    Ok(Created(tagged(team)))
}

/// Get a team
#[utoipa::path(get, path = "")]
pub async fn get(path: TeamPath) -> Tagged<TeamView> {
    tagged(path.team)
}

/// Change a team
///
/// What is absent stays as it is.
#[utoipa::path(method(put, patch), path = "", responses(Conflict))]
pub async fn update(
    TeamPath { path, team }: TeamPath,
    State(app): State<App>,
    if_match: IfMatch,
    JsonBody(request): JsonBody<UpdateTeam>,
) -> Result<Tagged<TeamView>, ApiError> {
    path.caller.whole_tenant()?;
    let change = TeamChange {
        name: request.name,
        description: request.description,
    };
    let expected = if_match.version(team.version)?;
    let stored = app
        .teams
        .update(path.id(), team.value.id, change, expected, &path.caller.by)
        .await?;
    tracing::info!(team.id = %stored.value.id, "changed a team");
    Ok(tagged(stored))
}

/// Delete a team
///
/// Refused while agents belong to it.
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn delete(
    TeamPath { path, team }: TeamPath,
    State(app): State<App>,
) -> Result<NoContent, ApiError> {
    path.caller.whole_tenant()?;
    app.teams
        .delete(path.id(), team.value.id, &path.caller.by)
        .await?;
    tracing::info!(team.id = %team.value.id, "deleted a team");
    Ok(NoContent)
}
