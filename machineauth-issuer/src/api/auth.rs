//! `/api/auth`: the documented login of administrators.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, NoContent, Response};
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::myself::Myself;
use crate::app::App;
use crate::context::Origin;
use crate::domain::administrators::{Identity, Proof, Role, SESSION_LIFETIME, SessionKind};
use crate::domain::event::{Action, Actor};
use crate::domain::id::{AdministratorId, OrganizationId};
use crate::domain::organization::Organization;
use crate::error::{ApiError, challenges};
use crate::openapi::{Conflict, TooManyRequests};
use crate::sign_in::by_password;

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
    id: AdministratorId,
    email: Box<str>,
    role: &'static str,
}

/// An organization that an administrator administers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Membership {
    organization_id: OrganizationId,
    organization_name: String,
    organization_slug: String,
    role: &'static str,
}

impl Membership {
    fn new(organization: Organization, role: Role) -> Self {
        Self {
            organization_id: organization.id,
            organization_slug: organization.slug.as_str().to_owned(),
            organization_name: organization.name,
            role: role.as_str(),
        }
    }
}

/// The body of a change of one's own password.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordChange)]
pub struct ChangePassword {
    /// The password as it is.
    current_password: String,
    /// As it is to be: 12 characters at least.
    #[schema(min_length = 12, max_length = 1024)]
    new_password: String,
}

/// Log in as an administrator of the server
///
/// The token works eight hours, at every issuer on the store, until the session is ended or the password changes.
#[utoipa::path(post, path = "", responses(
    (status = 200, body = LoginAnswer, description = "Logged in."),
    (status = 401, body = LoginAnswer, description = "The e-mail address or the password is wrong.", headers(
        ("WWW-Authenticate", description = "How to authenticate (RFC 9110 §11.6.1)."),
    )),
    TooManyRequests,
))]
pub async fn login(
    State(app): State<App>,
    origin: Origin,
    JsonBody(login): JsonBody<Login>,
) -> Response {
    let (user, password) = (login.username, login.password.into());
    let proven = by_password(&app, &origin, Action::LoginFailed, &user, &password).await;
    match proven {
        Ok(proof) => match begin_session(&app, &origin, &proof).await {
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
            let challenge = [(WWW_AUTHENTICATE, challenges::BASIC)];
            (StatusCode::UNAUTHORIZED, challenge, Json(refused)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

async fn begin_session(
    app: &App,
    origin: &Origin,
    proof: &Proof,
) -> Result<Json<LoginAnswer>, ApiError> {
    let identity = proof.identity();
    let by = origin.by(Actor::Administrator {
        email: identity.email.clone(),
    });
    let begun = app
        .administrators
        .begin_session(proof, SessionKind::Api, &by);
    let (session, token) = begun.await?;
    tracing::info!(administrator.id = %identity.id, session.id = %session.id, "an administrator logged in");
    Ok(Json(LoginAnswer {
        success: true,
        access_token: token.reveal().to_owned(),
        expires_in: SESSION_LIFETIME.as_secs(),
        role: identity.role.as_str(),
        error: None,
        error_description: None,
        message: None,
    }))
}

/// Log out
///
/// Ends the session whose token the request came with; HTTP Basic has none.
#[utoipa::path(post, path = "")]
pub async fn logout(myself: Myself, State(app): State<App>) -> Result<NoContent, ApiError> {
    if let Some(session) = &myself.session {
        let administrators = &app.administrators;
        administrators
            .end_session(session.administrator, session.id, &myself.by)
            .await?;
    }
    Ok(NoContent)
}

/// Say who is logged in
#[utoipa::path(get, path = "")]
pub async fn me(myself: Myself, State(app): State<App>) -> Result<Json<Me>, ApiError> {
    let Identity {
        id, email, role, ..
    } = myself.identity;
    let organizations = app.organizations.list(None, MAX_MEMBERSHIPS).await?;
    Ok(Json(Me {
        user: User {
            id,
            email,
            role: role.as_str(),
        },
        memberships: organizations
            .into_iter()
            .map(|organization| Membership::new(organization, role))
            .collect(),
    }))
}

/// Change your own password
///
/// All of your sessions end, the one of this request as well.
#[utoipa::path(post, path = "", responses(Conflict, TooManyRequests))]
pub async fn change_password(
    myself: Myself,
    State(app): State<App>,
    origin: Origin,
    JsonBody(body): JsonBody<ChangePassword>,
) -> Result<NoContent, ApiError> {
    let (current, new) = (body.current_password.into(), body.new_password.into());
    let failed = Action::AuthenticationFailed;
    let proof = by_password(&app, &origin, failed, &myself.identity.email, &current).await;
    let proof = proof.map_err(|error| match error {
        ApiError::Unauthorized => {
            ApiError::Forbidden("current_password: this is not your password")
        }
        error => error,
    })?;
    let changed = app.administrators.change_password(&proof, &new, &myself.by);
    changed.await?;
    tracing::info!(administrator.id = %myself.identity.id, "an administrator changed its password");
    Ok(NoContent)
}
