//! The servers that hold the store, and which of them is asked about what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, Cmd, FromRedisValue, ProtocolVersion, RedisResult, Value};
use tokio::time::Instant;

use super::address::{Address, Host, Kind};
use super::cluster::Cluster;
use super::failure::Failure;
use super::link::{Link, Request, Resend};
use super::script::Scripts;
use super::whereabouts::Whereabouts;
use crate::store::{Partition, StoreError};

/// How long a call may take in all, however often and to whomever it is sent.
const DEADLINE: Duration = Duration::from_secs(2);

/// The servers of a store.
pub(super) struct Servers {
    scripts: Arc<Scripts>,
    layout: Layout,
}

enum Layout {
    /// One server has everything.
    One(Box<Server>),
    /// Each partition is where its hash slot is.
    Cluster(Box<Cluster>),
}

/// A server, with a connection for what waits for nobody and one for commits that wait for replicas: a connection answers
/// in turn, so everything behind such a commit would wait as well.
#[derive(Debug)]
pub(super) struct Server {
    calls: Link,
    replicated: Link,
    whereabouts: Whereabouts,
}

impl Server {
    pub(super) fn new(whereabouts: Whereabouts, scripts: &Arc<Scripts>) -> Server {
        let link = || Link::new(whereabouts.clone(), Arc::clone(scripts));
        Server {
            calls: link(),
            replicated: link(),
            whereabouts,
        }
    }

    pub(super) async fn call(
        &self,
        request: Request<'_>,
        resend: Resend,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let link = match request.waits() {
            false => &self.calls,
            true => &self.replicated,
        };
        link.call(request, resend, deadline).await
    }

    pub(super) fn close(&self) {
        self.calls.close();
        self.replicated.close();
    }
}

impl Servers {
    pub(super) fn of(address: &Address) -> Servers {
        let scripts = Arc::new(Scripts::new());
        let layout = match &address.kind {
            Kind::Cluster => {
                let cluster = Cluster::new(address.clone(), Arc::clone(&scripts));
                Layout::Cluster(Box::new(cluster))
            }
            kind => {
                let whereabouts = match kind {
                    Kind::Sentinel { master } => {
                        Whereabouts::Master(address.clone(), master.clone())
                    }
                    _ => Whereabouts::Server(address.clone(), address.hosts[0].clone()),
                };
                Layout::One(Box::new(Server::new(whereabouts, &scripts)))
            }
        };
        Servers { scripts, layout }
    }

    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// Sends a command about a partition, that may be sent twice, and reads its answer: at most 2 seconds.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        partition: Partition,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.send(partition, Request::new(command), Resend::Once)
            .await
    }

    /// As [`Servers::call`], of any request.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        partition: Partition,
        request: Request<'_>,
        resend: Resend,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + DEADLINE;
        let answer = match &self.layout {
            Layout::One(server) => server.call(request, resend, deadline).await,
            // Boxed, so that it costs the usual case no room.
            Layout::Cluster(cluster) => {
                Box::pin(cluster.call(partition, request, resend, deadline)).await
            }
        };
        super::read(answer?)
    }

    /// Asks each server that takes writes the same.
    pub(super) async fn each<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<Vec<T>, StoreError> {
        let (request, deadline) = (Request::new(command), Instant::now() + DEADLINE);
        let answers = match &self.layout {
            Layout::One(server) => vec![server.call(request, Resend::Once, deadline).await?],
            Layout::Cluster(cluster) => Box::pin(cluster.each(request, deadline)).await?,
        };
        answers.into_iter().map(super::read).collect()
    }

    /// A client for a connection that listens to announcements. They reach every server.
    pub(super) async fn listener(&self) -> RedisResult<Client> {
        match &self.layout {
            Layout::One(server) => server.whereabouts.client(ProtocolVersion::RESP2).await,
            Layout::Cluster(cluster) => cluster.listener().await,
        }
    }

    /// Ends all connections for good.
    pub(super) fn close(&self) {
        match &self.layout {
            Layout::One(server) => server.close(),
            Layout::Cluster(cluster) => cluster.close(),
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.layout {
            Layout::One(server) => server.fmt(f),
            Layout::Cluster(cluster) => cluster.fmt(f),
        }
    }
}

/// A whereabouts for one server of an address.
pub(super) fn at(address: &Address, host: &Host) -> Whereabouts {
    Whereabouts::Server(address.clone(), host.clone())
}
