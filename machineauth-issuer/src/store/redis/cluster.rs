//! A cluster: which of its servers holds which partition, and what to do when that changes.
//!
//! The library's own client for clusters is not used: it sends a command again when a connection broke, and a batch that
//! leaves no mark must never be sent twice.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{Client, ErrorKind, ProtocolVersion, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::address::{Address, Host};
use super::failure::Failure;
use super::link::{Request, Resend};
use super::script::{Scripts, tag};
use super::servers::{Server, at};
use crate::store::Partition;

/// How many hash slots a cluster has.
const SLOTS: u16 = 16_384;
/// How long to wait where another try may fare better.
const PAUSE: Duration = Duration::from_millis(25);
/// How long asking one server for the slots may take.
const ASKING: Duration = Duration::from_secs(1);

/// The servers of a cluster.
pub(super) struct Cluster {
    address: Address,
    scripts: Arc<Scripts>,
    map: ArcSwap<Map>,
    /// Held while asking who holds which slots; remembers when that was done last.
    asking: Mutex<Option<Instant>>,
    servers: Lock<HashMap<Host, Arc<Server>>>,
}

/// Who holds which slots.
#[derive(Debug, Default)]
struct Map(Vec<Range>);

/// The first slot, the last, and who holds them.
type Range = (u16, u16, Host);

impl Map {
    fn holder(&self, slot: u16) -> Option<&Host> {
        let held = self
            .0
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&slot));
        held.map(|(.., host)| host)
    }

    /// The same, but for one slot.
    fn moved(&self, slot: u16, to: Host) -> Map {
        // The first that fits counts.
        let mut slots = vec![(slot, slot, to)];
        let others = self.0.iter().filter(|(first, last, _)| first != last);
        let single = self
            .0
            .iter()
            .filter(|(first, last, _)| first == last && *first != slot);
        slots.extend(single.chain(others).cloned());
        Map(slots)
    }

    fn hosts(&self) -> BTreeSet<&Host> {
        self.0.iter().map(|(.., host)| host).collect()
    }
}

impl Cluster {
    pub(super) fn new(address: Address, scripts: Arc<Scripts>) -> Cluster {
        Cluster {
            address,
            scripts,
            map: ArcSwap::default(),
            asking: Mutex::default(),
            servers: Lock::default(),
        }
    }

    /// Sends a request to whoever holds the partition, and follows it where it is sent from there.
    pub(super) async fn call(
        &self,
        partition: Partition,
        request: Request<'_>,
        resend: Resend,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let slot = slot(&tag(partition));
        let mut sent_to = None;
        loop {
            let (host, request) = match sent_to.take() {
                Some(host) => (host, request.asking()),
                None => (self.holder(slot).await?, request),
            };
            let failure = match self.server(&host).call(request, resend, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let may_try_again = match &failure {
                Failure::Refused(error) => match error.kind() {
                    ErrorKind::Server(ServerErrorKind::Moved) => self.move_slot(slot, error),
                    ErrorKind::Server(ServerErrorKind::Ask) => {
                        sent_to = redirection(error);
                        sent_to.is_some()
                    }
                    ErrorKind::Server(
                        ServerErrorKind::TryAgain
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::BusyLoading,
                    ) => self.pause().await,
                    ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => {
                        self.look_again().await
                    }
                    _ => false,
                },
                // Nothing was sent, so it may be sent to somebody else.
                Failure::Unreached(_) | Failure::Replica => self.look_again().await,
                Failure::Lost(_) => false,
            };
            if !may_try_again || Instant::now() >= deadline {
                return Err(failure);
            }
        }
    }

    /// Sends a request to each server that holds slots.
    pub(super) async fn each(
        &self,
        request: Request<'_>,
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        if self.map.load().0.is_empty() {
            self.look().await?;
        }
        let map = self.map.load_full();
        let mut answers = Vec::new();
        for host in map.hosts() {
            let server = self.server(host);
            answers.push(server.call(request, Resend::Once, deadline).await?);
        }
        Ok(answers)
    }

    /// A client for any server: what is announced at one reaches all.
    pub(super) async fn listener(&self) -> RedisResult<Client> {
        let host = match self.holder(slot(&tag(Partition::SYSTEM))).await {
            Ok(host) => host,
            Err(_) => return Err(unknown()),
        };
        at(&self.address, &host)
            .client(ProtocolVersion::RESP2)
            .await
    }

    pub(super) fn close(&self) {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.values().for_each(|server| server.close());
    }

    fn server(&self, host: &Host) -> Arc<Server> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let server = servers
            .entry(host.clone())
            .or_insert_with(|| Arc::new(Server::new(at(&self.address, host), &self.scripts)));
        Arc::clone(server)
    }

