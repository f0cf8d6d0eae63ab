//! Which server a connection is to lead to.

use std::time::Duration;

use redis::{Client, ErrorKind, ProtocolVersion, RedisError, RedisResult};
use tokio::time::timeout;

use super::address::{Address, Host};

/// How long one Sentinel may take to answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Where a connection is to lead.
#[derive(Debug, Clone)]
pub(super) enum Whereabouts {
    /// To this server.
    Server(Address, Host),
    /// To whom the Sentinels in the address call the master at this moment.
    Master(Address, String),
}

impl Whereabouts {
    /// A client for the server.
    ///
    /// # Errors
    /// When no Sentinel knows.
    pub(super) async fn client(&self, protocol: ProtocolVersion) -> RedisResult<Client> {
        let (address, host) = match self {
            Self::Server(address, host) => (address, host.clone()),
            Self::Master(address, name) => (address, master(address, name).await?),
        };
        address
            .client(&host, protocol)
            .map_err(|_| RedisError::from((ErrorKind::Client, "an address that cannot be used")))
    }
}

/// The first answer counts: Sentinels that were cut off learn what they missed within seconds, and a server that is no
/// longer the master is told by what it says of itself.
async fn master(address: &Address, name: &str) -> RedisResult<Host> {
    let mut last = RedisError::from((
        ErrorKind::MasterNameNotFoundBySentinel,
        "no Sentinel knows a master of that name",
    ));
    for host in &address.hosts {
        let asked = timeout(PATIENCE, ask(address, host, name)).await;
        match asked {
            Ok(Ok(Some(master))) => return Ok(master),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => last = error,
            Err(_) => last = (ErrorKind::Io, "a Sentinel does not answer in time").into(),
        }
    }
    Err(last)
}

async fn ask(address: &Address, sentinel: &Host, name: &str) -> RedisResult<Option<Host>> {
    let client = address
        .sentinel(sentinel)
        .map_err(|_| RedisError::from((ErrorKind::Client, "an address that cannot be used")))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
    Ok(answer.map(|(name, port)| Host::new(&name, port)))
}
