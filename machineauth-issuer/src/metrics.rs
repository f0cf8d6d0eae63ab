//! What this process counts about itself, for whoever scrapes it.
//!
//! Everything is counted per process and registered in one place. Labels are bounded: routes are those of the table,
//! never paths, and nothing that a client invents becomes a label. What all issuers on a store count together (tokens,
//! agents) is read from the store at each scrape.

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};
use machineauth_core::clock::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::domain::stats::Stats;
use crate::domain::webhooks::{Backlog, Status};
use crate::protection::Limits;
use crate::tls::Certificates;

const PREFIX: &str = "machineauth";
/// Seconds: from a warm introspection to a client that waits for a store that is away.
const DURATIONS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
}

/// What all issuers on a store have done and have yet to do, as it is read at a scrape.
#[derive(Debug, Clone, Copy)]
pub struct StoreState {
    /// What they counted.
    pub stats: Stats,
    /// How the audit trail stands.
    pub audit: AuditState,
    /// What is on its way to webhooks.
    pub backlog: BacklogState,
}

/// What is on its way to webhooks.
#[derive(Debug, Clone, Copy)]
pub struct BacklogState {
    /// Deliveries that wait for active webhooks.
    pub waiting: i64,
    /// How long ago the event of the oldest of them happened; nothing where none waits.
    pub oldest: Duration,
    /// Deliveries that were given up, and can be asked for again.
    pub given_up: i64,
}

impl BacklogState {
    /// How it stands at `now`.
    pub fn new(backlog: Backlog, now: Timestamp) -> Self {
        let age = |at: Timestamp| now.as_millis().saturating_sub(at.as_millis());
        Self {
            waiting: backlog.waiting,
            oldest: backlog
                .oldest
                .map_or(Duration::ZERO, |at| Duration::from_millis(age(at))),
            given_up: backlog.given_up,
        }
    }
}

/// How the audit trail stands.
#[derive(Debug, Clone, Copy)]
pub struct AuditState {
    /// How many entries it has.
    pub entries: u64,
    /// How long ago it was sealed to its end; nothing where another process seals.
    pub seal_lag: Duration,
}

/// The metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    all_requests: Counter,
    /// What became of attempts to deliver to webhooks.
    pub deliveries: DeliveryCounts,
}

/// What became of attempts to deliver to webhooks.
#[derive(Debug, Clone, Default)]
pub struct DeliveryCounts(Family<DeliveryLabels, Counter>);

impl DeliveryCounts {
    /// Counts an attempt after which a delivery stands at `status`.
    pub fn count(&self, status: Status) {
        let status = status.as_str();
        self.0.get_or_create(&DeliveryLabels { status }).inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl Exposition {
    /// What `Content-Type` says.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metrics {
    /// No requests so far, beside what `limits` has counted, and how long the certificate in force is good.
    pub fn new(limits: &Limits, certificates: Option<&Certificates>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let requests = Family::default();
        let durations =
            Family::new_with_constructor((|| Histogram::new(DURATIONS)) as fn() -> Histogram);
        registry.register(
            "http_requests",
            "HTTP requests that this process answered",
            Family::clone(&requests),
        );
        registry.register(
            "http_request_duration_seconds",
            "Time from a request's header to the start of its answer",
            Family::clone(&durations),
        );
        registry.register(
            "rate_limited",
            "Requests that this process refused because there were too many",
            limits.limited.clone(),
        );
        registry.register(
            "lockouts",
            "Requests that this process refused because of too many wrong secrets",
            limits.locked_out.clone(),
        );
        if let Some(certificates) = certificates {
            registry.register(
                "tls_certificate_expires_timestamp_seconds",
                "When the TLS certificate in force expires, in Unix seconds",
                certificates.expiry.clone(),
            );
        }
        let deliveries = DeliveryCounts::default();
        registry.register(
            "webhook_attempts",
            "Attempts of this process to deliver to webhooks, by where the delivery stood after it",
            deliveries.0.clone(),
        );
        Self {
            registry,
            requests,
            deliveries,
            durations,
            all_requests: Counter::default(),
        }
    }

    /// Counts a request to `route`, which is empty where none matched.
    pub fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        self.all_requests.inc();
        let labels = RequestLabels {
            method: label(method),
            route: route.to_owned(),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels {
            route: labels.route,
        };
        self.durations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// How many requests were answered.
    pub fn requests(&self) -> u64 {
        self.all_requests.get()
    }

    /// Everything, with the counters of the store.
    pub fn expose(&self, exposition: Exposition, state: &StoreState) -> String {
        let mut written = String::new();
        self.write(exposition, &of_the_store(state), &mut written)
            .expect("writing to a String cannot fail");
        written
    }

    fn write(
        &self,
        exposition: Exposition,
        of_the_store: &Registry,
        written: &mut String,
    ) -> fmt::Result {
        match exposition {
            Exposition::OpenMetrics => {
                text::encode_registry(written, &self.registry)?;
                text::encode_registry(written, of_the_store)?;
                text::encode_eof(written)
            }
            Exposition::Prometheus => {
                prometheus_text::encode(written, &self.registry)?;
                prometheus_text::encode(written, of_the_store)
            }
        }
    }
}

fn of_the_store(state: &StoreState) -> Registry {
    let StoreState {
        stats,
        audit,
        backlog,
    } = state;
    let mut registry = Registry::with_prefix(PREFIX);
    let counters = [
        (
            "tokens_issued",
            "Access tokens by client credentials, of all issuers on the store",
            stats.tokens_issued,
        ),
        (
            "tokens_refreshed",
            "Access tokens by refresh, of all issuers on the store",
            stats.tokens_refreshed,
        ),
        (
            "tokens_revoked",
            "Revocations, of all issuers on the store",
            stats.tokens_revoked,
        ),
    ];
    for (name, help, count) in counters {
        let count = u64::try_from(count).unwrap_or(0);
        registry.register(name, help, ConstCounter::new(count));
    }
    for (name, help, count) in [
        (
            "organizations",
            "Organizations that exist",
            stats.organizations,
        ),
        ("agents", "Agents that exist", stats.agents),
        (
            "webhook_deliveries_waiting",
            "Deliveries that wait for active webhooks, of all issuers on the store",
            backlog.waiting,
        ),
        (
            "webhook_deliveries_given_up",
            "Deliveries to webhooks that were given up and can be replayed",
            backlog.given_up,
        ),
    ] {
        registry.register(name, help, ConstGauge::new(count));
    }
    registry.register(
        "audit_entries",
        "Entries of the audit trail, of all issuers on the store",
        ConstGauge::new(i64::try_from(audit.entries).unwrap_or(i64::MAX)),
    );
    registry.register(
        "audit_seal_lag_seconds",
        "How long ago the audit trail was sealed to its end, where this process seals it",
        ConstGauge::new(audit.seal_lag.as_secs_f64()),
    );
    registry.register(
        "webhook_oldest_waiting_seconds",
        "How long ago the event of the oldest waiting delivery happened",
        ConstGauge::new(backlog.oldest.as_secs_f64()),
    );
    registry
}

/// The methods of the table; a client can invent others.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