    async fn holder(&self, slot: u16) -> Result<Host, Failure> {
        if let Some(host) = self.map.load().holder(slot) {
            return Ok(host.clone());
        }
        self.look().await?;
        let holder = self.map.load().holder(slot).cloned();
        holder.ok_or_else(|| Failure::Unreached(unknown()))
    }

    /// Notes where a slot has gone, and whether that was said.
    fn move_slot(&self, slot: u16, error: &RedisError) -> bool {
        let Some(host) = redirection(error) else {
            return false;
        };
        self.map.rcu(|map| map.moved(slot, host.clone()));
        true
    }

    /// Asks who holds which slots, after a moment. There may have been a fail-over, of which others hear late.
    async fn look_again(&self) -> bool {
        // What it fails with is told by the next try.
        let _ = self.look().await;
        self.pause().await
    }

    async fn pause(&self) -> bool {
        sleep(PAUSE).await;
        true
    }

    /// Asks the servers, one after the other, until one says who holds which slots.
    async fn look(&self) -> Result<(), Failure> {
        let asked = Instant::now();
        let mut last = self.asking.lock().await;
        if last.is_some_and(|last| last > asked) {
            return Ok(());
        }
        let map = self.map.load_full();
        let known = map.hosts().into_iter().cloned();
        let mut failure = Failure::Unreached(unknown());
        for host in known.chain(self.address.hosts.iter().cloned()) {
            match self.slots(&host).await {
                Ok(slots) => {
                    self.map.store(Arc::new(slots));
                    *last = Some(Instant::now());
                    return Ok(());
                }
                Err(error) => failure = Failure::Unreached(error),
            }
        }
        Err(failure)
    }

    /// On a connection of its own: a server that is about to be known as a replica answers too.
    async fn slots(&self, host: &Host) -> RedisResult<Map> {
        let asking = async {
            let client = at(&self.address, host)
                .client(ProtocolVersion::RESP2)
                .await?;
            let mut connection = client.get_multiplexed_async_connection().await?;
            let mut question = redis::cmd("CLUSTER");
            question.arg("SLOTS").query_async(&mut connection).await
        };
        let ranges: Vec<Vec<Value>> = tokio::time::timeout(ASKING, asking)
            .await
            .unwrap_or_else(|_| Err((ErrorKind::Io, "no answer in time").into()))?;
        let ranges = ranges.into_iter().map(|range| read_range(range, host));
        ranges.collect::<RedisResult<_>>().map(Map)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// First slot, last slot, the master, its replicas. A master without a name is the one that was asked.
fn read_range(range: Vec<Value>, asked: &Host) -> RedisResult<Range> {
    let mut range = range.into_iter();
    let mut next = || range.next().unwrap_or(Value::Nil);
    let (first, last) = (
        redis::from_redis_value(next())?,
        redis::from_redis_value(next())?,
    );
    let (name, port): (Option<String>, u16) = {
        let Value::Array(server) = next() else {
            return Err(unknown());
        };
        let mut server = server.into_iter();
        let mut next = || server.next().unwrap_or(Value::Nil);
        (
            redis::from_redis_value(next())?,
            redis::from_redis_value(next())?,
        )
    };
    let host = match name {
        Some(name) if !name.is_empty() => Host::new(&name, port),
        _ => asked.clone(),
    };
    Ok((first, last, host))
}

/// To whom `MOVED` and `ASK` send us.
fn redirection(error: &RedisError) -> Option<Host> {
    error
        .redirect_node()
        .and_then(|(address, _)| Host::parse(address))
}

fn unknown() -> RedisError {
    RedisError::from((
        ErrorKind::ClusterConnectionNotFound,
        "no server of the cluster says who holds what",
    ))
}

/// The hash slot of a tag: CRC-16/XMODEM (the Redis cluster specification, "Key distribution model").
fn slot(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_what_the_specification_says() {
        assert_eq!(slot("123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("bar"), 5_061);
    }

    #[test]
    fn a_slot_that_moved_is_where_it_was_said_to_be() {
        let host = |name| Host::new(name, 1);
        let map = Map(vec![(0, 9_999, host("a")), (10_000, SLOTS - 1, host("b"))]);
        let map = map.moved(5, host("c")).moved(5, host("d"));
        assert_eq!(map.holder(5), Some(&host("d")));
        assert_eq!(map.holder(6), Some(&host("a")));
        assert_eq!(map.holder(16_000), Some(&host("b")));
        assert_eq!(map.hosts().len(), 3);
    }
}
