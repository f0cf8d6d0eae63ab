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
use crate::console::session::{Administrator, Change};
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
    async fn new(
        app: &App,
        administrator: &Administrator,
        form: Form,
        organization: Organization,
    ) -> Result<Self, Failure> {
        Ok(Self {
            shell: administrator.shell(app, Section::Organizations),
            form,
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
    administrator: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    administrator.may_change()?;
    let organization = found(&app, &id).await?.value;
    let scopes = SCOPES.into_iter();
    let form = scopes.fold(Form::default(), |form, scope| form.with("scopes", scope));
    Ok(page(
        &ApiKeyPage::new(&app, &administrator, form, organization).await?,
    ))
}

/// Creates a key and shows it.
pub async fn create(
    State(app): State<App>,
    Path(id): Path<String>,
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?;
    match created(&app, &administrator, &form, &organization).await {
        Ok((key, text)) => {
            tracing::info!(api_key.id = %key.id, "created an API key");
            let shown = ShownOnce {
                shell: administrator.shell(&app, Section::Organizations),
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
            form.refuse(error)?;
            let organization = organization.value;
            Ok(refused(
                &ApiKeyPage::new(&app, &administrator, form, organization).await?,
            ))
        }
    }
}

async fn created(
    app: &App,
    administrator: &Administrator,
    form: &Form,
    organization: &StoredOrganization,
) -> Result<(ApiKey, SecretText), ApiError> {
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
    administrator.prove(app, form).await?;
    let by = &administrator.by;
    Ok(app.api_keys.create(organization, new, by).await?)
}

/// Revokes a key.
pub async fn revoke(
    State(app): State<App>,
    Path((id, key)): Path<(String, String)>,
    Change { administrator, .. }: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let key: ApiKeyId = key.parse().map_err(|_| ApiError::NO_SUCH_API_KEY)?;
    let by = &administrator.by;
    app.api_keys.delete(organization.id, key, by).await?;
    tracing::info!(api_key.id = %key, "revoked an API key");
    Ok(Done::API_KEY_REVOKED.then(&path_of(organization.id)))
}
