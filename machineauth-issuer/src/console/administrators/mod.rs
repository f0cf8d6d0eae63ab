//! `/admin/administrators`: who may come in here. Owners decide.

mod detail;

pub use self::detail::{end_session, remove, set_role, show};

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::failure::Failure;
use crate::console::form::{Form, wrong};
use crate::console::moment::{Moment, Span};
use crate::console::page::{Done, Following, Section, Shell, page, refused};
use crate::console::session::{Administrator, Change};
use crate::console::shown_once::ShownOnce;
use crate::domain::administrators::{
    AdministratorError, Email, INVITATION_LIFETIME, Invitation, Owner, Profile, Role,
};
use crate::domain::event::By;
use crate::domain::id::AdministratorId;
use crate::domain::secret::SecretText;
use crate::error::ApiError;
use crate::paths;

#[derive(Template)]
#[template(path = "administrators/list.html")]
struct ListPage {
    shell: Shell,
    own: AdministratorId,
    profiles: Vec<Profile>,
    invitations: Vec<Invitation>,
}

/// The list, with those who are invited.
pub async fn list(
    administrator: Administrator,
    State(app): State<App>,
    Query(following): Query<Following>,
) -> Result<Response, Failure> {
    let invitations = match administrator.owner() {
        Ok(owner) => app.administrators.invitations(&owner).await?,
        Err(_) => Vec::new(),
    };
    Ok(page(&ListPage {
        shell: administrator
            .shell(&app, Section::Administrators)
            .after(following.done.as_deref()),
        own: administrator.identity.id,
        profiles: app.administrators.list().await?,
        invitations,
    }))
}

#[derive(Template)]
#[template(path = "administrators/invite.html")]
struct InvitePage {
    shell: Shell,
    form: Form,
}

impl InvitePage {
    fn new(app: &App, administrator: &Administrator, form: Form) -> Self {
        Self {
            shell: administrator.shell(app, Section::Administrators),
            form,
        }
    }

    fn lifetime(&self) -> Span {
        Span::of(&INVITATION_LIFETIME)
    }
}

/// The form of an invitation.
pub async fn invitation(
    administrator: Administrator,
    State(app): State<App>,
) -> Result<Response, Failure> {
    administrator.owner()?;
    let form = Form::filled([("role", Role::Viewer.as_str().to_owned())]);
    Ok(page(&InvitePage::new(&app, &administrator, form)))
}

/// Invites somebody and shows the link.
pub async fn invite(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    let owner = change.administrator.owner()?;
    match invited(&app, &change, &owner).await {
        Ok((invitation, token)) => {
            tracing::info!(role = %invitation.role, "invited an administrator");
            let link = format!(
                "{}{}/{}",
                app.config.tokens.issuer,
                paths::INVITATION,
                token.reveal()
            );
            let shown = ShownOnce {
                shell: change.administrator.shell(&app, Section::Administrators),
                title: &format!("{} is invited", invitation.email),
                label: "Link",
                purpose: "Whoever opens it first becomes the administrator: send it where only the invited person reads it.",
                path: paths::ADMINISTRATORS.to_owned(),
                back: "Administrators",
                secret: &link.into(),
            };
            Ok(shown.answer())
        }
        Err(error) => {
            let Change {
                administrator,
                form,
            } = change.refused(error)?;
            Ok(refused(&InvitePage::new(&app, &administrator, form)))
        }
    }
}

async fn invited(
    app: &App,
    change: &Change,
    owner: &Owner,
) -> Result<(Invitation, SecretText), ApiError> {
    let email = change.form.value("email").trim().parse::<Email>();
    let email = email.map_err(|_| wrong("email", "an e-mail address as ada@example.com"))?;
    let role = role(&change.form)?;
    change.prove(app).await?;
    let administrators = &app.administrators;
    Ok(administrators
        .invite(owner, &email, role, change.by())
        .await?)
}

/// Makes an invitation worthless.
pub async fn withdraw(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let (owner, id) = (change.administrator.owner()?, identifier(&id)?);
    let administrators = &app.administrators;
    let withdrawn = administrators.withdraw_invitation(&owner, id, change.by());
    let done = match withdrawn.await {
        Ok(()) => {
            tracing::info!(administrator.id = %id, "withdrew an invitation");
            Done::INVITATION_WITHDRAWN
        }
        // The page that was shown is older than that.
        Err(AdministratorError::NoSuchInvitation) => Done::INVITATION_GONE,
        Err(error) => return Err(error.into()),
    };
    Ok(done.then(paths::ADMINISTRATORS))
}

/// Ends a session of an administrator. What is to be said then.
pub(super) async fn ended(
    app: &App,
    administrator: AdministratorId,
    session: &str,
    by: &By,
) -> Result<Done, AdministratorError> {
    let missing = AdministratorError::NoSuchSession;
    let ended = match session.parse() {
        Ok(session) => {
            let administrators = &app.administrators;
            administrators.end_session(administrator, session, by).await
        }
        Err(_) => Err(missing),
    };
    match ended {
        Ok(()) => Ok(Done::SESSION_ENDED),
        // The page that was shown is older than that.
        Err(AdministratorError::NoSuchSession) => Ok(Done::SESSION_GONE),
        Err(error) => Err(error),
    }
}

fn role(form: &Form) -> Result<Role, ApiError> {
    let named = form.value("role");
    let mut all = Role::ALL.into_iter();
    all.find(|role| role.as_str() == named)
        .ok_or_else(|| wrong("role", "owner, admin or viewer"))
}

fn identifier(id: &str) -> Result<AdministratorId, ApiError> {
    id.parse().map_err(|_| ApiError::NO_SUCH_ADMINISTRATOR)
}
