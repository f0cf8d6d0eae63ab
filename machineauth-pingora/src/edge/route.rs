//! Which route a request takes: by its host first, then by the longest path.

use std::sync::Arc;
use std::time::Duration;

use super::config::{HostPattern, PathPrefix};
use super::cors::Cors;
use super::limits::Limits;
use super::metrics::RouteMetrics;
use super::target::Target;
use super::upstream::Pool;
use crate::module::MachineAuthModule;

/// One `[[route]]`, ready for requests.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Box<str>,
    pub(crate) path: PathPrefix,
    pub(crate) ignore_case: bool,
    pub(crate) auth: MachineAuthModule,
    pub(crate) pool: Arc<Pool>,
    pub(crate) limits: Limits,
    pub(crate) max_body: u64,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cors: Option<Cors>,
    pub(crate) websocket: bool,
    pub(crate) dry_run: bool,
    pub(crate) metrics: RouteMetrics,
}

impl Route {
    /// Whether WebSockets may be carried to its servers.
    pub(crate) fn takes_sockets(&self) -> bool {
        self.websocket && self.pool.speaks_http1()
    }
}

/// All routes. A host that some route names has only those routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Names before patterns, long patterns before short ones, every host last.
    hosts: Vec<(Option<HostPattern>, Vec<Arc<Route>>)>,
}

impl Routes {
    /// # Errors
    /// When there is a route for the same host and path already: its name.
    pub(crate) fn add(
        &mut self,
        host: Option<HostPattern>,
        route: &Arc<Route>,
    ) -> Result<(), Box<str>> {
        let known = self.hosts.iter().position(|(own, _)| *own == host);
        let at = known.unwrap_or_else(|| {
            let rank = rank(host.as_ref());
            let at = self
                .hosts
                .partition_point(|(own, _)| self::rank(own.as_ref()) >= rank);
            self.hosts.insert(at, (host, Vec::new()));
            at
        });
        let routes = &mut self.hosts[at].1;
        let same = |own: &&Arc<Route>| {
            let any_case = own.ignore_case || route.ignore_case;
            let (own, path) = (own.path.as_str(), route.path.as_str());
            own == path || any_case && own.eq_ignore_ascii_case(path)
        };
        if let Some(twin) = routes.iter().find(same) {
            return Err(twin.name.clone());
        }
        let length = route.path.as_str().len();
        let at = routes.partition_point(|own| own.path.as_str().len() >= length);
        routes.insert(at, Arc::clone(route));
        Ok(())
    }

    pub(crate) fn choose(&self, target: Target<'_>) -> Option<&Arc<Route>> {
        let of_host = |host: &Option<HostPattern>| match host {
            None => true,
            Some(HostPattern::Exact(name)) => name.eq_ignore_ascii_case(target.host),
            Some(HostPattern::Below(below)) => ends_with(target.host, below),
        };
        let (_, routes) = self.hosts.iter().find(|(host, _)| of_host(host))?;
        routes
            .iter()
            .find(|route| route.path.covers(target.path, route.ignore_case))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.hosts.iter().flat_map(|(_, routes)| routes)
    }
}

fn rank(host: Option<&HostPattern>) -> (u8, usize) {
    match host {
        Some(HostPattern::Exact(_)) => (2, 0),
        Some(HostPattern::Below(below)) => (1, below.len()),
        None => (0, 0),
    }
}

fn ends_with(host: &str, below: &str) -> bool {
    let start = host.len().checked_sub(below.len());
    start.is_some_and(|start| {
        start > 0 && host.as_bytes()[start..].eq_ignore_ascii_case(below.as_bytes())
    })
}
