//! Where connections come in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Limits;
use crate::protection::address_block;

/// How long to wait, and not to log again, when the process is out of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);
/// How often the log says that there is no room for another connection.
const FULL_AGAIN: Duration = Duration::from_secs(1);

/// Lets connections in, as long as there is room.
pub(super) struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    shares: Shares,
    said_full: Option<Instant>,
}

/// A connection's place. It is free again when this is dropped.
pub(super) struct Place {
    _room: OwnedSemaphorePermit,
    _share: Option<Share>,
}

impl Door {
    pub(super) fn new(listener: TcpListener, limits: &Limits) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(limits.connections)),
            shares: Shares {
                most: limits.connections_per_address,
                proxies: limits.proxies.clone(),
                taken: Arc::default(),
            },
            said_full: None,
        }
    }

    /// The next connection, with its place.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr, Place) {
        let room = self.room().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => match self.shares.take(address.ip()) {
                    Ok(share) => {
                        let place = Place {
                            _room: room,
                            _share: share,
                        };
                        return (stream, address, place);
                    }
                    Err(Exhausted) => self.say_full(
                        "an address has as many connections as MAX_CONNECTIONS_PER_ADDRESS allows; others are closed",
                    ),
                },
                Err(error) => accept_failed(&error).await,
            }
        }
    }

    async fn room(&mut self) -> OwnedSemaphorePermit {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            return room;
        }
        self.say_full("as many connections are open as MAX_CONNECTIONS allows; others wait");
        Arc::clone(&self.room)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore")
    }

    fn say_full(&mut self, what: &str) {
        let now = Instant::now();
        if self.said_full.is_none_or(|said| now >= said + FULL_AGAIN) {
            self.said_full = Some(now);
            tracing::warn!("{what}");
        }
    }
}

/// What each address has of the connections.
struct Shares {
    most: Option<NonZero<usize>>,
    proxies: Vec<IpNet>,
    taken: Arc<Taken>,
}

/// How many connections are from an address. Those that have none are not in it.
type Taken = Mutex<HashMap<IpAddr, usize>>;

/// One connection of an address.
struct Share {
    address: IpAddr,
    taken: Arc<Taken>,
}

/// The address has as many as it may.
struct Exhausted;

impl Shares {
    /// `None` where it does not matter how many an address has.
    fn take(&self, address: IpAddr) -> Result<Option<Share>, Exhausted> {
        let is_proxy = || {
            let address = address.to_canonical();
            self.proxies.iter().any(|proxy| proxy.contains(&address))
        };
        let Some(most) = self.most.filter(|_| !is_proxy()) else {
            return Ok(None);
        };
        let address = address_block(address);
        let mut taken = locked(&self.taken);
        let count = taken.entry(address).or_default();
        if *count >= most.get() {
            return Err(Exhausted);
        }
        *count += 1;
        Ok(Some(Share {
            address,
            taken: Arc::clone(&self.taken),
        }))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = locked(&self.taken).entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn locked(taken: &Taken) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that is gone again is its own affair; a lack of descriptors passes when connections end.
async fn accept_failed(error: &io::Error) {
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        tracing::warn!(%error, "accepting a connection failed");
        tokio::time::sleep(ACCEPT_BACKOFF).await;
    }
}
