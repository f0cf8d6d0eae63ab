//! `/api/auth/sessions` and `/api/administrators/{administrator_id}/sessions`: where administrators are signed in.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::NoContent;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::administrators::AdministratorParameter;
use super::myself::{CallingOwner, Myself};
use crate::app::App;
use crate::date::Date;
use crate::domain::administrators::{Session, SessionKind};
use crate::domain::event::{By, UserAgent};
use crate::domain::id::{AdministratorId, SessionId};
use crate::error::ApiError;
use crate::openapi::NotFound;

/// A session as the API shows it. Never its token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    id: SessionId,
    kind: SessionKind,
    /// Whether it is the one of this request.
    is_current: bool,
    created_at: Date,
    /// To the minute.
    last_used_at: Date,
    /// When it ends at the latest.
    expires_at: Date,
    /// The address that it began from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    ip_address: Option<IpAddr>,
    /// What it began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    user_agent: Option<UserAgent>,
}

impl SessionView {
    fn new(session: Session, current: Option<SessionId>) -> Self {
        Self {
            is_current: Some(session.id) == current,
            id: session.id,
            kind: session.kind,
            created_at: Date(session.created_at),
            last_used_at: Date(session.last_used_at),
            expires_at: Date(session.expires_at),
            ip_address: session.address,
            user_agent: session.user_agent,
        }
    }
}

/// The sessions of an administrator, the one that was used last first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    sessions: Vec<SessionView>,
}

/// The path's `session_id`.
#[derive(Debug, Deserialize, IntoParams)]
pub struct SessionParameter {
    /// The session.
    #[param(format = Uuid)]
    session_id: String,
}

/// Whose session, and which.
#[derive(Debug, Deserialize, IntoParams)]
pub struct SessionPath {
    /// The administrator.
    #[param(format = Uuid)]
    administrator_id: String,
    /// The session.
    #[param(format = Uuid)]
    session_id: String,
}

/// List your own sessions
#[utoipa::path(get, path = "")]
pub async fn list_own(
    myself: Myself,
    State(app): State<App>,
) -> Result<Json<SessionList>, ApiError> {
    list_of(&app, myself.identity.id, myself.session.as_ref()).await
}

/// Sign out everywhere
///
/// All of your sessions end, the one of this request as well.
#[utoipa::path(delete, path = "")]
pub async fn end_all_own(myself: Myself, State(app): State<App>) -> Result<NoContent, ApiError> {
    end_all_of(&app, myself.identity.id, &myself.by).await
}

/// End one of your own sessions
#[utoipa::path(delete, path = "", responses(NotFound))]
pub async fn end_own(
    myself: Myself,
    State(app): State<App>,
    Path(path): Path<SessionParameter>,
) -> Result<NoContent, ApiError> {
    end_one_of(&app, myself.identity.id, &path.session_id, &myself.by).await
}

/// List the sessions of an administrator
///
/// For owners.
#[utoipa::path(get, path = "", responses(NotFound))]
pub async fn list(
    caller: CallingOwner,
    State(app): State<App>,
    Path(path): Path<AdministratorParameter>,
) -> Result<Json<SessionList>, ApiError> {
    let administrator = app.administrators.find(path.id()?).await?;
    list_of(&app, administrator.id, caller.session.as_ref()).await
}

/// Sign an administrator out everywhere
///
/// For owners.
#[utoipa::path(delete, path = "", responses(NotFound))]
pub async fn end_all(
    caller: CallingOwner,
    State(app): State<App>,
    Path(path): Path<AdministratorParameter>,
) -> Result<NoContent, ApiError> {
    let administrator = app.administrators.find(path.id()?).await?;
    end_all_of(&app, administrator.id, &caller.by).await
}

/// End a session of an administrator
///
/// For owners.
#[utoipa::path(delete, path = "", responses(NotFound))]
pub async fn end(
    caller: CallingOwner,
    State(app): State<App>,
    Path(path): Path<SessionPath>,
) -> Result<NoContent, ApiError> {
    let administrator = path.administrator_id.parse();
    let administrator = administrator.map_err(|_| ApiError::NO_SUCH_ADMINISTRATOR)?;
    end_one_of(&app, administrator, &path.session_id, &caller.by).await
}

async fn list_of(
    app: &App,
    administrator: AdministratorId,
    current: Option<&Session>,
) -> Result<Json<SessionList>, ApiError> {
    let current = current.map(|session| session.id);
    let sessions = app.administrators.sessions(administrator).await?;
    Ok(Json(SessionList {
        sessions: sessions
            .into_iter()
            .map(|session| SessionView::new(session, current))
            .collect(),
    }))
}

async fn end_all_of(
    app: &App,
    administrator: AdministratorId,
    by: &By,
) -> Result<NoContent, ApiError> {
    let ended = app
        .administrators
        .end_sessions(administrator, None, by)
        .await?;
    tracing::info!(administrator.id = %administrator, ended, "ended the sessions of an administrator");
    Ok(NoContent)
}

async fn end_one_of(
    app: &App,
    administrator: AdministratorId,
    session: &str,
    by: &By,
) -> Result<NoContent, ApiError> {
    let id = session.parse().map_err(|_| ApiError::NO_SUCH_SESSION)?;
    app.administrators
        .end_session(administrator, id, by)
        .await?;
    Ok(NoContent)
}
