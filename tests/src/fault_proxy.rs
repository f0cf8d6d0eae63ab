//! A TCP proxy on loopback that breaks connections where it hurts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// How often a slow connection lets something through.
const SIP: Duration = Duration::from_millis(50);

/// Forwards every connection to a server, until told to do harm. Stops when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    accepting: AbortHandle,
}

/// What is wrong with the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// Connections are accepted and requests taken, but nothing is forwarded in either direction.
    Silent,
    /// Everything takes that much longer, in both directions.
    Delay(Duration),
    /// So many bytes a second get through, in each direction of each connection.
    Slow(usize),
}

#[derive(Debug)]
struct Faults {
    /// When a request contains this, its connection is cut before the answer goes back.
    swallow: Mutex<Option<&'static [u8]>>,
    trouble: watch::Sender<Trouble>,
    /// Moves when all connections are cut.
    cuts: watch::Sender<u64>,
    /// Moves when all connections are stranded.
    strandings: watch::Sender<u64>,
}

impl FaultProxy {
    /// Listens on a free loopback port, before one server.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn start(upstream: SocketAddr) -> FaultProxy {
        Self::before(vec![upstream]).await
    }

    /// Listens on a free loopback port, before servers of which each connection gets the next one that takes it.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn before(upstreams: Vec<SocketAddr>) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let faults = Arc::new(Faults {
            swallow: Mutex::new(None),
            trouble: watch::Sender::default(),
            cuts: watch::Sender::default(),
            strandings: watch::Sender::default(),
        });
        let accepting = tokio::spawn(accept(listener, upstreams, Arc::clone(&faults)));
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

    /// Leaves all connections that are open half-open, as when a machine between goes away: neither side hears from the
    /// other again, nor of the other's end. New connections work.
    pub fn strand(&self) {
        self.faults.strandings.send_modify(|count| *count += 1);
    }

    /// Makes this the trouble of all connections, from now on.
    pub fn set(&self, trouble: Trouble) {
        self.faults.trouble.send_replace(trouble);
    }

    /// Makes all connections [silent](Trouble::Silent), or lets them go on.
    pub fn set_silent(&self, silent: bool) {
        self.set(match silent {
            true => Trouble::Silent,
            false => Trouble::None,
        });
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
        let _ = self
            .trouble
            .subscribe()
            .wait_for(|trouble| *trouble != Trouble::Silent)
            .await;
    }

    /// Lets through what has arrived on a connection that there is since `stranding`, as soon as it may.
    async fn delay(&self, stranding: u64) {
        self.wait_while_silent().await;
        let trouble = *self.trouble.borrow();
        if let Trouble::Delay(by) = trouble {
            sleep(by).await;
        }
        if *self.strandings.borrow() != stranding {
            std::future::pending().await
        }
    }

    async fn write(&self, to: &mut OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let trouble = *self.trouble.borrow();
            let sip = match trouble {
                Trouble::Slow(a_second) => {
                    sleep(SIP).await;
                    (a_second / 20).clamp(1, bytes.len())
                }
                Trouble::None | Trouble::Silent | Trouble::Delay(_) => bytes.len(),
            };
            to.write_all(&bytes[..sip]).await?;
            bytes = &bytes[sip..];
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener, mut upstreams: Vec<SocketAddr>, faults: Arc<Faults>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client, upstreams.clone(), Arc::clone(&faults)));
        upstreams.rotate_left(1);
    }
}

async fn serve(client: TcpStream, upstreams: Vec<SocketAddr>, faults: Arc<Faults>) {
    let mut cuts = faults.cuts.subscribe();
    let stranding = *faults.strandings.borrow();
    let forwarding = async {
        faults.wait_while_silent().await;
        // The first that takes it.
        let server = TcpStream::connect(&upstreams[..]).await?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (doomed, dooms) = watch::channel(false);
        tokio::select! {
            end = requests(from_client, to_server, &faults, stranding, &doomed) => end,
            end = answers(from_server, to_client, &faults, stranding, &dooms) => end,
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
    stranding: u64,
    doomed: &watch::Sender<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from_client.read(&mut buffer).await?;
        faults.delay(stranding).await;
        if read == 0 {
            return Ok(());
        }
        if faults.hits(&buffer[..read]) {
            doomed.send_replace(true);
        }
        faults.write(&mut to_server, &buffer[..read]).await?;
    }
}

async fn answers(
    mut from_server: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    faults: &Faults,
    stranding: u64,
    doomed: &watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from_server.read(&mut buffer).await?;
        if *doomed.borrow() {
            return Ok(());
        }
        faults.delay(stranding).await;
        if read == 0 {
            return Ok(());
        }
        faults.write(&mut to_client, &buffer[..read]).await?;
    }
}
