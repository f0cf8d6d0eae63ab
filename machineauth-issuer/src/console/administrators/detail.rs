//! The page of one administrator, for owners.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{ended, identifier, role};
use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::failure::Failure;
use crate::console::form::{Form, wrong};
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
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    let (owner, id) = (administrator.owner()?, identifier(&id)?);
    match promoted(&app, &administrator, &owner, id, &form).await {
        Ok(role) => {
            tracing::info!(administrator.id = %id, %role, "changed an administrator's role");
            Ok(Done::ADMINISTRATOR_CHANGED.then(&path_of(id)))
        }
        Err(error) => {
            form.refuse(error)?;
            let forms = Forms {
                role: form,
                ..Forms::default()
            };
            Ok(refused(
                &DetailPage::new(&app, &administrator, id, forms).await?,
            ))
        }
    }
}

async fn promoted(
    app: &App,
    administrator: &Administrator,
    owner: &Owner,
    id: AdministratorId,
    form: &Form,
) -> Result<Role, ApiError> {
    let role = role(form)?;
    administrator.prove(app, form).await?;
    let by = &administrator.by;
    app.administrators.set_role(owner, id, role, by).await?;
    Ok(role)
}

/// Removes an administrator whose address was typed.
pub async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    let (owner, id) = (administrator.owner()?, identifier(&id)?);
    match removed(&app, &administrator, &owner, id, &form).await {
        Ok(()) => {
            tracing::info!(administrator.id = %id, "removed an administrator");
            Ok(Done::ADMINISTRATOR_REMOVED.then(paths::ADMINISTRATORS))
        }
        Err(error) => {
            form.refuse(error)?;
            let forms = Forms {
                removal: form,
                ..Forms::default()
            };
            Ok(refused(
                &DetailPage::new(&app, &administrator, id, forms).await?,
            ))
        }
    }
}

async fn removed(
    app: &App,
    administrator: &Administrator,
    owner: &Owner,
    id: AdministratorId,
    form: &Form,
) -> Result<(), ApiError> {
    let profile = app.administrators.find(id).await?;
    if form.value("confirmation").trim() != &*profile.email {
        return Err(wrong("confirmation", "this is not the address"));
    }
    administrator.prove(app, form).await?;
    let by = &administrator.by;
    Ok(app.administrators.remove(owner, id, by).await?)
}

/// Ends a session of an administrator.
pub async fn end_session(
    State(app): State<App>,
    Path((id, session)): Path<(String, String)>,
    Change { administrator, .. }: Change,
) -> Result<Response, Failure> {
    administrator.owner()?;
    let id = identifier(&id)?;
    let done = ended(&app, id, &session, &administrator.by).await?;
    Ok(done.then(&path_of(id)))
}
