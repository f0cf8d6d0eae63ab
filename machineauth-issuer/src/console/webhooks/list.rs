//! The list of webhooks.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::app::App;
use crate::console::address::Query;
use crate::console::failure::Failure;
use crate::console::moment::{Moment, Number};
use crate::console::names::Names;
use crate::console::page::{Section, Shell, page};
use crate::console::session::Administrator;
use crate::domain::webhooks::{Overview, Standing};

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
    webhooks: Arc<Overview>,
    names: Names,
    number: usize,
}

impl ListPage {
    fn begin(&self) -> usize {
        (self.number - 1).saturating_mul(PAGE)
    }

    fn standings(&self) -> &[Standing] {
        let standings = &self.webhooks.standings;
        let end = self.begin().saturating_add(PAGE).min(standings.len());
        standings.get(self.begin()..end).unwrap_or_default()
    }

    fn total(&self) -> usize {
        self.webhooks.standings.len()
    }

    fn is_last(&self) -> bool {
        self.begin().saturating_add(PAGE) >= self.total()
    }
}

/// The list, the newest first.
pub async fn list(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let webhooks = app.webhooks.overview().await?;
    // Pages at the end go when webhooks are removed.
    let pages = webhooks.standings.len().div_ceil(PAGE).max(1);
    let mut shown = ListPage {
        shell: administrator
            .shell(&app, Section::Webhooks)
            .after(asked.done.as_deref()),
        webhooks,
        names: Names::default(),
        number: asked.page.clamp(1, pages),
    };
    let standings = shown.standings().iter();
    let organizations = standings.filter_map(|standing| standing.webhook.organization_id);
    shown.names = Names::of(&app, organizations).await?;
    Ok(page(&shown))
}
