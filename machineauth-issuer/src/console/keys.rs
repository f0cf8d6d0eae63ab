//! `/admin/keys`: what tokens are signed with.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use machineauth_core::clock::Timestamp;
use serde::Deserialize;

use super::address::{Path, Query};
use super::failure::Failure;
use super::form::{Form, wrong};
use super::moment::Moment;
use super::page::{Done, Section, Shell, page, refused};
use super::session::{Administrator, Change};
use crate::app::App;
use crate::domain::id::OrganizationId;
use crate::domain::keys::{self, KeyError, KeyRing, KeyState};
use crate::domain::organization::Organization;
use crate::error::ApiError;
use crate::paths;
use crate::store::KeyName;

/// Whose keys, and what was just done to them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    organization_id: String,
    done: Option<String>,
}

/// What was typed into the forms of the page.
#[derive(Debug, Default)]
struct Forms {
    rotation: Form,
    import: Form,
    revocation: Form,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    shell: Shell,
    organization: Option<Organization>,
    keys: Vec<Row>,
    next_rotation: Option<Timestamp>,
    forms: Forms,
}

struct Row {
    kid: String,
    algorithm: &'static str,
    state: KeyState,
    signs_from: Timestamp,
    retires_at: Option<Timestamp>,
}

impl KeysPage {
    fn new(app: &App, administrator: &Administrator, keys: Keys, forms: Forms) -> Self {
        let (state, now) = (keys.ring.state(), app.clock.now());
        let rows = state.keys().iter().map(|key| Row {
            kid: key.kid.to_string(),
            algorithm: key.key.algorithm().as_str(),
            state: state.state_of(key, now),
            signs_from: key.signs_from,
            retires_at: key.retires_at,
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.signs_from));
        Self {
            shell: administrator.shell(app, Section::Keys),
            next_rotation: keys.ring.next_rotation(),
            keys: rows,
            organization: keys.organization,
            forms,
        }
    }

    /// Whose keys, for the forms.
    fn whose(&self) -> String {
        let organization = self.organization.as_ref();
        organization.map_or_else(String::new, |organization| organization.id.to_string())
    }
}

/// A key ring, and whose it is where it is not the server's.
struct Keys {
    ring: Arc<KeyRing>,
    organization: Option<Organization>,
}

impl Keys {
    async fn of(app: &App, organization: &str) -> Result<Self, ApiError> {
        if organization.is_empty() {
            return Ok(Self {
                ring: Arc::clone(app.keys.server()),
                organization: None,
            });
        }
        let id: OrganizationId = organization
            .parse()
            .map_err(|_| ApiError::NO_SUCH_ORGANIZATION)?;
        let organization = app.organizations.find(id).await?.value;
        Ok(Self {
            ring: app.keys.of(&organization).await?,
            organization: Some(organization),
        })
    }

    /// The answer to a form about them.
    fn then(&self, done: Done) -> Response {
        let mut path = format!("{}/keys", paths::ADMIN);
        if let Some(organization) = &self.organization {
            path.push_str(&format!("/of/{}", organization.id));
        }
        done.then(&path)
    }
}

/// The keys of the server, or of the organization that a query names.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    shown(
        &app,
        &administrator,
        &asked.organization_id,
        asked.done.as_deref(),
    )
    .await
}

/// The keys of an organization that issues under its own name.
pub async fn show_of(
    administrator: Administrator,
    State(app): State<App>,
    Path(organization): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    shown(&app, &administrator, &organization, asked.done.as_deref()).await
}

async fn shown(
    app: &App,
    administrator: &Administrator,
    organization: &str,
    done: Option<&str>,
) -> Result<Response, Failure> {
    let keys = Keys::of(app, organization).await?;
    let mut shown = KeysPage::new(app, administrator, keys, Forms::default());
    shown.shell = shown.shell.after(done);
    Ok(page(&shown))
}

