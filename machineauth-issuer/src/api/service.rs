//! What the service says about itself: `/`, health, metrics.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};

use super::caller::Caller;
use super::date::Date;
use crate::app::App;
use crate::domain::stats::Stats;
use crate::error::{ApiError, Unavailable};
use crate::maintenance::clocks_disagree;
use crate::paths;
use crate::protection::LimitCounts;

/// `GET /`
pub async fn about() -> Json<Value> {
    Json(json!({
        "service": "MachineAuth",
        "status": "running",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": paths::ENDPOINTS.join(", "),
    }))
}

/// `GET /health`: the process runs.
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /health/ready`: the store answers, and its clock agrees with ours.
pub async fn ready(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let now = app.clock.now();
    let (store_now, stats) = futures_util::try_join!(app.store.now(), Stats::read(&*app.store))?;
    if clocks_disagree(now, store_now) {
        tracing::error!("this machine's clock and the store's disagree; synchronise them");
        return Err(ApiError::TemporarilyUnavailable(Unavailable::ClockSkew));
    }
    Ok(Json(
        json!({ "status": "ok", "timestamp": Date(now), "agents_count": stats.agents }),
    ))
}

/// `GET /metrics`: the documented JSON, or Prometheus text for a scraper.
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let stats = Stats::read(&*app.store).await?;
    let requests = app.requests.load(Ordering::Relaxed);
    if accepts_prometheus(&headers) {
        let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        return Ok((
            [(CONTENT_TYPE, content_type)],
            prometheus(&stats, requests, app.limits.counts()),
        )
            .into_response());
    }
    Ok(Json(StatsView::new(&stats, requests)).into_response())
}

/// `GET /api/stats`: the same as JSON, where the documented console looks for it.
pub async fn stats(caller: Caller, State(app): State<App>) -> Result<Json<StatsView>, ApiError> {
    caller.global()?;
    let stats = Stats::read(&*app.store).await?;
    let requests = app.requests.load(Ordering::Relaxed);
    Ok(Json(StatsView::new(&stats, requests)))
}

/// What the server has done.
#[derive(Debug, Serialize)]
pub struct StatsView {
    /// Requests that this process answered.
    requests: u64,
    tokens_issued: i64,
    tokens_refreshed: i64,
    tokens_revoked: i64,
    /// Issued less revoked; no token is stored, so none can be seen to expire.
    active_tokens: i64,
    total_agents: i64,
}

impl StatsView {
    fn new(stats: &Stats, requests: u64) -> Self {
        Self {
            requests,
            tokens_issued: stats.tokens_issued,
            tokens_refreshed: stats.tokens_refreshed,
            tokens_revoked: stats.tokens_revoked,
            active_tokens: stats
                .tokens_issued
                .saturating_sub(stats.tokens_revoked)
                .max(0),
            total_agents: stats.agents,
        }
    }
}

/// What no route matches.
pub async fn not_found() -> ApiError {
    ApiError::NO_SUCH_PATH
}

/// A path that knows other methods; the router says which in `Allow`.
pub async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

fn accepts_prometheus(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accept.contains("text/plain") || accept.contains("application/openmetrics-text")
}

fn prometheus(stats: &Stats, requests: u64, limits: LimitCounts) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: i128| {
        writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        )
        .expect("writing to a String cannot fail");
    };
    metric(
        "machineauth_requests_total",
        "counter",
        "HTTP requests answered by this process.",
        requests.into(),
    );
    metric(
        "machineauth_tokens_issued_total",
        "counter",
        "Tokens by client credentials.",
        stats.tokens_issued.into(),
    );
    metric(
        "machineauth_tokens_refreshed_total",
        "counter",
        "Tokens by refresh.",
        stats.tokens_refreshed.into(),
    );
    metric(
        "machineauth_tokens_revoked_total",
        "counter",
        "Revocations.",
        stats.tokens_revoked.into(),
    );
    metric(
        "machineauth_rate_limited_total",
        "counter",
        "Requests that this process refused because there were too many.",
        limits.limited.into(),
    );
    metric(
        "machineauth_lockouts_total",
        "counter",
        "Requests that this process refused because of too many wrong secrets.",
        limits.locked_out.into(),
    );
    metric(
        "machineauth_organizations",
        "gauge",
        "Organizations that exist.",
        stats.organizations.into(),
    );
    metric(
        "machineauth_agents",
        "gauge",
        "Agents that exist.",
        stats.agents.into(),
    );
    text
}
