//! The list of webhooks.

use std::cmp::Reverse;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::try_join_all;
use serde::Deserialize;

use crate::app::App;
use crate::console::failure::Failure;
use crate::console::moment::{Moment, Number};
use crate::console::names::Names;
use crate::console::page::{Section, Shell, page};
use crate::console::query::Query;
use crate::console::session::Administrator;
use crate::domain::webhooks::{Health, Webhook};
use crate::store::StoreError;

/// How many webhooks a page has.
const PAGE: usize = 50;

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    page: usize,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "webhooks/list.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    names: Names,
    total: usize,
    number: usize,
    is_last: bool,
}

struct Row {
    webhook: Webhook,
    health: Health,
    waiting: i64,
}

/// The list, the newest first.
pub async fn list(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let mut found = app.webhooks.all().await?;
    found.sort_by_key(|stored| Reverse(stored.value.created_at));
    let (total, number) = (found.len(), asked.page.max(1));
    let begin = (number - 1).saturating_mul(PAGE);
    let shown = found.into_iter().skip(begin).take(PAGE);
    let rows = shown.map(async |stored| -> Result<_, StoreError> {
        let id = stored.value.id;
        let (health, waiting) =
            futures_util::try_join!(app.webhooks.health(id), app.webhooks.waiting(id))?;
        Ok(Row {
            webhook: stored.value,
            health,
            waiting,
        })
    });
    let rows = try_join_all(rows).await?;
    let organizations = rows.iter().filter_map(|row| row.webhook.organization_id);
    Ok(page(&ListPage {
        names: Names::of(&app, organizations).await?,
        shell: administrator
            .shell(&app, Section::Webhooks)
            .after(asked.done.as_deref()),
        is_last: begin.saturating_add(PAGE) >= total,
        rows,
        total,
        number,
    }))
}
