//! A TCP proxy on loopback that breaks connections where it hurts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Forwards every connection to one upstream address, until told to do harm. Stops when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Faults {
    /// When a request contains this, its connection is cut before the answer goes back.
    swallow: Mutex<Option<&'static [u8]>>,
    /// Requests arrive, and nothing happens at all.
    silent: watch::Sender<bool>,
    /// Moves when all connections are cut.
    cuts: watch::Sender<u64>,
}

impl FaultProxy {
    /// Listens on a free loopback port.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn start(upstream: SocketAddr) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let faults = Arc::new(Faults {
            swallow: Mutex::new(None),
            silent: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, upstream, Arc::clone(&faults)));
        FaultProxy {
            address,
            faults,
            accepting: accepting.abort_handle(),
        }
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Once: the next request that contains `pattern` reaches the server, which does it and answers, but the
    /// connection is cut before the answer reaches the client.
    pub fn swallow_the_answer_to(&self, pattern: &'static [u8]) {
        *self.faults.pattern() = Some(pattern);
    }

    /// Whether the fault that was asked for has happened.
    pub fn has_swallowed(&self) -> bool {
        self.faults.pattern().is_none()
    }

    /// Cuts all connections that are open.
    pub fn cut(&self) {
        self.faults.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// While silent, connections are accepted and requests taken, but nothing is forwarded in either direction.
    pub fn set_silent(&self, silent: bool) {
        self.faults.silent.send_replace(silent);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Faults {
    fn pattern(&self) -> std::sync::MutexGuard<'_, Option<&'static [u8]>> {
        self.swallow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this request is the one whose answer is to be swallowed.
    fn hits(&self, request: &[u8]) -> bool {
        let mut pattern = self.pattern();
        let hit = pattern.is_some_and(|pattern| {
            request
                .windows(pattern.len())
                .any(|window| window == pattern)
        });
        if hit {
            *pattern = None;
        }
        hit
    }

    async fn wait_while_silent(&self) {
        // The sender lives as long as `self`.
        let _ = self.silent.subscribe().wait_for(|silent| !silent).await;
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, faults: Arc<Faults>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client, upstream, Arc::clone(&faults)));
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, faults: Arc<Faults>) {
    let mut cuts = faults.cuts.subscribe();
    let forwarding = async {
        faults.wait_while_silent().await;
        let server = TcpStream::connect(upstream).await?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (doomed, dooms) = watch::channel(false);
        tokio::select! {
            end = requests(from_client, to_server, &faults, &doomed) => end,
            end = answers(from_server, to_client, &faults, &dooms) => end,
        }
    };
    // Whichever ends first drops both sockets.
    tokio::select! {
        _ = forwarding => {}
        _ = cuts.changed() => {}
    }
}

async fn requests(
    mut from_client: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    faults: &Faults,
    doomed: &watch::Sender<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from_client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        faults.wait_while_silent().await;
        if faults.hits(&buffer[..read]) {
            doomed.send_replace(true);
        }
        to_server.write_all(&buffer[..read]).await?;
    }
}

async fn answers(
    mut from_server: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    faults: &Faults,
    doomed: &watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from_server.read(&mut buffer).await?;
        if read == 0 || *doomed.borrow() {
            return Ok(());
        }
        faults.wait_while_silent().await;
        to_client.write_all(&buffer[..read]).await?;
    }
}
