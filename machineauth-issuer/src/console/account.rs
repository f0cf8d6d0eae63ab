//! `/admin/account`: whoever is signed in, whatever its role.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::address::{Path, Query};
use super::administrators::ended;
use super::failure::Failure;
use super::form::{Form, wrong};
use super::moment::{Moment, Span};
use super::page::{Done, Following, Section, Shell, page, refused};
use super::session::{Administrator, Change, OwnChange};
use super::sign_in;
use crate::app::App;
use crate::domain::administrators::{
    AdministratorError, IDLE_LIFETIME, Profile, Proof, SESSION_LIFETIME, Session,
};
use crate::domain::id::SessionId;
use crate::domain::password::SHORTEST;
use crate::error::ApiError;
use crate::paths;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    profile: Profile,
    sessions: Vec<Session>,
    own: SessionId,
    form: Form,
}

impl AccountPage {
    async fn new(
        app: &App,
        administrator: &Administrator,
        form: Form,
    ) -> Result<Self, AdministratorError> {
        let id = administrator.identity.id;
        Ok(Self {
            shell: administrator.shell(app, Section::Account),
            profile: app.administrators.find(id).await?,
            sessions: app.administrators.sessions(id).await?,
            own: administrator.session.id,
            form,
        })
    }

    fn shortest(&self) -> usize {
        SHORTEST
    }

    fn idle(&self) -> Span {
        Span::of(&IDLE_LIFETIME)
    }

    fn whole(&self) -> Span {
        Span::of(&SESSION_LIFETIME)
    }
}

/// The page.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Query(following): Query<Following>,
) -> Result<Response, Failure> {
    let mut shown = AccountPage::new(&app, &administrator, Form::default()).await?;
    shown.shell = shown.shell.after(following.done.as_deref());
    Ok(page(&shown))
}

/// Changes the password. All sessions end, and this browser gets a new one.
pub async fn change_password(
    State(app): State<App>,
    OwnChange(Change {
        administrator,
        mut form,
    }): OwnChange,
) -> Result<Response, Failure> {
    match changed(&app, &administrator, &form).await {
        Ok(proof) => {
            tracing::info!("an administrator changed its password");
            let path = Done::PASSWORD_CHANGED.at(paths::ACCOUNT);
            sign_in::begun(&app, &administrator.origin, &proof, &path).await
        }
        Err(error) => {
            form.refuse(error)?;
            Ok(refused(
                &AccountPage::new(&app, &administrator, form).await?,
            ))
        }
    }
}

async fn changed(app: &App, administrator: &Administrator, form: &Form) -> Result<Proof, ApiError> {
    let password = form.value("new_password");
    if password != form.value("repeated") {
        return Err(wrong("repeated", "this is another one"));
    }
    let password = password.to_owned().into();
    let proof = administrator.proof(app, form, "current_password").await?;
    let by = &administrator.by;
    let changed = app.administrators.change_password(&proof, &password, by);
    changed.await.map_err(|error| match error {
        AdministratorError::InvalidPassword(_) => wrong("new_password", &too_short()),
        error => error.into(),
    })
}

/// What is said of a password that nobody should choose.
pub fn too_short() -> String {
    format!("at least {SHORTEST} characters, none of them a control character")
}

/// Ends one session of whoever is signed in.
pub async fn end_one(
    State(app): State<App>,
    Path(id): Path<String>,
    OwnChange(Change { administrator, .. }): OwnChange,
) -> Result<Response, Failure> {
    let (own, by) = (administrator.identity.id, &administrator.by);
    let done = ended(&app, own, &id, by).await?;
    match id == administrator.session.id.to_string() {
        true => Ok(sign_in::signed_out(&administrator.origin)),
        false => Ok(done.then(paths::ACCOUNT)),
    }
}

/// Signs out everywhere else.
pub async fn end_others(
    State(app): State<App>,
    OwnChange(Change { administrator, .. }): OwnChange,
) -> Result<Response, Failure> {
    let this = Some(administrator.session.id);
    app.administrators
        .end_sessions(administrator.identity.id, this, &administrator.by)
        .await?;
    Ok(Done::SESSIONS_ENDED.then(paths::ACCOUNT))
}
