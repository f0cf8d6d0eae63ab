//! The list of organizations.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::app::App;
use crate::console::address::Query;
use crate::console::failure::Failure;
use crate::console::moment::{Moment, Number};
use crate::console::page::{Section, Shell, page};
use crate::console::session::Administrator;
use crate::domain::id::OrganizationId;
use crate::domain::organization::Organization;
use crate::domain::stats::Stats;

/// How many organizations a page has.
const PAGE: usize = 50;

/// From where on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    after: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "organizations/list.html")]
struct ListPage {
    shell: Shell,
    organizations: Vec<Organization>,
    total: i64,
    next: Option<OrganizationId>,
    is_continued: bool,
}

/// The list.
pub async fn list(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    // A list that cannot be continued begins anew.
    let after = asked.after.parse().ok();
    let mut organizations = app.organizations.list(after, PAGE + 1).await?;
    let more = organizations.len() > PAGE;
    organizations.truncate(PAGE);
    Ok(page(&ListPage {
        shell: administrator
            .shell(&app, Section::Organizations)
            .after(asked.done.as_deref()),
        next: organizations.last().filter(|_| more).map(|last| last.id),
        organizations,
        total: Stats::read(&*app.store).await?.organizations,
        is_continued: after.is_some(),
    }))
}
