//! `/api/auth`: the documented login of administrators.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::JsonBody;
use super::caller::{Caller, by_password};
use crate::app::App;
use crate::context::Origin;
use crate::domain::administrator::{SESSION_LIFETIME, Sessions};
use crate::domain::event::{self, Action, Fact};
use crate::domain::id::OrganizationId;
use crate::domain::organization::Organization;
use crate::error::ApiError;
use crate::openapi::TooManyRequests;
use crate::store::Partition;

/// What the one administrator is.
const ROLE: &str = "owner";
/// The most organizations that are shown as memberships.
const MAX_MEMBERSHIPS: usize = 1000;
const REFUSED: &str = "the e-mail address or the password is wrong";

/// The body of a login.
#[derive(Deserialize, ToSchema)]
pub struct Login {
    /// The administrator's address. `email` means the same.
    #[serde(alias = "email")]
    #[schema(required = false)]
    username: String,
    password: String,
}

/// The answer to a login. What is refused has the same members, empty, and says why.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginAnswer {
    success: bool,
    /// Goes into `Authorization: Bearer`.
    access_token: String,
    /// Seconds.
    expires_in: u64,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    user: User,
    /// What the administrator administers.
    memberships: Vec<Membership>,
}

/// An administrator.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    id: Uuid,
    email: String,
    role: &'static str,
}

/// An organization that the administrator administers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Membership {
    organization_id: OrganizationId,
    organization_name: String,
    organization_slug: String,
    role: &'static str,
}

impl From<Organization> for Membership {
    fn from(organization: Organization) -> Self {
        Self {
            organization_id: organization.id,
            organization_slug: organization.slug.as_str().to_owned(),
            organization_name: organization.name,
            role: ROLE,
        }
    }
}

/// Log in as the administrator of the server
///
/// The token works eight hours, at every issuer on the store, until the password changes.
#[utoipa::path(post, path = "", responses(
    (status = 200, body = LoginAnswer, description = "Logged in."),
    (status = 401, body = LoginAnswer, description = "The e-mail address or the password is wrong."),
    TooManyRequests,
))]
pub async fn login(
    State(app): State<App>,
    origin: Origin,
    JsonBody(login): JsonBody<Login>,
) -> Response {
    let (user, password) = (login.username, login.password.into());
    let sessions = match app.administrators.sessions().await {
        Ok(sessions) => sessions,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let proven = by_password(&app, &origin, Action::LoginFailed, &user, &password).await;
    match proven {
        Ok(caller) => match begin_session(&app, &caller, &sessions).await {
            Ok(answer) => answer.into_response(),
            Err(error) => error.into_response(),
        },
        Err(ApiError::Unauthorized) => {
            let refused = LoginAnswer {
                success: false,
                access_token: String::new(),
                expires_in: 0,
                role: "",
                error: Some("unauthorized"),
                error_description: Some(REFUSED),
                message: Some(REFUSED),
            };
            (StatusCode::UNAUTHORIZED, Json(refused)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

async fn begin_session(
    app: &App,
    caller: &Caller,
    sessions: &Sessions,
) -> Result<Json<LoginAnswer>, ApiError> {
    let fact = Fact::new(Action::LoginSucceeded);
    let now = app.clock.now();
    event::record_alone(&*app.store, Partition::SYSTEM, fact, &caller.by, now).await?;
    let token = sessions.begin(now);
    tracing::info!("the administrator logged in");
    Ok(Json(LoginAnswer {
        success: true,
        access_token: token.reveal().to_owned(),
        expires_in: SESSION_LIFETIME.as_secs(),
        role: ROLE,
        error: None,
        error_description: None,
        message: None,
    }))
}

/// Say who is logged in
#[utoipa::path(get, path = "")]
pub async fn me(caller: Caller, State(app): State<App>) -> Result<Json<Me>, ApiError> {
    caller.global()?;
    let organizations = app.organizations.list(None, MAX_MEMBERSHIPS).await?;
    Ok(Json(Me {
        user: User {
            id: app.administrators.id(),
            email: app.administrators.email().to_owned(),
            role: ROLE,
        },
        memberships: organizations.into_iter().map(Membership::from).collect(),
    }))
}
