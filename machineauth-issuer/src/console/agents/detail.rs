//! The page of an agent.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use machineauth_core::clock::Timestamp;

use super::found;
use crate::app::App;
use crate::console::address::{Path, Query};
use crate::console::chart::{Chart, Step, Tone};
use crate::console::failure::Failure;
use crate::console::form::Form;
use crate::console::moment::{Moment, Number, Span};
use crate::console::names::Names;
use crate::console::page::{Following, Section, Shell, page, refused};
use crate::console::session::{Administrator, Change};
use crate::domain::activity;
use crate::domain::agent::Agent;
use crate::domain::agents::StoredAgent;
use crate::domain::json_object::JsonObject;
use crate::domain::secret::StoredSecret;
use crate::domain::usage::Usage;
use crate::store::StoreError;

/// What was typed into the forms of the page.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// For a new secret.
    pub(super) rotation: Form,
    /// For the agent's end.
    pub(super) deletion: Form,
}

#[derive(Template)]
#[template(path = "agents/detail.html")]
struct DetailPage {
    shell: Shell,
    agent: Agent,
    client_id: String,
    organization: Option<String>,
    usage: Usage,
    chart: Chart,
    secrets: Vec<(StoredSecret, Option<Timestamp>)>,
    forms: Forms,
    is_expired: bool,
}

impl DetailPage {
    async fn new(
        app: &App,
        administrator: &Administrator,
        stored: StoredAgent,
        forms: Forms,
    ) -> Result<Self, Failure> {
        let agent = stored.value;
        let names = Names::of(app, agent.organization_id.into_iter()).await?;
        Ok(Self {
            shell: administrator.shell(app, Section::Agents),
            client_id: agent.client_name(),
            organization: agent.organization_id.map(|id| names.name(&id)),
            usage: Usage::read(&*app.store, &agent).await?,
            chart: chart(app, &agent).await?,
            secrets: app.agents.secrets(&agent).await?,
            is_expired: agent.expires_at.is_some_and(|end| end <= app.clock.now()),
            agent,
            forms,
        })
    }

    fn json(&self, object: &JsonObject) -> String {
        serde_json::to_string_pretty(&object.members()).unwrap_or_default()
    }

    fn public_key(&self) -> Option<String> {
        let key = self.agent.public_key.as_ref()?;
        serde_json::to_string_pretty(key).ok()
    }
}

async fn chart(app: &App, agent: &Agent) -> Result<Chart, StoreError> {
    let days = activity::days(&*app.store, agent, app.clock.now()).await?;
    Ok(Chart {
        title: "Tokens",
        tone: Tone::Accent,
        step: Step::Day,
        bars: days.iter().map(|day| (day.begin, day.tokens)).collect(),
    })
}

/// The page.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(following): Query<Following>,
) -> Result<Response, Failure> {
    let stored = found(&app, &id).await?;
    let mut shown = DetailPage::new(&app, &administrator, stored, Forms::default()).await?;
    shown.shell = shown.shell.after(following.done.as_deref());
    Ok(page(&shown))
}

/// The page again, with the form that was refused in its place.
///
/// # Errors
/// The store's failure.
pub(super) async fn refused_with(
    app: &App,
    change: Change,
    stored: StoredAgent,
    place: fn(&mut Forms) -> &mut Form,
) -> Result<Response, Failure> {
    let mut forms = Forms::default();
    *place(&mut forms) = change.form;
    let shown = DetailPage::new(app, &change.administrator, stored, forms);
    Ok(refused(&shown.await?))
}
