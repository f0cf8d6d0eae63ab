//! The form of an organization: creating and changing it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{found, path_of};
use crate::app::App;
use crate::console::address::Path;
use crate::console::failure::Failure;
use crate::console::form::Form;
use crate::console::page::{Done, Section, Shell, page, refused};
use crate::console::session::{Change, Editor};
use crate::domain::organization::{
    InvalidOrganization, IssuerUrl, NewOrganization, Organization, OrganizationChange, Origin, Plan,
};
use crate::domain::organizations::StoredOrganization;
use crate::error::ApiError;

#[derive(Template)]
#[template(path = "organizations/form.html")]
struct FormPage {
    shell: Shell,
    form: Form,
    /// The organization that is changed.
    organization: Option<Organization>,
}

impl FormPage {
    fn new(app: &App, change: Change, organization: Option<Organization>) -> Self {
        Self {
            shell: change.administrator.shell(app, Section::Organizations),
            form: change.form,
            organization,
        }
    }
}

/// The form for a new organization.
pub async fn new(editor: Editor, State(app): State<App>) -> Result<Response, Failure> {
    let change = editor.fills(Form::default());
    Ok(page(&FormPage::new(&app, change, None)))
}

/// Creates an organization.
pub async fn create(State(app): State<App>, change: Change) -> Result<Response, Failure> {
    match created(&app, &change).await {
        Ok(stored) => {
            tracing::info!(organization.id = %stored.value.id, "created an organization");
            Ok(Done::ORGANIZATION_CREATED.then(&path_of(stored.value.id)))
        }
        Err(error) => {
            let change = change.refused(error)?;
            Ok(refused(&FormPage::new(&app, change, None)))
        }
    }
}

async fn created(app: &App, change: &Change) -> Result<StoredOrganization, ApiError> {
    let form = &change.form;
    let new = NewOrganization {
        name: form.value("name").trim().to_owned(),
        slug: form.value("slug").trim().to_owned().try_into()?,
        owner_email: form.value("owner_email").trim().to_owned(),
    };
    Ok(app.organizations.create(new, change.by()).await?)
}

/// The form with an organization as it is.
pub async fn edit(
    editor: Editor,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let change = editor.fills(filled(&stored));
    Ok(page(&FormPage::new(&app, change, Some(stored.value))))
}

/// Changes an organization.
pub async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let id = stored.value.id;
    match changed(&app, &change, &stored).await {
        Ok(()) => {
            tracing::info!(organization.id = %id, "changed an organization");
            Ok(Done::ORGANIZATION_CHANGED.then(&path_of(id)))
        }
        Err(error) => {
            let (change, organization) = (change.refused(error)?, Some(stored.value));
            Ok(refused(&FormPage::new(&app, change, organization)))
        }
    }
}

async fn changed(app: &App, change: &Change, stored: &StoredOrganization) -> Result<(), ApiError> {
    let form = &change.form;
    let issuer = form.given("jwt_issuer");
    let issuer = issuer.map(|text| IssuerUrl::try_from(text.to_owned()));
    let origins = form.words("allowed_origins").into_iter();
    let origins: Result<Vec<_>, InvalidOrganization> = origins.map(Origin::try_from).collect();
    let profile = OrganizationChange {
        name: Some(form.value("name").trim().to_owned()),
        slug: Some(form.value("slug").trim().to_owned().try_into()?),
        owner_email: Some(form.value("owner_email").trim().to_owned()),
        issuer: Some(issuer.transpose()?),
        token_lifetime: Some(form.seconds("jwt_expiry_secs")?),
        allowed_origins: Some(origins?),
        plan: Some(Plan::try_from(form.value("plan"))?),
    };
    form.is_of(stored.version)?;
    let (id, version, by) = (stored.value.id, Some(stored.version), change.by());
    app.organizations.update(id, &profile, version, by).await?;
    Ok(())
}

fn filled(stored: &StoredOrganization) -> Form {
    let organization = &stored.value;
    let origins = organization.allowed_origins.iter().map(Origin::as_str);
    let issuer = organization.issuer.as_ref().map_or("", IssuerUrl::as_str);
    let lifetime = organization.token_lifetime;
    Form::filled([
        ("version", stored.version.to_string()),
        ("name", organization.name.clone()),
        ("slug", organization.slug.as_str().to_owned()),
        ("owner_email", organization.owner_email.clone()),
        ("jwt_issuer", issuer.to_owned()),
        (
            "jwt_expiry_secs",
            lifetime.map_or_else(String::new, |lifetime| lifetime.as_secs().to_string()),
        ),
        ("allowed_origins", origins.collect::<Vec<_>>().join("\n")),
        ("plan", organization.plan.as_str().to_owned()),
    ])
}
