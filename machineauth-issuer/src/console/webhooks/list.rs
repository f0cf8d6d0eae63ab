//! The list of webhooks.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use crate::app::App;
use crate::console::failure::Failure;
use crate::console::moment::{Moment, Number};
use crate::console::names::Names;
use crate::console::page::{Following, Section, Shell, page};
use crate::console::session::Administrator;
use crate::domain::webhooks::{Health, Webhook};

#[derive(Template)]
#[template(path = "webhooks/list.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    names: Names,
}

struct Row {
    webhook: Webhook,
    health: Health,
    waiting: i64,
}

/// The list: there are not so many that they need pages.
pub async fn list(
    administrator: Administrator,
    State(app): State<App>,
    Query(following): Query<Following>,
) -> Result<Response, Failure> {
    let mut found = app.webhooks.all().await?;
    found.sort_by_key(|stored| Reverse(stored.value.created_at));
    let mut rows = Vec::with_capacity(found.len());
    for stored in found {
        let id = stored.value.id;
        rows.push(Row {
            health: app.webhooks.health(id).await?,
            waiting: app.webhooks.waiting(id).await?,
            webhook: stored.value,
        });
    }
    let organizations = rows.iter().filter_map(|row| row.webhook.organization_id);
    Ok(page(&ListPage {
        names: Names::of(&app, organizations).await?,
        shell: administrator
            .shell(&app, Section::Webhooks)
            .after(following.done.as_deref()),
        rows,
    }))
}
