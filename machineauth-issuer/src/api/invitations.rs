//! `/api/administrators/invitations` and `/api/auth/invitation`: how somebody becomes an administrator.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::NoContent;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::administrators::AdministratorView;
use super::body::JsonBody;
use super::created::Created;
use super::myself::CallingOwner;
use crate::app::App;
use crate::context::Origin;
use crate::date::Date;
use crate::domain::administrators::{AdministratorError, Email, InvalidEmail, Invitation, Role};
use crate::domain::event::Actor;
use crate::domain::id::AdministratorId;
use crate::error::ApiError;
use crate::openapi::{Conflict, NotFound, TooManyRequests};

/// An invitation that nobody has accepted yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
pub struct InvitationView {
    /// Names it, and the administrator that it makes.
    id: AdministratorId,
    email: Box<str>,
    role: Role,
    /// The owner who made it. It ends when that is none any more.
    invited_by: Box<str>,
    created_at: Date,
    expires_at: Date,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id,
            email: invitation.email,
            role: invitation.role,
            invited_by: invitation.invited_by,
            created_at: Date(invitation.created_at),
            expires_at: Date(invitation.expires_at),
        }
    }
}

/// The invitations that can be accepted, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvitationList {
    invitations: Vec<InvitationView>,
}

/// A new invitation. Its token is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedInvitation {
    invitation: InvitationView,
    /// Makes an administrator of whoever presents it first.
    token: String,
}

/// The body of an invitation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewInvitation)]
pub struct CreateInvitation {
    /// Who is invited.
    #[schema(format = Email)]
    email: String,
    /// What it will be.
    role: Role,
}

/// The body with which somebody accepts an invitation.
#[derive(Deserialize, ToSchema)]
#[schema(as = InvitationAcceptance)]
pub struct AcceptInvitation {
    /// The invitation's.
    token: String,
    /// The new administrator's: 12 characters at least.
    #[schema(min_length = 12, max_length = 1024)]
    password: String,
}

/// The path's `invitation_id`.
#[derive(Debug, Deserialize, IntoParams)]
pub struct InvitationParameter {
    /// The invitation.
    #[param(format = Uuid)]
    invitation_id: String,
}

/// List invitations
///
/// For owners.
#[utoipa::path(get, path = "")]
pub async fn list(
    caller: CallingOwner,
    State(app): State<App>,
) -> Result<Json<InvitationList>, ApiError> {
    let invitations = app.administrators.invitations(&caller.owner).await?;
    Ok(Json(InvitationList {
        invitations: invitations.into_iter().map(InvitationView::from).collect(),
    }))
}

/// Invite an administrator
///
/// For owners. The token works once, for three days, and is never shown again. Inviting the same address again makes the
/// token before worthless.
#[utoipa::path(post, path = "", responses(Conflict))]
pub async fn create(
    caller: CallingOwner,
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateInvitation>,
) -> Result<Created<Json<CreatedInvitation>>, ApiError> {
    let email: Email = body
        .email
        .parse()
        .map_err(|error: InvalidEmail| ApiError::InvalidRequest(error.to_string().into()))?;
    let role = body.role;
    let invited = app
        .administrators
        .invite(&caller.owner, &email, role, &caller.by);
    let (invitation, token) = invited.await?;
    tracing::info!(administrator.id = %invitation.id, %role, "invited an administrator");
    Ok(Created(Json(CreatedInvitation {
        invitation: invitation.into(),
        token: token.reveal().to_owned(),
    })))
}

/// Withdraw an invitation
///
/// For owners.
#[utoipa::path(delete, path = "", responses(NotFound))]
pub async fn delete(
    caller: CallingOwner,
    State(app): State<App>,
    Path(InvitationParameter { invitation_id }): Path<InvitationParameter>,
) -> Result<NoContent, ApiError> {
    let id = invitation_id
        .parse()
        .map_err(|_| AdministratorError::NoSuchInvitation)?;
    app.administrators
        .withdraw_invitation(&caller.owner, id, &caller.by)
        .await?;
    tracing::info!(administrator.id = %id, "withdrew an invitation");
    Ok(NoContent)
}

/// Accept an invitation
///
/// For whoever holds its token, once. The new administrator then logs in with its address and this password.
#[utoipa::path(post, path = "", responses(NotFound, TooManyRequests))]
pub async fn accept(
    State(app): State<App>,
    origin: Origin,
    JsonBody(body): JsonBody<AcceptInvitation>,
) -> Result<Created<Json<AdministratorView>>, ApiError> {
    let (token, password) = (body.token.into(), body.password.into());
    let by = origin.by(Actor::Anonymous);
    let accepted = app.administrators.accept_invitation(&token, &password, &by);
    let id = accepted.await?.identity().id;
    tracing::info!(administrator.id = %id, "somebody accepted an invitation");
    let profile = app.administrators.find(id).await?;
    Ok(Created(Json(profile.into())))
}
