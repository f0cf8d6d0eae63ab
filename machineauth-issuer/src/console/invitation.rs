//! `/admin/invitation/{token}`: where whoever was invited becomes an administrator.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::account::{about_new_password, new_password};
use super::address::Path;
use super::failure::Failure;
use super::form::Form;
use super::moment::Moment;
use super::page::{Assets, page, refused};
use super::session::{FormToken, Visitor, VisitorForm};
use super::sign_in;
use crate::app::App;
use crate::domain::administrators::{Invitation, Proof};
use crate::domain::event::Actor;
use crate::domain::password::SHORTEST;
use crate::domain::secret::SecretText;
use crate::error::ApiError;
use crate::paths;

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationPage {
    assets: Assets,
    token: FormToken,
    invitation: Invitation,
    form: Form,
}

impl InvitationPage {
    fn new(visitor: &Visitor, invitation: Invitation, form: Form) -> Self {
        Self {
            assets: Assets,
            token: visitor.token(),
            invitation,
            form,
        }
    }

    fn shortest(&self) -> usize {
        SHORTEST
    }
}

/// The form for a first password.
pub async fn show(
    visitor: Visitor,
    State(app): State<App>,
    Path(token): Path<String>,
) -> Result<Response, Failure> {
    let token = token.into();
    let invitation = app.administrators.invitation(&token).await?;
    let form = Form::default();
    let shown = page(&InvitationPage::new(&visitor, invitation, form));
    Ok(visitor.shown(shown))
}

/// Makes an administrator of whoever holds the link, and signs it in.
pub async fn accept(
    State(app): State<App>,
    Path(token): Path<String>,
    VisitorForm { visitor, mut form }: VisitorForm,
) -> Result<Response, Failure> {
    let token = token.into();
    let invitation = app.administrators.invitation(&token).await?;
    match accepted(&app, &visitor, &token, &form).await {
        Ok(proof) => {
            tracing::info!(role = %invitation.role, "an invitation was accepted");
            sign_in::replace(&app, &visitor).await?;
            sign_in::begun(&app, &visitor.origin, &proof, paths::ADMIN).await
        }
        Err(error) => {
            form.refuse(error)?;
            let shown = refused(&InvitationPage::new(&visitor, invitation, form));
            Ok(visitor.shown(shown))
        }
    }
}

async fn accepted(
    app: &App,
    visitor: &Visitor,
    token: &SecretText,
    form: &Form,
) -> Result<Proof, ApiError> {
    let password = new_password(form)?;
    let by = visitor.origin.by(Actor::Anonymous);
    let accepted = app.administrators.accept_invitation(token, &password, &by);
    accepted.await.map_err(about_new_password)
}
