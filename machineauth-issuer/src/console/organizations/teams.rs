//! `/admin/organizations/{id}/teams`

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
use crate::domain::organization::Organization;
use crate::domain::teams::{Team, TeamChange};
use crate::error::ApiError;
use crate::store::Versioned;

#[derive(Template)]
#[template(path = "organizations/team.html")]
struct TeamPage {
    shell: Shell,
    form: Form,
    organization: Organization,
    path: String,
    /// The team that is changed.
    team: Option<Team>,
}

impl TeamPage {
    fn new(
        app: &App,
        administrator: &Administrator,
        form: Form,
        organization: Organization,
        team: Option<Team>,
    ) -> Self {
        Self {
            shell: administrator.shell(app, Section::Organizations),
            form,
            path: path_of(organization.id),
            organization,
            team,
        }
    }
}

/// The form for a new team.
pub async fn new(
    administrator: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    administrator.may_change()?;
    let organization = found(&app, &id).await?.value;
    let form = Form::default();
    Ok(page(&TeamPage::new(
        &app,
        &administrator,
        form,
        organization,
        None,
    )))
}

/// Creates a team.
pub async fn create(
    State(app): State<App>,
    Path(id): Path<String>,
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?;
    let (name, description) = typed(&form);
    let by = &administrator.by;
    match app.teams.create(&organization, name, description, by).await {
        Ok(team) => {
            tracing::info!(team.id = %team.value.id, "created a team");
            Ok(Done::TEAM_CREATED.then(&path_of(organization.value.id)))
        }
        Err(error) => {
            form.refuse(error)?;
            let organization = organization.value;
            Ok(refused(&TeamPage::new(
                &app,
                &administrator,
                form,
                organization,
                None,
            )))
        }
    }
}

/// The form with a team as it is.
pub async fn edit(
    administrator: Administrator,
    State(app): State<App>,
    Path((id, team)): Path<(String, String)>,
) -> Result<Response, Failure> {
    administrator.may_change()?;
    let organization = found(&app, &id).await?.value;
    let team = team_of(&app, &organization, &team).await?;
    let form = Form::filled([
        ("version", team.version.to_string()),
        ("name", team.value.name.clone()),
        ("description", team.value.description.clone()),
    ]);
    let team = Some(team.value);
    Ok(page(&TeamPage::new(
        &app,
        &administrator,
        form,
        organization,
        team,
    )))
}

/// Changes a team.
pub async fn change(
    State(app): State<App>,
    Path((id, team)): Path<(String, String)>,
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let team = team_of(&app, &organization, &team).await?;
    let changed = async {
        if form.value("version") != team.version.to_string() {
            return Err(ApiError::PreconditionFailed);
        }
        let (name, description) = typed(&form);
        let change = TeamChange {
            name: Some(name),
            description: Some(description),
        };
        let (version, by) = (Some(team.version), &administrator.by);
        let teams = &app.teams;
        Ok(teams
            .update(organization.id, team.value.id, change, version, by)
            .await?)
    };
    match changed.await {
        Ok(_) => {
            tracing::info!(team.id = %team.value.id, "changed a team");
            Ok(Done::TEAM_CHANGED.then(&path_of(organization.id)))
        }
        Err(error) => {
            form.refuse(error)?;
            let team = Some(team.value);
            Ok(refused(&TeamPage::new(
                &app,
                &administrator,
                form,
                organization,
                team,
            )))
        }
    }
}

/// Deletes a team that nobody is in.
pub async fn delete(
    State(app): State<App>,
    Path((id, team)): Path<(String, String)>,
    Change {
        administrator,
        mut form,
    }: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let team = team_of(&app, &organization, &team).await?;
    let deleted = app
        .teams
        .delete(organization.id, team.value.id, &administrator.by)
        .await;
    match deleted {
        Ok(()) => {
            tracing::info!(team.id = %team.value.id, "deleted a team");
            Ok(Done::TEAM_DELETED.then(&path_of(organization.id)))
        }
        Err(error) => {
            form.refuse(error)?;
            let form = form
                .with("version", team.version.to_string())
                .with("name", team.value.name.clone())
                .with("description", team.value.description.clone());
            let team = Some(team.value);
            Ok(refused(&TeamPage::new(
                &app,
                &administrator,
                form,
                organization,
                team,
            )))
        }
    }
}

async fn team_of(
    app: &App,
    organization: &Organization,
    team: &str,
) -> Result<Versioned<Team>, ApiError> {
    let id = team.parse().map_err(|_| ApiError::NO_SUCH_TEAM)?;
    Ok(app.teams.find(organization.id, id).await?)
}

fn typed(form: &Form) -> (String, String) {
    let name = form.value("name").trim().to_owned();
    (name, form.value("description").to_owned())
}
