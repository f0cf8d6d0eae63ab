//! `/admin/organizations/{id}/api-keys`

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use machineauth_core::scope::ScopeSet;

use super::{found, path_of};
use crate::app::App;
use crate::console::address::Path;
use crate::console::failure::Failure;
use crate::console::form::{Form, wrong};
use crate::console::page::{Done, Section, Shell, page, refused};
use crate::console::session::{Change, Editor};
use crate::console::shown_once::ShownOnce;
use crate::domain::api_keys::{ApiKey, ApiKeyError, InvalidApiKey, NewApiKey, SCOPES};
use crate::domain::id::{ApiKeyId, TeamId};
use crate::domain::organization::Organization;
use crate::domain::organizations::StoredOrganization;
use crate::domain::secret::SecretText;
use crate::domain::teams::{Team, TeamError};
use crate::error::ApiError;

#[derive(Template)]
#[template(path = "organizations/api_key.html")]
struct ApiKeyPage {
    shell: Shell,
    form: Form,
    organization: Organization,
    path: String,
    teams: Vec<Team>,
}

impl ApiKeyPage {
    async fn new(app: &App, change: Change, organization: Organization) -> Result<Self, Failure> {
        Ok(Self {
            shell: change.administrator.shell(app, Section::Organizations),
            form: change.form,
            path: path_of(organization.id),
            teams: app.teams.list(organization.id).await?,
            organization,
        })
    }

    fn scopes(&self) -> [&'static str; 4] {
        SCOPES
    }
}

/// The form for a new key.
pub async fn new(
    editor: Editor,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let scopes = SCOPES.into_iter();
    let form = scopes.fold(Form::default(), |form, scope| form.with("scopes", scope));
    let shown = ApiKeyPage::new(&app, editor.fills(form), organization);
    Ok(page(&shown.await?))
}

/// Creates a key and shows it.
pub async fn create(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?;
    match created(&app, &change, &organization).await {
        Ok((key, text)) => {
            tracing::info!(api_key.id = %key.id, "created an API key");
            let shown = ShownOnce {
                shell: change.administrator.shell(&app, Section::Organizations),
                title: &format!("The API key {} was created", key.name),
                label: "API key",
                purpose: "It goes into the header X-API-Key, or into Authorization as a bearer token.",
                path: path_of(organization.value.id),
                back: &organization.value.name,
                secret: &text,
            };
            Ok(shown.answer())
        }
        Err(error) => {
            let change = change.refused(error)?;
            let shown = ApiKeyPage::new(&app, change, organization.value);
            Ok(refused(&shown.await?))
        }
    }
}

async fn created(
    app: &App,
    change: &Change,
    organization: &StoredOrganization,
) -> Result<(ApiKey, SecretText), ApiError> {
    let form = &change.form;
    let team = match form.id::<TeamId>("team_id")? {
        None => None,
        Some(id) => {
            let found = app.teams.find(organization.value.id, id).await;
            Some(found.map_err(|error| match error {
                TeamError::NotFound => wrong("team_id", "the organization has no such team"),
                failed => failed.into(),
            })?)
        }
    };
    let scopes: Result<ScopeSet, _> = form.values("scopes").map(str::parse).collect();
    let scopes = scopes.map_err(|_| ApiKeyError::from(InvalidApiKey::Scopes))?;
    let new = NewApiKey {
        name: form.value("name").trim().to_owned(),
        team,
        scopes: Some(scopes),
        expires_in: form.seconds("expires_in")?,
    };
    change.prove(app).await?;
    let api_keys = &app.api_keys;
    Ok(api_keys.create(organization, new, change.by()).await?)
}

/// Revokes a key.
pub async fn revoke(
    State(app): State<App>,
    Path((id, key)): Path<(String, String)>,
    change: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let key: ApiKeyId = key.parse().map_err(|_| ApiError::NO_SUCH_API_KEY)?;
    let api_keys = &app.api_keys;
    api_keys.delete(organization.id, key, change.by()).await?;
    tracing::info!(api_key.id = %key, "revoked an API key");
    Ok(Done::API_KEY_REVOKED.then(&path_of(organization.id)))
}
