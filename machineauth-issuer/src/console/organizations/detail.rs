//! The page of an organization: what belongs to it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use machineauth_core::clock::Timestamp;

use super::{found, path_of};
use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::failure::Failure;
use crate::console::form::Form;
use crate::console::moment::{Moment, Number, Span};
use crate::console::page::{Done, Following, Section, Shell, page, refused};
use crate::console::session::{Administrator, Change};
use crate::domain::agent::Agent;
use crate::domain::agents::{AgentQuery, Order, Shelf};
use crate::domain::api_keys::ApiKey;
use crate::domain::organization::Organization;
use crate::domain::teams::Team;
use crate::paths;

/// How many machine clients are shown here; the list of agents has them all.
const MACHINES: usize = 20;

#[derive(Template)]
#[template(path = "organizations/detail.html")]
struct DetailPage {
    shell: Shell,
    organization: Organization,
    path: String,
    agents: i64,
    teams: Vec<Team>,
    keys: Vec<(ApiKey, Option<Timestamp>)>,
    machines: Vec<Agent>,
    all_machines: i64,
    now: Timestamp,
    deletion: Form,
}

impl DetailPage {
    async fn new(
        app: &App,
        administrator: &Administrator,
        organization: Organization,
        deletion: Form,
    ) -> Result<Self, Failure> {
        let id = organization.id;
        let latest = |shelf| AgentQuery {
            shelf,
            is_active: None,
            name_prefix: None,
            order: Order::Created,
            is_descending: true,
        };
        let machines = latest(Shelf::Machines(id));
        let shown = app.agents.list(&machines, None, 0, MACHINES).await?;
        Ok(Self {
            shell: administrator.shell(app, Section::Organizations),
            path: path_of(id),
            agents: app.agents.count(&latest(Shelf::Organization(id))).await?,
            teams: app.teams.list(id).await?,
            keys: app.api_keys.list(id).await?,
            machines: shown.into_iter().map(|(_, agent)| agent).collect(),
            all_machines: app.agents.count(&machines).await?,
            now: app.clock.now(),
            organization,
            deletion,
        })
    }

    /// What the team that a key was made for is called.
    fn team_name(&self, key: &ApiKey) -> Option<&str> {
        let mut teams = self.teams.iter();
        let team = teams.find(|team| Some(team.id) == key.team_id);
        team.map(|team| team.name.as_str())
    }
}

/// The page.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(following): Query<Following>,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let mut shown = DetailPage::new(&app, &administrator, organization, Form::default()).await?;
    shown.shell = shown.shell.after(following.done.as_deref());
    Ok(page(&shown))
}

/// Deletes an organization whose slug was typed.
pub async fn delete(
    State(app): State<App>,
    Path(id): Path<String>,
    change: Change,
) -> Result<Response, Failure> {
    let organization = found(&app, &id).await?.value;
    let slug = organization.slug.as_str();
    if let Err(error) = change.form.confirms(slug, "this is not its slug") {
        let Change {
            administrator,
            form,
        } = change.refused(error)?;
        let shown = DetailPage::new(&app, &administrator, organization, form);
        return Ok(refused(&shown.await?));
    }
    let organizations = &app.organizations;
    organizations.delete(organization.id, change.by()).await?;
    tracing::info!(organization.id = %organization.id, "deleted an organization");
    Ok(Done::ORGANIZATION_DELETED.then(&format!("{}/organizations", paths::ADMIN)))
}
