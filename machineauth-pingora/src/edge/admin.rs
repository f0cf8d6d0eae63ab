//! What operators ask, on a port of its own: metrics and health.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Response, StatusCode};
use machineauth_core::Clock;
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::issuers::Issuer;
use super::metrics::Metrics;
use super::snapshot::Snapshot;

/// Answers `/metrics`, `/healthz` and `/readyz`.
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) current: Arc<ArcSwap<Snapshot>>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match session.req_header().uri.path() {
            "/metrics" => self.metrics(),
            "/healthz" => text(
                StatusCode::OK,
                "application/json",
                self.health().to_string(),
            ),
            "/readyz" => {
                let health = self.health();
                let status = match health["ready"] == true {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                };
                text(status, "application/json", health.to_string())
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/metrics, /healthz, /readyz\n".into(),
            ),
        }
    }
}

impl Admin {
    fn health(&self) -> Value {
        let snapshot = self.current.load();
        let issuers: Vec<_> = snapshot
            .issuers
            .iter()
            .map(|issuer| self.issuer(issuer))
            .collect();
        json!({
            "status": "ok",
            "ready": snapshot.issuers.iter().all(|issuer| issuer.jwks.health().usable),
            "issuers": issuers,
        })
    }

    fn issuer(&self, issuer: &Issuer) -> Value {
        let keys = issuer.jwks.health();
        let feed = issuer.feed().map(|feed| feed.status().live);
        let staleness = issuer.staleness(&*self.clock);
        json!({
            "issuer": issuer.url(),
            "keys_usable": keys.usable,
            "keys": keys.keys,
            "keys_age_seconds": keys.age.map(|age| age.as_secs()),
            "keys_last_failure": keys.last_failure.map(|failure| failure.to_string()),
            "revocations_live": feed,
            "revocations_age_seconds": staleness.map(|age| age.as_secs()),
        })
    }

    fn metrics(&self) -> Response<Vec<u8>> {
        for issuer in &self.current.load().issuers {
            self.metrics.issuer(issuer, &*self.clock);
        }
        let mut metrics = String::new();
        if encode(&mut metrics, &self.registry).is_err() {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                String::new(),
            );
        }
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        text(StatusCode::OK, kind, metrics)
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CONTENT_LENGTH, body.len())
        .body(body.into_bytes())
        .expect("the headers are well-formed")
}
