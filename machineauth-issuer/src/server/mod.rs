//! The accept loop: HTTP/1.1, with TLS where there is a certificate, with limits that `axum::serve` cannot set, and a
//! graceful end.

mod door;

use std::net::SocketAddr;
use std::num::NonZero;
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
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use self::door::{Door, Place};
use crate::context::Peer;
use crate::tls::Certificates;

/// More than any header of ours needs.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// How many connections are open at once, unless the operator says otherwise.
pub const DEFAULT_CONNECTIONS: usize = 10_000;

/// How long a client may keep the server waiting, and how many may do so.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Of them, those from one address. Further ones are closed at once. Any number by default.
    pub connections_per_address: Option<NonZero<usize>>,
    /// Proxies, which may have as many as there are.
    pub proxies: Vec<IpNet>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            connections: DEFAULT_CONNECTIONS,
            connections_per_address: None,
            proxies: Vec::new(),
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
    let mut door = Door::new(listener, &limits);
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
    fn serve(&self, stream: TcpStream, address: SocketAddr, place: Place) {
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
