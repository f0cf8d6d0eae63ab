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
use crate::console::session::{Change, Editor};
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
    fn new(app: &App, change: Change, organization: Organization, team: Option<Team>) -> Self {
        Self {
            shell: change.administrator.shell(app, Section::Organizations),
            form: change.form,
            path: path_of(organization.id),
            organization,
            team,
        }
    }
}

/// The form for a new team.
pub async fn new(
    editor: Editor,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let change = editor.fills(Form::default());
    let organization = found(&app, &id).await?.value;
    Ok(page(&TeamPage::new(&app, change, organization, None)))
}

/// Creates a team.
pub async fn create(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?;
    let ((name, description), by) = (typed(&change.form), change.by());
    match app.teams.create(&organization, name, description, by).await {
        Ok(team) => {
            tracing::info!(team.id = %team.value.id, "created a team");
            Ok(Done::TEAM_CREATED.then(&path_of(organization.value.id)))
        }
        Err(error) => {
            let (change, organization) = (change.refused(error)?, organization.value);
            Ok(refused(&TeamPage::new(&app, change, organization, None)))
        }
    }
}

/// The form with a team as it is.
pub async fn edit(
    editor: Editor,
    State(app): State<App>,
    Path((id, team)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let team = team_of(&app, &organization, &team).await?;
    let change = editor.fills(filled(Form::default(), &team));
    let team = Some(team.value);
    Ok(page(&TeamPage::new(&app, change, organization, team)))
}

/// Changes a team.
pub async fn change(
    State(app): State<App>,
    Path((id, team)): Path<(String, String)>,
    change: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let team = team_of(&app, &organization, &team).await?;
    match changed(&app, &change, &organization, &team).await {
        Ok(()) => {
            tracing::info!(team.id = %team.value.id, "changed a team");
            Ok(Done::TEAM_CHANGED.then(&path_of(organization.id)))
        }
        Err(error) => {
            let (change, team) = (change.refused(error)?, Some(team.value));
            Ok(refused(&TeamPage::new(&app, change, organization, team)))
        }
    }
}

async fn changed(
    app: &App,
    change: &Change,
    organization: &Organization,
    team: &Versioned<Team>,
) -> Result<(), ApiError> {
    change.form.is_of(team.version)?;
    let (name, description) = typed(&change.form);
    let profile = TeamChange {
        name: Some(name),
        description: Some(description),
    };
    let (id, version, by) = (team.value.id, Some(team.version), change.by());
    let teams = &app.teams;
    teams
        .update(organization.id, id, profile, version, by)
        .await?;
    Ok(())
}

/// Deletes a team that nobody is in.
pub async fn delete(
    State(app): State<App>,
    Path((id, team)): Path<(String, String)>,
    change: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let team = team_of(&app, &organization, &team).await?;
    let teams = &app.teams;
    let deleted = teams.delete(organization.id, team.value.id, change.by());
    match deleted.await {
        Ok(()) => {
            tracing::info!(team.id = %team.value.id, "deleted a team");
            Ok(Done::TEAM_DELETED.then(&path_of(organization.id)))
        }
        Err(error) => {
            let mut change = change.refused(error)?;
            change.form = filled(change.form, &team);
            let team = Some(team.value);
            Ok(refused(&TeamPage::new(&app, change, organization, team)))
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

fn filled(form: Form, team: &Versioned<Team>) -> Form {
    form.with("version", team.version.to_string())
        .with("name", team.value.name.clone())
        .with("description", team.value.description.clone())
}
