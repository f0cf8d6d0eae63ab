//! What happened, as it happens.
//!
//! A list that is shown goes on at both ends. It asks for what is newer than its first row, so that a filter which takes little
//! does not have the trail looked through every few seconds. And where such a filter fills no page, it looks further back, a
//! bounded number of entries each time, and shows what it finds.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use machineauth_core::clock::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::app::App;
use crate::console::address::Query;
use crate::console::failure::Failure;
use crate::console::form::{Form, wrong};
use crate::console::moment::Moment;
use crate::console::page::{Section, Shell, page, refused};
use crate::console::session::Administrator;
use crate::date::moment;
use crate::domain::event::{Action, Event, Outcome, Target};
use crate::error::ApiError;
use crate::events::audit::{Cursor, Entry, Filter};
use crate::store::StoreError;

/// How many events a page has unless fewer are asked for.
const PAGE: usize = 50;
/// How many events a list that is followed grows to. Then it begins anew.
const LONGEST: usize = 2 * PAGE;
/// How many entries are looked at before what was found is shown.
const LOOKED_AT: usize = 2_000;
/// The longest text that is searched for, in bytes.
const MAX_TEXT: usize = 200;

/// Which events, and from where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    q: String,
    action: String,
    agent_id: String,
    organization_id: String,
    ip_address: String,
    from: String,
    to: String,
    cursor: String,
    limit: Option<usize>,
    /// Where the trail ended when a list was shown that is followed, and how many events it shows.
    since: String,
    shown: usize,
    /// How many events were found by a list that looks further back.
    found: Option<usize>,
}

/// What a page of the trail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To be looked at.
    Page,
    /// Its events are put above those of a page that is shown.
    Addition,
    /// Its list takes the place of one that is shown.
    Anew,
    /// Its events are put below those of a page that is shown.
    Further,
}

#[derive(Template)]
#[template(path = "audit/list.html")]
struct ListPage {
    shell: Shell,
    form: Form,
    entries: Vec<Entry>,
    /// The query of this list, without where it goes on.
    query: String,
    next: Option<Cursor>,
    /// When that happened which was looked at last.
    until: Option<Timestamp>,
    /// How many events a page is to have.
    limit: usize,
    /// Where the trail ended, if what comes after it belongs to the list.
    end: Option<Cursor>,
    /// How many events the list has where it is shown.
    shown: usize,
    purpose: Purpose,
    is_filtered: bool,
    is_continued: bool,
}

impl ListPage {
    fn new(shell: Shell, asked: &Asked) -> Self {
        let query = asked.query();
        Self {
            shell,
            form: asked.form(),
            entries: Vec::new(),
            next: None,
            until: None,
            limit: asked.limit.unwrap_or(PAGE).clamp(1, PAGE),
            end: None,
            shown: 0,
            purpose: match asked.found {
                Some(_) => Purpose::Further,
                None => Purpose::Page,
            },
            is_filtered: !query.is_empty(),
            is_continued: !asked.cursor.is_empty(),
            query,
        }
    }

    /// Reads what is asked for.
    async fn read(&mut self, app: &App, asked: &Asked, filter: &Filter) -> Result<(), StoreError> {
        if !self.is_continued && filter.to.is_none_or(|to| app.clock.now() <= to) {
            self.end = Some(app.trail.end().await?);
        }
        if let (Some(end), Ok(since)) = (&self.end, asked.since.parse()) {
            if let Some(entries) = asked.added(app, filter, &since, end).await? {
                self.purpose = Purpose::Addition;
                self.shown = asked.shown + entries.len();
                self.entries = entries;
                return Ok(());
            }
            self.purpose = Purpose::Anew;
        }
        let found = asked.found.unwrap_or(0).min(self.limit);
        // A list that cannot be continued begins anew.
        let cursor: Option<Cursor> = asked.cursor.parse().ok();
        let cursor = cursor.as_ref().or(self.end.as_ref());
        let room = self.limit - found;
        let read = app.trail.page(filter, cursor, room, LOOKED_AT).await?;
        self.shown = found + read.entries.len();
        self.entries = read.entries;
        self.next = read.next;
        self.until = read.until;
        Ok(())
    }

