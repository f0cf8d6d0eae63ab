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
use crate::console::session::{Administrator, Change};
use crate::domain::event::By;
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
    fn new(
        app: &App,
        administrator: &Administrator,
        form: Form,
        organization: Option<Organization>,
    ) -> Self {
        Self {
            shell: administrator.shell(app, Section::Organizations),
            form,
            organization,
        }
    }
}

/// The form for a new organization.
pub async fn new(
    administrator: Administrator,
    State(app): State<App>,
) -> Result<Response, Failure> {
    administrator.may_change()?;
    Ok(page(&FormPage::new(
        &app,
        &administrator,
        Form::default(),
        None,
    )))
}

/// Creates an organization.
pub async fn create(
    State(app): State<App>,
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    match created(&app, &form, &administrator.by).await {
        Ok(stored) => {
            tracing::info!(organization.id = %stored.value.id, "created an organization");
            Ok(Done::ORGANIZATION_CREATED.then(&path_of(stored.value.id)))
        }
        Err(error) => {
            form.refuse(error)?;
            Ok(refused(&FormPage::new(&app, &administrator, form, None)))
        }
    }
}

async fn created(app: &App, form: &Form, by: &By) -> Result<StoredOrganization, ApiError> {
    let new = NewOrganization {
        name: form.value("name").trim().to_owned(),
        slug: form.value("slug").trim().to_owned().try_into()?,
        owner_email: form.value("owner_email").trim().to_owned(),
    };
    Ok(app.organizations.create(new, by).await?)
}

/// The form with an organization as it is.
pub async fn edit(
    administrator: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    administrator.may_change()?;
    let stored = found(&app, &id).await?;
    let form = filled(&stored);
    let organization = Some(stored.value);
    Ok(page(&FormPage::new(
        &app,
        &administrator,
        form,
        organization,
    )))
}

/// Changes an organization.
pub async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let id = stored.value.id;
    match changed(&app, &form, &stored, &administrator.by).await {
        Ok(_) => {
            tracing::info!(organization.id = %id, "changed an organization");
            Ok(Done::ORGANIZATION_CHANGED.then(&path_of(id)))
        }
        Err(error) => {
            form.refuse(error)?;
            let organization = Some(stored.value);
            Ok(refused(&FormPage::new(
                &app,
                &administrator,
                form,
                organization,
            )))
        }
    }
}

async fn changed(
    app: &App,
    form: &Form,
    stored: &StoredOrganization,
    by: &By,
) -> Result<StoredOrganization, ApiError> {
    let issuer = form.given("jwt_issuer");
    let issuer = issuer.map(|text| IssuerUrl::try_from(text.to_owned()));
    let origins = form.words("allowed_origins").into_iter();
    let origins: Result<Vec<_>, InvalidOrganization> = origins.map(Origin::try_from).collect();
    let change = OrganizationChange {
        name: Some(form.value("name").trim().to_owned()),
        slug: Some(form.value("slug").trim().to_owned().try_into()?),
        owner_email: Some(form.value("owner_email").trim().to_owned()),
        issuer: Some(issuer.transpose()?),
        token_lifetime: Some(form.seconds("jwt_expiry_secs")?),
        allowed_origins: Some(origins?),
        plan: Some(Plan::try_from(form.value("plan"))?),
    };
    if form.value("version") != stored.version.to_string() {
        return Err(ApiError::PreconditionFailed);
    }
    let (id, version) = (stored.value.id, Some(stored.version));
    Ok(app.organizations.update(id, &change, version, by).await?)
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
