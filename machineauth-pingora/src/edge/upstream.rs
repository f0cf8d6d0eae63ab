//! Servers behind the edge, and which of them gets the next request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::{HttpPeer, PeerOptions, Scheme};

use super::config::{Endpoint, HealthToml, ProtocolToml, ServerEntry, UpstreamToml};

/// How long a server is spared after it could not be reached.
const REST: Duration = Duration::from_secs(5);
/// How many streams one connection of HTTP/2 carries at once.
const STREAMS: usize = 100;

/// The servers of one `[[upstream]]`.
#[derive(Debug)]
pub(crate) struct Pool {
    name: Box<str>,
    servers: Vec<Arc<Server>>,
    /// Numbers of servers, each as often as its weight says, spread evenly.
    schedule: Vec<usize>,
    next: AtomicUsize,
    retries: usize,
    health: Option<HealthToml>,
    tls: Option<PoolTls>,
    options: PeerOptions,
    /// Connections are shared with others of the same: whom one trusts for them says nothing to another.
    trust: u64,
}

/// Who vouches for servers.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    pub(crate) certificates: Arc<CaType>,
    /// Tells these authorities from others.
    pub(crate) digest: u64,
}

#[derive(Debug)]
struct PoolTls {
    server_name: Option<Box<str>>,
}

/// One of them. What is known of it survives a change of the configuration.
pub(crate) struct Server {
    endpoint: Endpoint,
    /// Where its name leads at present.
    address: ArcSwapOption<SocketAddr>,
    up: AtomicBool,
    started: Instant,
    /// Milliseconds since `started`.
    rests_until: AtomicU64,
}

