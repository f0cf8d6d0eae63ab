//! `/api/organizations/{organization_id}/api-keys`

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::NoContent;
use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::JsonBody;
use super::created::Created;
use super::organizations::OrganizationPath;
use crate::app::App;
use crate::date::Date;
use crate::domain::api_keys::{ApiKey, ApiKeyError, InvalidApiKey, NewApiKey};
use crate::domain::id::{ApiKeyId, OrganizationId, TeamId};
use crate::domain::teams::TeamError;
use crate::error::ApiError;
use crate::openapi::{Conflict, Scopes};

/// An API key as the API shows it. Never its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyView {
    id: ApiKeyId,
    organization_id: OrganizationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<TeamId>,
    name: String,
    /// How its text begins.
    prefix: String,
    /// The same, where the Go service's SDKs look for it.
    key_prefix: String,
    #[schema(value_type = Scopes)]
    scopes: ScopeSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Date>,
    is_active: bool,
    created_at: Date,
}

impl ApiKeyView {
    fn new(key: ApiKey, last_used_at: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            is_active: key.is_active(now),
            id: key.id,
            organization_id: key.organization_id,
            team_id: key.team_id,
            name: key.name,
            key_prefix: key.prefix.clone(),
            prefix: key.prefix,
            scopes: key.scopes,
            last_used_at: last_used_at.map(Date),
            expires_at: key.expires_at.map(Date),
            created_at: Date(key.created_at),
        }
    }
}

/// All API keys of an organization.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyList {
    api_keys: Vec<ApiKeyView>,
}

/// A new API key. Its text is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedApiKey {
    api_key: ApiKeyView,
    /// Goes into `X-API-Key` or `Authorization: Bearer`.
    key: String,
}

/// The body of a creation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewApiKey)]
pub struct CreateApiKey {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The only team that the key will administer.
    team_id: Option<String>,
    /// Seconds until the key expires; it never does without.
    #[schema(minimum = 1)]
    expires_in: Option<u64>,
    /// What the key will be good for; everything without.
    #[schema(value_type = Option<Scopes>)]
    scopes: Option<Vec<String>>,
}

/// The path's `key_id`.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ApiKeyParameter {
    /// The API key.
    #[param(format = Uuid)]
    key_id: String,
}

/// List the API keys of an organization
#[utoipa::path(get, path = "")]
pub async fn list(
    path: OrganizationPath,
    State(app): State<App>,
) -> Result<Json<ApiKeyList>, ApiError> {
    path.caller.whole_tenant()?;
    let now = app.clock.now();
    let keys = app.api_keys.list(path.id()).await?.into_iter();
    Ok(Json(ApiKeyList {
        api_keys: keys
            .map(|(key, last_used_at)| ApiKeyView::new(key, last_used_at, now))
            .collect(),
    }))
}

/// Create an API key
///
/// Its text is in this answer and never shown again.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create(
    path: OrganizationPath,
    State(app): State<App>,
    JsonBody(request): JsonBody<CreateApiKey>,
) -> Result<Created<Json<CreatedApiKey>>, ApiError> {
    path.caller.whole_tenant()?;
    let team = match request.team_id.filter(|id| !id.is_empty()) {
        None => None,
        Some(id) => {
            let no_such_team =
                || ApiError::InvalidRequest("team_id: the organization has no such team".into());
            let id: TeamId = id.parse().map_err(|_| no_such_team())?;
            let found = app.teams.find(path.id(), id).await;
            Some(found.map_err(|error| match error {
                TeamError::NotFound => no_such_team(),
                failed => failed.into(),
            })?)
        }
    };
    let scopes = request.scopes.map(|scopes| {
        let scopes: Result<ScopeSet, _> = scopes.iter().map(|scope| scope.parse()).collect();
        scopes.map_err(|_| ApiKeyError::from(InvalidApiKey::Scopes))
    });
    let new = NewApiKey {
        name: request.name,
        team,
        scopes: scopes.transpose()?,
        expires_in: request.expires_in.map(Duration::from_secs),
    };
    let (key, text) = app
        .api_keys
        .create(&path.organization, new, &path.caller.by)
        .await?;
    tracing::info!(api_key.id = %key.id, organization.id = %path.id(), "created an API key");
    let created = CreatedApiKey {
        api_key: ApiKeyView::new(key, None, app.clock.now()),
        key: text.reveal().to_owned(),
    };
    Ok(Created(Json(created)))
}

/// Revoke an API key
#[utoipa::path(delete, path = "", responses(Conflict))]
pub async fn delete(
    path: OrganizationPath,
    State(app): State<App>,
    Path(ApiKeyParameter { key_id }): Path<ApiKeyParameter>,
) -> Result<NoContent, ApiError> {
    path.caller.whole_tenant()?;
    let id: ApiKeyId = key_id.parse().map_err(|_| ApiError::NO_SUCH_API_KEY)?;
    app.api_keys.delete(path.id(), id, &path.caller.by).await?;
    tracing::info!(api_key.id = %id, organization.id = %path.id(), "revoked an API key");
    Ok(NoContent)
}
