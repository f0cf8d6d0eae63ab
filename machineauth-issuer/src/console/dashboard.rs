//! `/admin`: what goes on, at a glance.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use machineauth_core::clock::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;

use super::address::Query;
use super::chart::{Chart, Step, Tone};
use super::failure::Failure;
use super::moment::{Moment, Number, Span};
use super::page::{Section, Shell, page};
use super::session::Administrator;
use crate::app::App;
use crate::domain::activity::{HOURS, Hour};
use crate::domain::agents::{AgentQuery, Order, Shelf};
use crate::domain::keys::KeyState;
use crate::domain::stats::Stats;
use crate::domain::webhooks::{Backlog, Overview, Standing};
use crate::maintenance::GREATEST_SKEW;
use crate::store::StoreError;

/// How many hours are shown unless more are asked for.
const A_DAY: usize = 24;
/// How many failing webhooks are shown, the worst first.
const WORST: usize = 20;

/// How far back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    span: String,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage {
    shell: Shell,
    is_week: bool,
    charts: Vec<Chart>,
    stats: Stats,
    active_agents: i64,
    webhooks: Arc<Overview>,
    backlog: Backlog,
    keys: Keys,
    store: StoreHealth,
    seal_lag: Duration,
}

impl DashboardPage {
    fn failing(&self) -> Vec<&Standing> {
        self.webhooks.failing().into_iter().take(WORST).collect()
    }
}

/// What tokens of the server are signed with.
struct Keys {
    signing: Option<String>,
    published: usize,
    retiring: usize,
    next_rotation: Option<Timestamp>,
}

/// How the store is.
struct StoreHealth {
    answered_in: Duration,
    is_in_time: bool,
}

impl StoreHealth {
    fn millis(&self) -> String {
        match self.answered_in.as_secs_f64() * 1000.0 {
            millis if millis < 0.1 => "less than 0.1 ms".to_owned(),
            millis => format!("{millis:.1} ms"),
        }
    }
}

/// The page.
pub async fn show(
    administrator: Administrator,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let is_week = asked.span == "week";
    let hours = if is_week { HOURS } else { A_DAY };
    let now = app.clock.now();
    let active = AgentQuery {
        shelf: Shelf::All,
        is_active: Some(true),
        name_prefix: None,
        order: Order::Created,
        is_descending: true,
    };
    let (hours, stats, active_agents, webhooks, store) = futures_util::try_join!(
        app.hours.last(&*app.store, now, hours),
        Stats::read(&*app.store),
        app.agents.count(&active),
        app.webhooks.overview(),
        health(&app),
    )?;
    Ok(page(&DashboardPage {
        shell: administrator.shell(&app, Section::Dashboard),
        is_week,
        charts: charts(&hours),
        stats,
        active_agents,
        backlog: webhooks.backlog(),
        webhooks,
        keys: keys(&app, now),
        store,
        seal_lag: app.sealer.lag(),
    }))
}

fn charts(hours: &[Hour]) -> Vec<Chart> {
    let chart = |title, tone, count: fn(&Hour) -> i64| Chart {
        title,
        tone,
        step: Step::Hour,
        bars: hours.iter().map(|hour| (hour.begin, count(hour))).collect(),
    };
    vec![
        chart("Issued", Tone::Accent, |hour| hour.issued),
        chart("Refreshed", Tone::Accent, |hour| hour.refreshed),
        chart("Revoked", Tone::Soft, |hour| hour.revoked),
        chart("Refused", Tone::Bad, |hour| hour.refused),
    ]
}

fn keys(app: &App, now: Timestamp) -> Keys {
    let ring = app.keys.server();
    let state = ring.state();
    let count = |wanted| {
        let mut states = state.keys().iter().map(|key| state.state_of(key, now));
        states.by_ref().filter(|found| *found == wanted).count()
    };
    Keys {
        signing: state.signer(now).map(|key| key.kid.to_string()),
        published: count(KeyState::Published),
        retiring: count(KeyState::Retiring),
        next_rotation: ring.next_rotation(),
    }
}

async fn health(app: &App) -> Result<StoreHealth, StoreError> {
    let asked = Instant::now();
    let store_now = app.store.now().await?;
    let now = app.clock.now();
    let (earlier, later) = (now.min(store_now), now.max(store_now));
    Ok(StoreHealth {
        answered_in: asked.elapsed(),
        is_in_time: later <= earlier.saturating_add(GREATEST_SKEW),
    })
}
