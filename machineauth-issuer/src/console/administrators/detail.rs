//! The page of one administrator, for owners.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{ended, identifier, role};
use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::failure::Failure;
use crate::console::form::Form;
use crate::console::moment::Moment;
use crate::console::page::{Done, Following, Section, Shell, page, refused};
use crate::console::session::{Administrator, Change};
use crate::domain::administrators::{Owner, Profile, Role, Session};
use crate::domain::id::{AdministratorId, SessionId};
use crate::error::ApiError;
use crate::paths;

/// What was typed into the forms of the page.
#[derive(Debug, Default)]
struct Forms {
    role: Form,
    removal: Form,
}

#[derive(Template)]
#[template(path = "administrators/detail.html")]
struct DetailPage {
    shell: Shell,
    profile: Profile,
    path: String,
    sessions: Vec<Session>,
    own: SessionId,
    forms: Forms,
}

impl DetailPage {
    async fn new(
        app: &App,
        administrator: &Administrator,
        id: AdministratorId,
        forms: Forms,
    ) -> Result<Self, Failure> {
        Ok(Self {
            shell: administrator.shell(app, Section::Administrators),
            profile: app.administrators.find(id).await?,
            path: path_of(id),
            sessions: app.administrators.sessions(id).await?,
            own: administrator.session.id,
            forms,
        })
    }

    fn roles(&self) -> [Role; 3] {
        Role::ALL
    }
}

fn path_of(id: AdministratorId) -> String {
    format!("{}/{id}", paths::ADMINISTRATORS)
}

/// The page.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(following): Query<Following>,
) -> Result<Response, Failure> {
    administrator.owner()?;
    let id = identifier(&id)?;
    let mut shown = DetailPage::new(&app, &administrator, id, Forms::default()).await?;
    shown.shell = shown.shell.after(following.done.as_deref());
    Ok(page(&shown))
}

/// Gives an administrator another role.
pub async fn set_role(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let (owner, id) = (change.administrator.owner()?, identifier(&id)?);
    match promoted(&app, &change, &owner, id).await {
        Ok(role) => {
            tracing::info!(administrator.id = %id, %role, "changed an administrator's role");
            Ok(Done::ADMINISTRATOR_CHANGED.then(&path_of(id)))
        }
        Err(error) => {
            let change = change.refused(error)?;
            refused_with(&app, change, id, |forms| &mut forms.role).await
        }
    }
}

async fn promoted(
    app: &App,
    change: &Change,
    owner: &Owner,
    id: AdministratorId,
) -> Result<Role, ApiError> {
    let role = role(&change.form)?;
    change.prove(app).await?;
    let administrators = &app.administrators;
    administrators
        .set_role(owner, id, role, change.by())
        .await?;
    Ok(role)
}

/// Removes an administrator whose address was typed.
pub async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let (owner, id) = (change.administrator.owner()?, identifier(&id)?);
    match removed(&app, &change, &owner, id).await {
        Ok(()) => {
            tracing::info!(administrator.id = %id, "removed an administrator");
            Ok(Done::ADMINISTRATOR_REMOVED.then(paths::ADMINISTRATORS))
        }
        Err(error) => {
            let change = change.refused(error)?;
            refused_with(&app, change, id, |forms| &mut forms.removal).await
        }
    }
}

async fn removed(
    app: &App,
    change: &Change,
    owner: &Owner,
    id: AdministratorId,
) -> Result<(), ApiError> {
    let email = app.administrators.find(id).await?.email;
    change.form.confirms(&email, "this is not the address")?;
    change.prove(app).await?;
    let administrators = &app.administrators;
    Ok(administrators.remove(owner, id, change.by()).await?)
}

/// The page again, with the form that was refused in its place.
async fn refused_with(
    app: &App,
    change: Change,
    id: AdministratorId,
    place: fn(&mut Forms) -> &mut Form,
) -> Result<Response, Failure> {
    let mut forms = Forms::default();
    *place(&mut forms) = change.form;
    let shown = DetailPage::new(app, &change.administrator, id, forms);
    Ok(refused(&shown.await?))
}

/// Ends a session of an administrator.
pub async fn end_session(
    State(app): State<App>,
    Path((id, session)): Path<(String, String)>,
    change: Change,
) -> Result<Response, Failure> {
    change.administrator.owner()?;
    let id = identifier(&id)?;
    let done = ended(&app, id, &session, change.by()).await?;
    Ok(done.then(&path_of(id)))
}
