//! `/admin/audit`: what happened, as it happens, and that it is not told otherwise later.

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::form::{Form, wrong};
use super::moment::{Moment, Number};
use super::page::{Section, Shell, page, refused};
use super::query::Query;
use super::session::Administrator;
use crate::app::App;
use crate::date::moment;
use crate::domain::event::{Action, Event, Outcome, Target};
use crate::error::ApiError;
use crate::events::audit::export::{self, Format};
use crate::events::audit::{self, Cursor, Entry, Filter, Report};

/// How many events a page has unless fewer are asked for.
const PAGE: usize = 50;
/// The longest text that is searched for, in bytes.
const MAX_TEXT: usize = 200;

/// Which events, from where on, and in which form.
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
    format: String,
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
    is_filtered: bool,
    is_continued: bool,
}

impl ListPage {
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
    let mut shown = ListPage {
        shell: administrator.shell(&app, Section::Audit),
        form: asked.form(),
        entries: Vec::new(),
        query: asked.query(),
        next: None,
        is_filtered: !asked.query().is_empty(),
        is_continued: !asked.cursor.is_empty(),
    };
    match filter(&shown.form) {
        Ok(filter) => {
            // A list that cannot be continued begins anew.
            let cursor: Option<Cursor> = asked.cursor.parse().ok();
            let limit = asked.limit.unwrap_or(PAGE).clamp(1, PAGE);
            let found = app.trail.page(&filter, cursor.as_ref(), limit).await?;
            shown.entries = found.entries;
            shown.next = found.next;
            Ok(page(&shown))
        }
        Err(error) => {
            shown.form.refuse(error)?;
            Ok(refused(&shown))
        }
    }
}

/// Everything that is asked for, as a file.
pub async fn export(
    _: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let format = Format::named(&asked.format).unwrap_or(Format::Csv);
    let filter = filter(&asked.form())?;
    let disposition = format!("attachment; filename=\"{}\"", format.file_name());
    let disposition = HeaderValue::try_from(disposition).expect("a plain name fits a header");
    let head = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static(format.content_type()),
        ),
        (CONTENT_DISPOSITION, disposition),
    ];
    let body = Body::from_stream(export::export(&app.trail, filter, format));
    Ok((head, body).into_response())
}

#[derive(Template)]
#[template(path = "audit/verification.html")]
struct VerificationPage {
    shell: Shell,
    report: Report,
}

/// Verifies every entry against the seals, and shows what came out.
pub async fn verify(
    administrator: Administrator,
    State(app): State<App>,
) -> Result<Response, Failure> {
    let report = audit::verify(&*app.store, &app.grants.vault, &[]).await?;
    if !report.intact {
        let findings = report.findings.len();
        tracing::error!(findings, "the audit trail is not as it was sealed");
    }
    Ok(page(&VerificationPage {
        shell: administrator.shell(&app, Section::Audit),
        report,
    }))
}

impl Asked {
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
}

fn filter(form: &Form) -> Result<Filter, ApiError> {
    let short = |field: &'static str| match form.given(field) {
        Some(text) if text.len() > MAX_TEXT => Err(wrong(field, "at most 200 bytes")),
        text => Ok(text.map(str::to_owned)),
    };
    let time = |field: &'static str, end_of_day| {
        let expected = "a day as 2026-03-01, or a time as 2026-03-01T12:00:00Z";
        let time = form.given(field);
        let time = time.map(|text| moment(text, end_of_day).ok_or_else(|| wrong(field, expected)));
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
