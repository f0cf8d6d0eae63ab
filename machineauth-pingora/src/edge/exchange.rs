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
    /// Of this process, and among its requests.
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
    pub(crate) body: RequestBody,
    /// It has come as far as that.
    pub(crate) sought_server: bool,
    /// Numbers of the servers that it was tried at.
    pub(crate) tried: Vec<usize>,
    pub(crate) _under_way: UnderWay,
}

/// What has come of a request's body.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) bytes: u64,
    ended: bool,
    /// When a part of it came last.
    heard: Instant,
}

impl Exchange {
    pub(crate) fn begin(
        began: Timestamp,
        id: u128,
        snapshot: Arc<Snapshot>,
        under_way: UnderWay,
    ) -> Self {
        let started = Instant::now();
        Self {
            began,
            started,
            id,
            snapshot,
            client: None,
            proxied: false,
            route: None,
            prepared: None,
            problem: None,
            counted: Vec::new(),
            body: RequestBody {
                bytes: 0,
                ended: false,
                heard: started,
            },
            sought_server: false,
            tried: Vec::new(),
            _under_way: under_way,
        }
    }

    /// Whether the rest of the request is owed for longer than the client may be silent.
    pub(crate) fn client_is_silent(&self) -> bool {
        !self.body.ended && self.body.heard.elapsed() >= self.snapshot.client_timeout
    }

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

impl RequestBody {
    /// Another part has come, or the end.
    pub(crate) fn came(&mut self, part: Option<&Bytes>, is_end: bool) {
        if let Some(part) = part {
            self.bytes = self.bytes.saturating_add(part.len() as u64);
            self.heard = Instant::now();
        }
        self.ended |= is_end;
    }
}
