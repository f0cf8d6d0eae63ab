//! A receiver of webhooks, on a real socket, that does as it is told.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a delivery may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A delivery as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The header.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
}

impl Received {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a delivery is JSON")
    }

    /// A header's text.
    ///
    /// # Panics
    /// When it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().expect("our headers are ASCII")
    }
}

type Behaviour = Box<dyn FnMut(&Received) -> Reply + Send>;

/// How a receiver answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// With which status.
    pub status: u16,
    /// After which time.
    pub after: Duration,
    /// With which headers.
    pub headers: Vec<(&'static str, String)>,
    /// With which body.
    pub body: &'static str,
}

impl Reply {
    /// At once, with this status.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            after: Duration::ZERO,
            headers: Vec::new(),
            body: "",
        }
    }
}

/// A running receiver.
pub struct Receiver {
    /// Where it listens.
    pub url: String,
    received: watch::Receiver<Vec<Received>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Inside {
    received: Arc<watch::Sender<Vec<Received>>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Receiver {
    /// A receiver that takes everything.
    pub async fn start() -> Self {
        Self::that(|_| Reply::status(204)).await
    }

    /// A receiver that answers as `behaviour` says.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn that(behaviour: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        Self::on(listener.expect("loopback has a free port"), behaviour)
    }

    /// A receiver on `listener` that answers as `behaviour` says.
    ///
    /// # Panics
    /// When the listener has no address.
    pub fn on(
        listener: TcpListener,
        behaviour: impl FnMut(&Received) -> Reply + Send + 'static,
    ) -> Self {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (sink, received) = watch::channel(Vec::new());
        let inside = Inside {
            received: Arc::new(sink),
            behaviour: Arc::new(Mutex::new(Box::new(behaviour))),
        };
        let router = Router::new().fallback(receive).with_state(inside);
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("serving on loopback does not fail");
        });
        Self {
            url: format!("http://{address}/hook"),
            received,
            server,
        }
    }

    /// What arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// What arrived, once `enough` says so.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn until(&self, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut received = self.received.clone();
        let arrived = received.wait_for(|received| enough(received));
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        match arrived {
            Ok(arrived) => arrived.expect("the receiver runs").clone(),
            Err(_) => panic!("not enough arrived: {:?}", self.received()),
        }
    }

    /// What arrived, once it is `count` deliveries.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn count(&self, count: usize) -> Vec<Received> {
        self.until(|received| received.len() >= count).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

async fn receive(State(inside): State<Inside>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20)
        .await
        .expect("a delivery is small and whole");
    let received = Received {
        headers: parts.headers,
        body,
    };
    let reply = {
        let mut behaviour = inside.behaviour.lock().expect("no behaviour panics");
        behaviour(&received)
    };
    inside.received.send_modify(|all| all.push(received));
    tokio::time::sleep(reply.after).await;
    let status = StatusCode::from_u16(reply.status).expect("a status");
    let mut response = (status, reply.body).into_response();
    for (name, value) in reply.headers {
        let value = value.parse().expect("a header's value");
        response.headers_mut().insert(name, value);
    }
    response
}
