//! What is counted for Prometheus. Labels come from the configuration and from this program, never from requests.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::Clock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::issuers::Issuer;
use super::upstream::{Pool, Server};

/// Seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// The first is for clients who were gone before they were answered.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// What requests count under that came to no route.
const NO_ROUTE: &str = "(none)";

/// All that is counted. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    upstream_failures: Family<FailureLabels, Counter>,
    servers_up: Family<ServerLabels, Gauge>,
    reloads: Family<OutcomeLabel, Counter>,
    log_lines_lost: Counter,
    in_flight: Gauge,
    keys_usable: Family<IssuerLabel, Gauge>,
    revocations_live: Family<IssuerLabel, Gauge>,
    revocations_age: Family<IssuerLabel, Gauge>,
    no_route: RouteMetrics,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    route: String,
    reason: &'static str,
    /// `false` in a dry run.
    enforced: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    upstream: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServerLabels {
    upstream: String,
    server: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

/// What is counted for one route, found once and not for each request.
#[derive(Clone, Debug)]
pub(crate) struct RouteMetrics {
    requests: [Counter; CLASSES.len()],
    duration: Histogram,
}

impl RouteMetrics {
    /// `status` is 0 when nobody was there to be answered.
    pub(crate) fn answered(&self, status: u16, duration: Duration) {
        let class = usize::from(status / 100).min(CLASSES.len() - 1);
        self.requests[class].inc();
        self.duration.observe(duration.as_secs_f64());
    }
}

impl Metrics {
    /// Counters that start at zero, in `registry`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let requests = Family::default();
        let durations = Family::new_with_constructor(histogram);
        let no_route = route(&requests, &durations, NO_ROUTE);
        let inner = Inner {
            requests,
            durations,
            refusals: Family::default(),
            upstream_failures: Family::default(),
            servers_up: Family::default(),
            reloads: Family::default(),
            log_lines_lost: Counter::default(),
            in_flight: Gauge::default(),
            keys_usable: Family::default(),
            revocations_live: Family::default(),
            revocations_age: Family::default(),
            no_route,
        };
        inner.register(registry);
        Self(Arc::new(inner))
    }

    pub(crate) fn of_route(&self, name: &str) -> RouteMetrics {
        route(&self.0.requests, &self.0.durations, name)
    }

    pub(crate) fn no_route(&self) -> &RouteMetrics {
        &self.0.no_route
    }

    pub(crate) fn refused(&self, route: Option<&str>, reason: &'static str, enforced: bool) {
        let labels = RefusalLabels {
            route: route.unwrap_or(NO_ROUTE).to_owned(),
            reason,
            enforced: if enforced { "true" } else { "false" },
        };
        self.0.refusals.get_or_create(&labels).inc();
    }

    pub(crate) fn upstream_failed(&self, upstream: &str, kind: &'static str) {
        let upstream = upstream.to_owned();
        let labels = FailureLabels { upstream, kind };
        self.0.upstream_failures.get_or_create(&labels).inc();
    }

    pub(crate) fn server_is_up(&self, pool: &Pool, server: &Server) {
        let labels = ServerLabels {
            upstream: pool.name().to_owned(),
            server: server.endpoint().to_string(),
        };
        let up = i64::from(server.is_up());
        self.0.servers_up.get_or_create(&labels).set(up);
    }

    /// Servers and issuers that are no longer configured are no longer told of.
    pub(crate) fn forget_neighbours(&self) {
        self.0.servers_up.clear();
        self.0.keys_usable.clear();
        self.0.revocations_live.clear();
        self.0.revocations_age.clear();
    }

    /// How an issuer is doing now.
    pub(crate) fn issuer(&self, issuer: &Issuer, clock: &dyn Clock) {
        let label = IssuerLabel {
            issuer: issuer.url().to_owned(),
        };
        let usable = i64::from(issuer.jwks.health().usable);
        self.0.keys_usable.get_or_create(&label).set(usable);
        let Some(feed) = issuer.feed() else {
            return;
        };
        let live = i64::from(feed.status().live);
        self.0.revocations_live.get_or_create(&label).set(live);
        if let Some(age) = issuer.staleness(clock) {
            let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            self.0.revocations_age.get_or_create(&label).set(seconds);
        }
    }

    pub(crate) fn reloaded(&self, good: bool) {
        let outcome = if good { "applied" } else { "refused" };
        self.0
            .reloads
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    pub(crate) fn log_line_lost(&self) {
        self.0.log_lines_lost.inc();
    }

    /// Counts a request as under way until the value is dropped.
    pub(crate) fn under_way(&self) -> UnderWay {
        self.0.in_flight.inc();
        UnderWay(self.clone())
    }

    pub(crate) fn in_flight(&self) -> i64 {
        self.0.in_flight.get()
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Metrics);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.in_flight.dec();
    }
}

impl Inner {
    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("machineauth_edge");
        registry.register("requests", "Answered requests", self.requests.clone());
        registry.register(
            "request_duration_seconds",
            "From the request's head to the end of the answer",
            self.durations.clone(),
        );
        registry.register(
            "refusals",
            "Requests that the edge refused, or would have in a dry run",
            self.refusals.clone(),
        );
        registry.register(
            "upstream_failures",
            "Attempts at an upstream that failed",
            self.upstream_failures.clone(),
        );
        registry.register(
            "upstream_server_up",
            "Whether a server gets requests",
            self.servers_up.clone(),
        );
        registry.register(
            "reloads",
            "Changes of the configuration",
            self.reloads.clone(),
        );
        registry.register(
            "access_log_lines_lost",
            "Lines that the reader of the access log was too slow for",
            self.log_lines_lost.clone(),
        );
        registry.register(
            "issuer_keys_usable",
            "Whether there are keys that are not too old",
            self.keys_usable.clone(),
        );
        registry.register(
            "revocations_live",
            "Whether the issuer vouches at present that no revocation is missing",
            self.revocations_live.clone(),
        );
        registry.register(
            "revocations_age_seconds",
            "How long ago the revocations were known to be complete",
            self.revocations_age.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests under way",
            self.in_flight.clone(),
        );
    }
}

fn route(
    requests: &Family<RequestLabels, Counter>,
    durations: &Family<RouteLabel, Histogram, fn() -> Histogram>,
    name: &str,
) -> RouteMetrics {
    let route = name.to_owned();
    RouteMetrics {
        requests: CLASSES.map(|status| {
            let route = route.clone();
            let labels = RequestLabels { route, status };
            requests.get_or_create(&labels).clone()
        }),
        duration: durations.get_or_create(&RouteLabel { route }).clone(),
    }
}
