//! Which servers are up, and where their names lead.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::config::HealthToml;
use super::metrics::Metrics;
use super::upstream::{Pool, Server};

/// How often names are looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(10);

/// Watches the server of this number, for as long as it is polled.
pub(crate) async fn watch(pool: Arc<Pool>, number: usize, metrics: Metrics) {
    let server = Arc::clone(&pool.servers()[number]);
    if pool.health().is_none() {
        // It may have been down when it was last looked at, and nobody looks any more.
        server.set_up(true);
    }
    metrics.server_is_up(&pool, &server);
    match pool.health() {
        Some(health) => check(&pool, number, health, &metrics).await,
        None if server.has_name() => look_up(&server).await,
        None => {}
    }
}

/// Finds out where the names of servers lead before the first request needs to know, but takes no longer than `patience`.
pub(crate) async fn look_up_all(pools: &[Arc<Pool>], patience: Duration) {
    let mut looking = JoinSet::new();
    for server in pools.iter().flat_map(|pool| pool.servers()) {
        if !server.has_address() {
            let server = Arc::clone(server);
            looking.spawn(async move { resolve(&server).await });
        }
    }
    wait_for(looking, patience).await;
}

async fn wait_for(mut looking: JoinSet<()>, patience: Duration) {
    let all = async { while looking.join_next().await.is_some() {} };
    if timeout(patience, all).await.is_err() {
        tracing::warn!(
            ?patience,
            "the names of some servers are still looked up; starting without them"
        );
    }
}

async fn look_up(server: &Server) {
    loop {
        resolve(server).await;
        sleep(LOOK_UP_EVERY).await;
    }
}

async fn resolve(server: &Server) {
    let endpoint = server.endpoint();
    match tokio::net::lookup_host(&*endpoint.0).await {
        Ok(mut addresses) => {
            if let Some(address) = addresses.next() {
                server.moved_to(address);
            }
        }
        // The address that is known still serves.
        Err(error) => {
            tracing::warn!(server = %endpoint, %error, "the server's name cannot be looked up")
        }
    }
}

async fn check(pool: &Pool, number: usize, health: &HealthToml, metrics: &Metrics) {
    let server = &pool.servers()[number];
    let connector = Connector::new(None);
    let mut streak = Streak::default();
    loop {
        if server.has_name() {
            resolve(server).await;
        }
        let outcome = match pool.peer(number) {
            Some(peer) => ask_in_time(&connector, &peer, server, health).await,
            None => Error::e_explain(ErrorType::ConnectError, "its name leads nowhere"),
        };
        if let Some(up) = streak.after(outcome.is_ok(), server.is_up(), health)
            && server.set_up(up)
        {
            let (upstream, server) = (pool.name(), server.endpoint());
            match &outcome {
                Ok(()) => tracing::info!(upstream, %server, "the server is up"),
                Err(error) => tracing::warn!(upstream, %server, %error, "the server is down"),
            }
        }
        metrics.server_is_up(pool, server);
        sleep(health.every.0).await;
    }
}

/// How often the same has happened in a row.
#[derive(Debug, Default)]
struct Streak {
    good: bool,
    length: u32,
}

impl Streak {
    /// Whether the server is to be up or down from now on; `None` when that stays as it is.
    fn after(&mut self, good: bool, is_up: bool, health: &HealthToml) -> Option<bool> {
        self.length = match self.good == good {
            true => self.length.saturating_add(1),
            false => 1,
        };
        self.good = good;
        let needed: NonZero<u32> = match good {
            true => health.rise,
            false => health.fall,
        };
        (good != is_up && self.length >= needed.get()).then_some(good)
    }
}

async fn ask_in_time(
    connector: &Connector,
    peer: &HttpPeer,
    server: &Server,
    health: &HealthToml,
) -> Result<()> {
    let asking = ask(connector, peer, server, health.path.as_deref());
    timeout(health.timeout.0, asking)
        .await
        .unwrap_or_else(|_| Error::e_explain(ErrorType::ReadTimedout, "no answer in time"))
}

async fn ask(
    connector: &Connector,
    peer: &HttpPeer,
    server: &Server,
    path: Option<&str>,
) -> Result<()> {
    let (mut session, _) = connector.get_http_session(peer).await?;
    let Some(path) = path else {
        return Ok(());
    };
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(2))?;
    request.insert_header(HOST, &*server.endpoint().0)?;
    request.insert_header(USER_AGENT, "machineauth-edge")?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    match session.response_header().map(|header| header.status) {
        Some(status) if status.is_success() => Ok(()),
        Some(status) => Error::e_explain(ErrorType::HTTPStatus(status.as_u16()), "no 2xx"),
        None => Error::e_explain(ErrorType::ReadError, "no answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_lead_somewhere_before_the_first_request() {
        let toml = "name = \"p\"\nservers = [\"localhost:1\", \"127.0.0.1:2\"]";
        let pool = Pool::new(toml::from_str(toml).unwrap(), None, None);
        let pools = [Arc::new(pool)];
        assert!(pools[0].peer(0).is_none());
        look_up_all(&pools, Duration::from_secs(20)).await;
        assert!(pools[0].peer(0).is_some());
    }

    #[tokio::test]
    async fn a_resolver_that_is_slow_does_not_hold_up_the_start() {
        let mut looking = JoinSet::new();
        looking.spawn(std::future::pending());
        let waiting = wait_for(looking, Duration::from_millis(1));
        let waited = timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok());
    }
}
