//! The list of agents.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::app::App;
use crate::console::address::Query;
use crate::console::failure::Failure;
use crate::console::form::{Form, wrong};
use crate::console::moment::{Moment, Number};
use crate::console::names::{self, Names};
use crate::console::page::{Section, Shell, page, refused};
use crate::console::session::Administrator;
use crate::domain::agent::Agent;
use crate::domain::agents::{AgentQuery, Order, Place, Shelf, is_name_prefix};
use crate::domain::organization::Organization;
use crate::domain::usage::Usage;
use crate::error::ApiError;

/// How many agents a page has.
const PAGE: usize = 25;

/// Which agents, from where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    q: String,
    status: String,
    organization_id: String,
    /// `machine` for the machine clients of the organization only.
    kind: String,
    sort: String,
    after: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "agents/list.html")]
struct ListPage {
    shell: Shell,
    form: Form,
    rows: Vec<Row>,
    organizations: Vec<Organization>,
    names: Names,
    /// How many there are in all, where that is known without counting them.
    total: Option<i64>,
    /// The query of this list, without where it goes on.
    query: String,
    next: Option<String>,
    is_filtered: bool,
    is_continued: bool,
}

struct Row {
    agent: Agent,
    usage: Usage,
}

/// The list.
pub async fn list(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let shell = administrator
        .shell(&app, Section::Agents)
        .after(asked.done.as_deref());
    let mut shown = ListPage {
        shell,
        rows: Vec::new(),
        organizations: Vec::new(),
        names: Names::default(),
        total: None,
        query: asked.query(),
        next: None,
        is_filtered: asked.is_filtered(),
        is_continued: !asked.after.is_empty(),
        form: asked.form(),
    };
    let (query, after) = match asked.read(&shown.form) {
        Ok(read) => read,
        Err(error) => {
            shown.form.refuse(error)?;
            shown.organizations = names::some_organizations(&app).await?;
            return Ok(refused(&shown));
        }
    };
    let (organizations, mut found) = futures_util::try_join!(
        names::some_organizations(&app),
        app.agents.list(&query, after.as_ref(), 0, PAGE + 1),
    )?;
    shown.organizations = organizations;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    shown.next = found
        .last()
        .filter(|_| more)
        .map(|(place, _)| place.to_string());
    let agents: Vec<_> = found.into_iter().map(|(_, agent)| agent).collect();
    let organizations = agents.iter().filter_map(|agent| agent.organization_id);
    shown.names = Names::of(&app, organizations).await?;
    shown.total = match (&query.name_prefix, &shown.next, &after) {
        (None, ..) => Some(app.agents.count(&query).await?),
        (Some(_), None, None) => i64::try_from(agents.len()).ok(),
        (Some(_), ..) => None,
    };
    let usages = Usage::read_all(&*app.store, &agents).await?;
    let rows = agents.into_iter().zip(usages);
    shown.rows = rows.map(|(agent, usage)| Row { agent, usage }).collect();
    Ok(page(&shown))
}

impl Asked {
    fn form(&self) -> Form {
        Form::filled([
            ("q", self.q.clone()),
            ("status", self.status.clone()),
            ("organization_id", self.organization_id.clone()),
            ("kind", self.kind.clone()),
            ("sort", self.sort.clone()),
        ])
    }

    fn is_filtered(&self) -> bool {
        !(self.q.is_empty() && self.status.is_empty() && self.organization_id.is_empty())
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("q", &self.q),
            ("status", &self.status),
            ("organization_id", &self.organization_id),
            ("kind", &self.kind),
            ("sort", &self.sort),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    fn read(&self, form: &Form) -> Result<(AgentQuery, Option<Place>), ApiError> {
        let name_prefix = form.given("q").map(str::to_owned);
        if name_prefix
            .as_deref()
            .is_some_and(|prefix| !is_name_prefix(prefix))
        {
            return Err(wrong("q", "at most 60 bytes"));
        }
        let shelf = match form.id("organization_id")? {
            Some(organization) if self.kind == "machine" => Shelf::Machines(organization),
            Some(organization) => Shelf::Organization(organization),
            None if self.kind == "machine" => {
                return Err(wrong("organization_id", "whose machine clients?"));
            }
            None => Shelf::All,
        };
        let (order, is_descending) = match self.sort.as_str() {
            // A beginning of names is looked up in the order of names.
            _ if name_prefix.is_some() => (Order::Name, self.sort == "-name"),
            "name" => (Order::Name, false),
            "-name" => (Order::Name, true),
            "created" => (Order::Created, false),
            _ => (Order::Created, true),
        };
        let is_active = match self.status.as_str() {
            "active" => Some(true),
            "inactive" => Some(false),
            _ => None,
        };
        let after = Some(self.after.as_str()).filter(|after| !after.is_empty());
        // A list that cannot be continued begins anew.
        let after = after.and_then(|after| after.parse().ok());
        let query = AgentQuery {
            shelf,
            is_active,
            name_prefix,
            order,
            is_descending,
        };
        Ok((query, after))
    }
}
