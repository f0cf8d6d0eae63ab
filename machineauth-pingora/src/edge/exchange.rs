//! What is known about one request while it is under way.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Response};
use machineauth_core::Timestamp;
use pingora_proxy::Session;

use super::answers::Problem;
use super::limits::Counted;
use super::metrics::UnderWay;
use super::route::Route;
use super::snapshot::Snapshot;

/// One request and what became of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) began: Timestamp,
    pub(crate) started: Instant,
    pub(crate) id: u128,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) client: Option<IpAddr>,
    /// Whether a proxy in front is believed.
    pub(crate) proxied: bool,
    pub(crate) route: Option<Arc<Route>>,
    /// What the edge answers by itself, once the time has come.
    pub(crate) prepared: Option<Response<Bytes>>,
    pub(crate) problem: Option<Problem>,
    pub(crate) counted: Vec<Counted>,
    pub(crate) body_bytes: u64,
    /// It has come as far as that.
    pub(crate) sought_server: bool,
    /// Numbers of the servers that it was tried at.
    pub(crate) tried: Vec<usize>,
    /// The token was verified, and may end before the exchange does.
    pub(crate) bound_to_token: bool,
    pub(crate) _under_way: UnderWay,
}

impl Exchange {
    /// The server that it was tried at last.
    pub(crate) fn server(&self) -> Option<&str> {
        let number = *self.tried.last()?;
        let server = &self.route.as_ref()?.pool.servers()[number];
        Some(&server.endpoint().0)
    }

    /// Adds to an answer what is left of the limits, and what web pages are told.
    pub(crate) fn decorate(&self, session: &Session, headers: &mut HeaderMap) {
        for counted in &self.counted {
            counted
                .quota
                .announce(headers, counted.limit.name(), counted.remaining);
        }
        if let Some(used_up) = self.problem.as_ref().and_then(Problem::used_up) {
            let remaining = used_up.exhausted.into();
            let name = used_up.limit.name();
            used_up.quota.announce(headers, name, remaining);
        }
        let cors = self.route.as_ref().and_then(|route| route.cors.as_ref());
        if let Some(cors) = cors {
            for (name, value) in cors.for_page(&session.req_header().headers) {
                headers.append(name, value);
            }
        }
    }
}
