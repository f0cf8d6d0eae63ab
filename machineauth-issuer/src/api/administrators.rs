//! `/api/administrators`: who administers the server.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::NoContent;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::JsonBody;
use super::myself::{CallingOwner, Myself};
use crate::app::App;
use crate::date::Date;
use crate::domain::administrators::{Profile, Role};
use crate::domain::id::AdministratorId;
use crate::error::ApiError;
use crate::openapi::{Conflict, NotFound};

/// An administrator as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Administrator)]
pub struct AdministratorView {
    id: AdministratorId,
    email: Box<str>,
    role: Role,
    /// Whether the configuration names it: it is an owner as long as that does.
    is_configured: bool,
    /// When it joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Date>,
    /// When its password was set; absent while that is the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_changed_at: Option<Date>,
}

impl From<Profile> for AdministratorView {
    fn from(profile: Profile) -> Self {
        Self {
            id: profile.id,
            email: profile.email,
            role: profile.role,
            is_configured: profile.is_configured,
            created_at: profile.created_at.map(Date),
            password_changed_at: profile.password_changed_at.map(Date),
        }
    }
}

/// All administrators, in the order of their addresses.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdministratorList {
    administrators: Vec<AdministratorView>,
}

/// The body of a change.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdministratorChange)]
pub struct UpdateAdministrator {
    /// What it may do from now on.
    role: Role,
}

/// The path's `administrator_id`.
#[derive(Debug, Deserialize, IntoParams)]
pub struct AdministratorParameter {
    /// The administrator.
    #[param(format = Uuid)]
    administrator_id: String,
}

impl AdministratorParameter {
    /// Whom the path names.
    ///
    /// # Errors
    /// As for an administrator who is not there.
    pub fn id(&self) -> Result<AdministratorId, ApiError> {
        let id = self.administrator_id.parse();
        id.map_err(|_| ApiError::NO_SUCH_ADMINISTRATOR)
    }
}

/// List administrators
#[utoipa::path(get, path = "")]
pub async fn list(_: Myself, State(app): State<App>) -> Result<Json<AdministratorList>, ApiError> {
    let all = app.administrators.list().await?;
    Ok(Json(AdministratorList {
        administrators: all.into_iter().map(AdministratorView::from).collect(),
    }))
}

/// Get an administrator
#[utoipa::path(get, path = "", responses(NotFound))]
pub async fn get(
    _: Myself,
    State(app): State<App>,
    Path(path): Path<AdministratorParameter>,
) -> Result<Json<AdministratorView>, ApiError> {
    let profile = app.administrators.find(path.id()?).await?;
    Ok(Json(profile.into()))
}

/// Give an administrator another role
///
/// For owners. Its sessions end. The configured administrator stays an owner.
#[utoipa::path(patch, path = "", responses(NotFound, Conflict))]
pub async fn update(
    caller: CallingOwner,
    State(app): State<App>,
    Path(path): Path<AdministratorParameter>,
    JsonBody(body): JsonBody<UpdateAdministrator>,
) -> Result<Json<AdministratorView>, ApiError> {
    let (id, role) = (path.id()?, body.role);
    let profile = app
        .administrators
        .set_role(&caller.owner, id, role, &caller.by)
        .await?;
    tracing::info!(administrator.id = %id, %role, "gave an administrator another role");
    Ok(Json(profile.into()))
}

/// Remove an administrator
///
/// For owners. Its sessions and its invitations end. The configured administrator stays.
#[utoipa::path(delete, path = "", responses(NotFound, Conflict))]
pub async fn delete(
    caller: CallingOwner,
    State(app): State<App>,
    Path(path): Path<AdministratorParameter>,
) -> Result<NoContent, ApiError> {
    let id = path.id()?;
    app.administrators
        .remove(&caller.owner, id, &caller.by)
        .await?;
    tracing::info!(administrator.id = %id, "removed an administrator");
    Ok(NoContent)
}
