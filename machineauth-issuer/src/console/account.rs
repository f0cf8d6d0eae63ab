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
use crate::domain::secret::SecretText;
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
    OwnChange(change): OwnChange,
) -> Result<Response, Failure> {
    match changed(&app, &change).await {
        Ok(proof) => {
            tracing::info!("an administrator changed its password");
            let path = Done::PASSWORD_CHANGED.at(paths::ACCOUNT);
            sign_in::begun(&app, &change.administrator.origin, &proof, &path).await
        }
        Err(error) => {
            let Change {
                administrator,
                form,
            } = change.refused(error)?;
            let shown = AccountPage::new(&app, &administrator, form);
            Ok(refused(&shown.await?))
        }
    }
}

async fn changed(app: &App, change: &Change) -> Result<Proof, ApiError> {
    let Change {
        administrator,
        form,
    } = change;
    let password = new_password(form)?;
    let proof = administrator.proof(app, form, "current_password").await?;
    let administrators = &app.administrators;
    let changed = administrators.change_password(&proof, &password, change.by());
    changed.await.map_err(about_new_password)
}

/// The password that somebody chose, typed twice.
///
/// # Errors
/// When the two differ.
pub fn new_password(form: &Form) -> Result<SecretText, ApiError> {
    let password = form.value("new_password");
    match password == form.value("repeated") {
        true => Ok(password.to_owned().into()),
        false => Err(wrong("repeated", "this is another one")),
    }
}

/// Why it was not taken, beside its field where it is about the password.
pub fn about_new_password(error: AdministratorError) -> ApiError {
    match error {
        AdministratorError::InvalidPassword(_) => {
            let what = format!("at least {SHORTEST} characters, none of them a control character");
            wrong("new_password", &what)
        }
        error => error.into(),
    }
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
