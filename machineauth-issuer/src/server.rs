//! The accept loop: HTTP/1.1, with TLS where there is a certificate, with limits that `axum::serve` cannot set, and a
//! graceful end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use crate::context::Peer;
use crate::tls::Certificates;

/// More than any header of ours needs.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// How long to wait, and not to log again, when the process is out of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);
/// How often the log says that there is no room for another connection.
const FULL_AGAIN: Duration = Duration::from_secs(1);
/// How many connections are open at once, unless the operator says otherwise.
pub const DEFAULT_CONNECTIONS: usize = 10_000;

/// How long a client may keep the server waiting, and how many may do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the TLS handshake, as a whole (slow-loris). 10 s by default.
    pub handshake: Duration,
    /// For a request's header, idle time before it included (slow-loris). 30 s by default.
    pub header: Duration,
    /// For taking some of an answer that is ready. 30 s by default.
    pub write: Duration,
    /// For requests in flight to finish, once the server stops. 10 s by default.
    pub drain: Duration,
    /// Connections open at once. Others wait in the system's queue. [`DEFAULT_CONNECTIONS`] by default.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            connections: DEFAULT_CONNECTIONS,
        }
    }
}

/// Serves `router` on `listener` until `shutdown` completes; requests in flight then finish. With `certificates` it
/// speaks TLS and nothing else.
pub async fn serve(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let mut door = Door {
        listener,
        room: Arc::new(Semaphore::new(limits.connections)),
        said_full: None,
    };
    let connections = Connections {
        certificates,
        router,
        limits,
        graceful: GracefulShutdown::new(),
        running: watch::Sender::new(()),
    };
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            (stream, address, place) = door.next() => connections.serve(stream, address, place),
            () = &mut shutdown => break,
        }
    }
    drop(door);
    connections.finish().await;
}

/// Where connections come in, as long as there is room.
struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    said_full: Option<Instant>,
}

impl Door {
    /// The next connection, with its place, which is free again when that is dropped.
    async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let place = self.place().await;
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => return (stream, address, place),
                Err(error) => accept_failed(&error).await,
            }
        }
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            return place;
        }
        let now = Instant::now();
        if self.said_full.is_none_or(|said| now >= said + FULL_AGAIN) {
            self.said_full = Some(now);
            tracing::warn!("as many connections are open as MAX_CONNECTIONS allows; others wait");
        }
        Arc::clone(&self.room)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore")
    }
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

/// The connections of a server, each in a task of its own.
struct Connections {
    certificates: Option<Arc<Certificates>>,
    router: Router,
    limits: Limits,
    graceful: GracefulShutdown,
    /// Gone when the server stops: who has sent no request by then, for want of a handshake, is let go.
    running: watch::Sender<()>,
}

/// A connection whose writes time out.
type Transport = Pin<Box<TimeoutStream<TcpStream>>>;

impl Connections {
    fn serve(&self, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.write));
        let transport = Box::pin(stream);
        let http = Http {
            router: self.router.clone(),
            peer: Peer {
                address,
                is_secure: self.certificates.is_some(),
            },
            header_timeout: self.limits.header,
            watcher: self.graceful.watcher(),
        };
        let Some(certificates) = &self.certificates else {
            tokio::spawn(async move {
                http.serve(transport).await;
                drop(place);
            });
            return;
        };
        let handshake = secured(certificates.acceptor(), transport, self.limits.handshake);
        let mut running = self.running.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                stream = handshake => if let Some(stream) = stream {
                    http.serve(stream).await;
                },
                _ = running.changed() => {}
            }
            drop(place);
        });
    }

    /// Lets requests in flight finish.
    async fn finish(self) {
        drop(self.running);
        if timeout(self.limits.drain, self.graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some requests did not finish in time and were cut off");
        }
    }
}

/// The connection once its handshake is done. `None` when it fails or takes too long.
async fn secured(
    acceptor: TlsAcceptor,
    transport: Transport,
    limit: Duration,
) -> Option<TlsStream<Transport>> {
    match timeout(limit, acceptor.accept(transport)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

/// What one connection is served with.
struct Http {
    router: Router,
    peer: Peer,
    header_timeout: Duration,
    watcher: Watcher,
}

impl Http {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            router,
            peer,
            header_timeout,
            watcher,
        } = self;
        let service = router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