impl Pool {
    /// `before` is the pool of the same name that this one replaces.
    pub(crate) fn new(toml: UpstreamToml, ca: Option<Authorities>, before: Option<&Self>) -> Self {
        let known = |entry: &ServerEntry| {
            let mut before = before.into_iter().flat_map(|pool| &pool.servers);
            before
                .find(|server| server.endpoint == entry.address)
                .cloned()
        };
        let server = |entry: &ServerEntry| {
            known(entry).unwrap_or_else(|| Arc::new(Server::new(entry.address.clone())))
        };
        let mut options = PeerOptions::new();
        options.connection_timeout = Some(toml.connect_timeout.0);
        options.total_connection_timeout = Some(toml.connect_timeout.0 * 2);
        options.read_timeout = Some(toml.timeout.0);
        options.write_timeout = Some(toml.timeout.0);
        options.idle_timeout = Some(toml.idle_timeout.0);
        options.alpn = match toml.protocol {
            ProtocolToml::Http1 => ALPN::H1,
            ProtocolToml::Http2 => ALPN::H2,
            ProtocolToml::Auto => ALPN::H2H1,
        };
        options.max_h2_streams = STREAMS;
        let trust = ca.as_ref().map_or(0, |ca| ca.digest);
        options.ca = ca.map(|ca| ca.certificates);
        Self {
            servers: toml.servers.iter().map(server).collect(),
            schedule: spread(toml.servers.iter().map(|entry| entry.weight.get().into())),
            next: AtomicUsize::new(0),
            retries: toml.retries,
            health: toml.health,
            tls: toml.tls.map(|tls| PoolTls {
                server_name: tls.server_name.map(Into::into),
            }),
            options,
            trust,
            name: toml.name.into(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    pub(crate) fn health(&self) -> Option<&HealthToml> {
        self.health.as_ref()
    }

    /// Whether its servers can be spoken to in HTTP/1.1.
    pub(crate) fn speaks_http1(&self) -> bool {
        self.options.alpn.get_min_http_version() == 1
    }

    /// How many servers a request is tried at, at most.
    pub(crate) fn attempts(&self) -> usize {
        self.retries
            .saturating_add(1)
            .min(self.servers.len().max(2))
    }

    /// The number of the server whose turn it is. Those that were `tried` come last, those that are down never.
    pub(crate) fn choose(&self, tried: &[usize]) -> Option<usize> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let length = self.schedule.len();
        let in_turn = || (0..length).map(|step| self.schedule[turn.wrapping_add(step) % length]);
        let is_up = |number: &usize| self.servers[*number].is_up();
        let is_fresh = |number: &usize| is_up(number) && !tried.contains(number);
        let is_spared = |number: &usize| !self.servers[*number].rests();
        in_turn()
            .find(|number| is_fresh(number) && is_spared(number))
            .or_else(|| in_turn().find(is_fresh))
            .or_else(|| in_turn().find(is_up))
    }

    /// How the server of this number is reached; `None` while nobody knows where it is.
    pub(crate) fn peer(&self, number: usize) -> Option<HttpPeer> {
        let server = &self.servers[number];
        let address = **server.address.load().as_ref()?;
        Some(self.peer_at(server, address))
    }

    fn peer_at(&self, server: &Server, address: SocketAddr) -> HttpPeer {
        let name = self.tls.as_ref().map(|tls| {
            let name = tls.server_name.as_deref();
            name.unwrap_or(server.endpoint.host()).to_owned()
        });
        HttpPeer {
            _address: PeerAddress::Inet(address),
            scheme: Scheme::from_tls_bool(name.is_some()),
            // Never empty: Pingora verifies no certificate then.
            sni: name.unwrap_or_default(),
            proxy: None,
            client_cert_key: None,
            group_key: self.trust,
            options: self.options.clone(),
        }
    }
}

/// Smooth weighted round robin: the heavy ones are not in a row.
fn spread(weights: impl Iterator<Item = i32>) -> Vec<usize> {
    let weights: Vec<i32> = weights.collect();
    let total: i32 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    let mut turn = || {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight;
        }
        let (richest, _) = credit
            .iter()
            .enumerate()
            .rev()
            .max_by_key(|(_, credit)| **credit)?;
        credit[richest] -= total;
        Some(richest)
    };
    (0..total).filter_map(|_| turn()).collect()
}

impl Server {
    fn new(endpoint: Endpoint) -> Self {
        let address = endpoint.0.parse().ok();
        Self {
            endpoint,
            address: ArcSwapOption::from_pointee(address),
            up: AtomicBool::new(true),
            started: Instant::now(),
            rests_until: AtomicU64::new(0),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it has a name that must be looked up.
    pub(crate) fn has_name(&self) -> bool {
        self.endpoint.0.parse::<SocketAddr>().is_err()
    }

    /// Whether it is known where it is.
    pub(crate) fn has_address(&self) -> bool {
        self.address.load().is_some()
    }

    pub(crate) fn moved_to(&self, address: SocketAddr) {
        self.address.store(Some(Arc::new(address)));
    }

    /// Whether it gets requests, as far as the health checks know.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Returns whether that is news.
    pub(crate) fn set_up(&self, up: bool) -> bool {
        self.up.swap(up, Ordering::Relaxed) != up
    }

    /// It could not be reached: others get its requests for a moment.
    pub(crate) fn failed(&self) {
        let until = millis(self.started.elapsed() + REST);
        self.rests_until.store(until, Ordering::Relaxed);
    }

    fn rests(&self) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        until > 0 && millis(self.started.elapsed()) < until
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("endpoint", &self.endpoint.0)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(text: &str) -> Pool {
        let toml = format!("name = \"p\"\n{text}");
        Pool::new(toml::from_str(&toml).unwrap(), None, None)
    }

    fn turns(pool: &Pool, count: usize) -> Vec<usize> {
        (0..count).map(|_| pool.choose(&[]).unwrap()).collect()
    }

    const THREE: &str =
        r#"servers = ["127.0.0.1:1", { address = "127.0.0.1:2", weight = 3 }, "127.0.0.1:3"]"#;

    #[test]
    fn servers_take_turns_by_their_weights() {
        let pool = pool(THREE);
        let mut turns = turns(&pool, 10);
        assert!(turns.windows(4).all(|turns| turns != [1, 1, 1, 1]));
        turns.sort_unstable();
        assert_eq!(turns, [0, 0, 1, 1, 1, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn a_server_that_is_down_gets_nothing() {
        let pool = pool(THREE);
        assert!(pool.servers[1].set_up(false));
        assert!(!turns(&pool, 10).contains(&1));
        pool.servers[0].set_up(false);
        pool.servers[2].set_up(false);
        assert_eq!(pool.choose(&[]), None);
    }

    #[test]
    fn a_server_that_failed_is_spared_while_there_are_others() {
        let pool = pool(THREE);
        pool.servers[1].failed();
        assert!(!turns(&pool, 10).contains(&1));
        pool.servers[0].failed();
        pool.servers[2].failed();
        assert!(turns(&pool, 10).contains(&1));
    }

    #[test]
    fn another_attempt_goes_to_another_server() {
        let pool = pool(THREE);
        for _ in 0..10 {
            assert_eq!(pool.choose(&[0, 1]), Some(2));
            assert!(pool.choose(&[0, 1, 2]).is_some());
        }
    }

    #[test]
    fn what_is_known_of_a_server_survives_a_change() {
        let before = pool(THREE);
        before.servers[2].set_up(false);
        let toml = "name = \"p\"\nservers = [\"127.0.0.1:3\", \"127.0.0.1:4\"]";
        let after = Pool::new(toml::from_str(toml).unwrap(), None, Some(&before));
        assert!(!after.servers[0].is_up());
        assert!(after.servers[1].is_up());
    }
}