    /// Whether the page is not full, and there is more to look at.
    fn looks_further(&self) -> bool {
        self.next.is_some() && self.shown < self.limit
    }

    fn actions(&self) -> &'static [Action] {
        Action::ALL
    }

    fn is_failure(&self, event: &Event) -> bool {
        event.outcome == Outcome::Failure
    }

    /// The page about what something was done to, where there is one.
    fn path_of(&self, event: &Event, target: &Target) -> Option<String> {
        let path = match (&*target.kind, event.organization_id) {
            ("agent", _) => format!("/admin/agents/{}", target.id),
            ("organization", _) => format!("/admin/organizations/{}", target.id),
            ("webhook", _) => format!("/admin/webhooks/{}", target.id),
            ("team" | "api_key", Some(organization)) => {
                format!("/admin/organizations/{organization}")
            }
            ("signing_key", _) => "/admin/keys".to_owned(),
            _ => return None,
        };
        Some(path)
    }

    fn details(&self, details: &Map<String, Value>) -> Vec<(String, String)> {
        let pairs = details.iter().map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.clone(), text)
        });
        pairs.collect()
    }
}

/// The trail, newest first.
pub async fn list(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let mut shown = ListPage::new(administrator.shell(&app, Section::Audit), &asked);
    match asked.filter() {
        Ok(filter) => {
            shown.read(&app, &asked, &filter).await?;
            Ok(page(&shown))
        }
        Err(error) => {
            shown.form.refuse(error)?;
            Ok(refused(&shown))
        }
    }
}

impl Asked {
    /// What is to be put above a list that is shown. `None` where the list has to begin anew: it would become too long, or was
    /// empty.
    async fn added(
        &self,
        app: &App,
        filter: &Filter,
        since: &Cursor,
        end: &Cursor,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let room = LONGEST.saturating_sub(self.shown);
        let entries = app.trail.between(filter, since, end, room).await?;
        Ok(entries.filter(|entries| entries.is_empty() || self.shown > 0))
    }

    fn fields(&self) -> [(&'static str, String); 7] {
        [
            ("q", self.q.clone()),
            ("action", self.action.clone()),
            ("agent_id", self.agent_id.clone()),
            ("organization_id", self.organization_id.clone()),
            ("ip_address", self.ip_address.clone()),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
        ]
    }

    fn form(&self) -> Form {
        Form::filled(self.fields())
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let given = self.fields().into_iter();
        query.extend_pairs(given.filter(|(_, value)| !value.is_empty()));
        query.finish()
    }

    /// Which events are asked for.
    ///
    /// # Errors
    /// Names the field that cannot be read.
    pub(super) fn filter(&self) -> Result<Filter, ApiError> {
        let form = self.form();
        let short = |field: &'static str| match form.given(field) {
            Some(text) if text.len() > MAX_TEXT => Err(wrong(field, "at most 200 bytes")),
            text => Ok(text.map(str::to_owned)),
        };
        let time = |field: &'static str, end_of_day| {
            let expected = "a day as 2026-03-01, or a time as 2026-03-01T12:00:00Z";
            let time = form.given(field);
            let time =
                time.map(|text| moment(text, end_of_day).ok_or_else(|| wrong(field, expected)));
            time.transpose()
        };
        let address = form.given("ip_address").map(str::parse).transpose();
        Ok(Filter {
            organization: form.id("organization_id")?,
            agent: form.id("agent_id")?,
            action: short("action")?,
            address: address.map_err(|_| wrong("ip_address", "an address or a network"))?,
            from: time("from", false)?,
            to: time("to", true)?,
            text: short("q")?,
        })
    }
}