/// Makes a new key.
pub async fn rotate(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    let keys = Keys::of(&app, change.form.value("organization_id")).await?;
    let immediately = change.form.is_ticked("immediately");
    match keys.ring.rotate(immediately, change.by()).await {
        Ok(kid) => {
            tracing::info!(%kid, "made a signing key");
            Ok(keys.then(Done::KEY_ROTATED))
        }
        Err(error) => {
            let change = change.refused(error)?;
            Ok(refused_with(&app, change, keys, |forms| {
                &mut forms.rotation
            }))
        }
    }
}

/// The page again, with the form that was refused in its place.
fn refused_with(
    app: &App,
    change: Change,
    keys: Keys,
    place: fn(&mut Forms) -> &mut Form,
) -> Response {
    let mut forms = Forms::default();
    *place(&mut forms) = change.form;
    refused(&KeysPage::new(app, &change.administrator, keys, forms))
}

/// Takes over a key that was made elsewhere.
pub async fn import(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    let keys = Keys::of(&app, change.form.value("organization_id")).await?;
    match imported(&app, &change, &keys).await {
        Ok(kid) => {
            tracing::info!(%kid, "imported a signing key");
            Ok(keys.then(Done::KEY_IMPORTED))
        }
        Err(error) => {
            let change = change.refused(error)?;
            Ok(refused_with(&app, change, keys, |forms| &mut forms.import))
        }
    }
}

async fn imported(app: &App, change: &Change, keys: &Keys) -> Result<KeyName, ApiError> {
    let form = &change.form;
    let algorithm = form.given("algorithm").map(str::parse).transpose();
    let algorithm = algorithm.map_err(|_| KeyError::WrongAlgorithm)?;
    let kid = form.given("kid").map(KeyName::try_from).transpose();
    let kid = kid.map_err(|_| wrong("kid", "1 to 128 of A-Z a-z 0-9 _ . -"))?;
    let key = keys::import(form.value("pem"), algorithm)?;
    // Whoever has made the key can sign what it likes with it.
    change.prove(app).await?;
    let (immediately, by) = (form.is_ticked("immediately"), change.by());
    Ok(keys.ring.import(kid, key, immediately, by).await?)
}

/// Lets a key leave the key set when its last token can be good.
pub async fn retire(
    State(app): State<App>,
    Path(kid): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let keys = Keys::of(&app, change.form.value("organization_id")).await?;
    match keys.ring.retire(&kid, change.by()).await {
        Ok(()) => {
            tracing::info!(%kid, "a signing key retires");
            Ok(keys.then(Done::KEY_RETIRED))
        }
        Err(error) => {
            let change = change.refused(error)?;
            Ok(refused_with(&app, change, keys, |forms| {
                &mut forms.rotation
            }))
        }
    }
}

/// Revokes the key whose name was typed: no verifier takes its tokens any more.
pub async fn revoke(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    let keys = Keys::of(&app, change.form.value("organization_id")).await?;
    let kid = change.form.value("revoked_kid").trim().to_owned();
    match keys.ring.revoke(&kid, change.by()).await {
        Ok(()) => {
            tracing::warn!(%kid, "revoked a signing key");
            Ok(keys.then(Done::KEY_REVOKED))
        }
        Err(error) => {
            let change = change.refused(match error {
                KeyError::NotFound => wrong("revoked_kid", "there is no key of that name"),
                error => error.into(),
            })?;
            Ok(refused_with(&app, change, keys, |forms| {
                &mut forms.revocation
            }))
        }
    }
}

/// The public half of a key, for verifiers that know no key sets.
pub async fn public_pem(
    _: Administrator,
    State(app): State<App>,
    Path(kid): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let state = Keys::of(&app, &asked.organization_id).await?.ring.state();
    let mut all = state.keys().iter();
    let key = all.find(|key| key.kid.as_str() == kid);
    let pem = keys::public_pem(&key.ok_or(KeyError::NotFound)?.key);
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}
