//! What the service says about itself: `/`, health, metrics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use crate::app::App;
use crate::date::Date;
use crate::domain::stats::Stats;
use crate::error::{ApiError, Unavailable};
use crate::maintenance::clocks_disagree;
use crate::metrics::{AuditState, BacklogState, Exposition, StoreState};
use crate::paths;
use crate::store::StoreError;

/// What the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct About {
    service: &'static str,
    status: &'static str,
    version: &'static str,
    /// The paths that programs need most, separated by commas.
    endpoints: String,
}

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    status: &'static str,
    /// What time it is, to this machine.
    timestamp: Date,
    agents_count: i64,
}

/// Say what this is
#[utoipa::path(get, path = "")]
pub async fn about() -> Json<About> {
    Json(About {
        service: "MachineAuth",
        status: "running",
        version: env!("CARGO_PKG_VERSION"),
        endpoints: paths::ENDPOINTS.join(", "),
    })
}

/// Say whether the process runs
#[utoipa::path(get, path = "")]
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Say whether requests can be answered
///
/// The store answers, and its clock agrees with this machine's.
#[utoipa::path(get, path = "")]
pub async fn ready(State(app): State<App>) -> Result<Json<Readiness>, ApiError> {
    let now = app.clock.now();
    let (store_now, stats) = futures_util::try_join!(app.store.now(), Stats::read(&*app.store))?;
    if clocks_disagree(now, store_now) {
        tracing::error!("this machine's clock and the store's disagree; synchronise them");
        return Err(ApiError::TemporarilyUnavailable(Unavailable::ClockSkew));
    }
    Ok(Json(Readiness {
        status: "ok",
        timestamp: Date(now),
        agents_count: stats.agents,
    }))
}

/// Say what the server has done
///
/// JSON, or text for a scraper where `Accept` asks for that.
#[utoipa::path(get, path = "", responses(
    (status = 200, description = "Counts.", content(
        (StatsView = "application/json"),
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    ))
))]
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    Ok(match exposition(&headers) {
        Some(exposition) => {
            let content_type = HeaderValue::from_static(exposition.content_type());
            let audit = AuditState {
                entries: app.trail.length().await?,
                seal_lag: app.sealer.lag(),
            };
            let stats = Stats::read(&*app.store);
            let (stats, webhooks) = futures_util::try_join!(stats, app.webhooks.overview())?;
            let state = StoreState {
                stats,
                audit,
                backlog: BacklogState::new(webhooks.backlog(), app.clock.now()),
            };
            let written = app.metrics.expose(exposition, &state);
            ([(CONTENT_TYPE, content_type)], written).into_response()
        }
        None => Json(StatsView::read(&app).await?).into_response(),
    })
}

/// Say what the server has done, to its administrator
#[utoipa::path(get, path = "")]
pub async fn stats(caller: Caller, State(app): State<App>) -> Result<Json<StatsView>, ApiError> {
    caller.global()?;
    Ok(Json(StatsView::read(&app).await?))
}

/// What the server has done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Statistics)]
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
    async fn read(app: &App) -> Result<Self, StoreError> {
        let stats = Stats::read(&*app.store).await?;
        Ok(Self {
            requests: app.metrics.requests(),
            tokens_issued: stats.tokens_issued,
            tokens_refreshed: stats.tokens_refreshed,
            tokens_revoked: stats.tokens_revoked,
            active_tokens: stats
                .tokens_issued
                .saturating_sub(stats.tokens_revoked)
                .max(0),
            total_agents: stats.agents,
        })
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

/// How a scraper wants metrics; `None` for whoever takes JSON, as many clients do beside anything else.
fn exposition(headers: &HeaderMap) -> Option<Exposition> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    if accept.contains("application/json") {
        None
    } else if accept.contains("application/openmetrics-text") {
        Some(Exposition::OpenMetrics)
    } else if accept.contains("text/plain") {
        Some(Exposition::Prometheus)
    } else {
        None
    }
}
