//! Services behind a proxy: one that says what arrives, and some that fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// A service on a free port of loopback. It stops when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    count: Arc<AtomicUsize>,
    serving: AbortHandle,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Upstream {
    /// Answers each request with what arrived: `name`, `method`, `target`, `version`, `headers`, `body`. It speaks HTTP/1.1,
    /// and HTTP/2 to clients that know. `GET /status/N` is answered with that status.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn echo(name: &'static str) -> Self {
        let listener = bind().await;
        Self::echo_on(listener, name)
    }

    /// As [`Upstream::echo`], where another service was.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn echo_at(address: SocketAddr, name: &'static str) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .expect("the address is free again");
        Self::echo_on(listener, name)
    }

    fn echo_on(listener: TcpListener, name: &'static str) -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let state = (name, Arc::clone(&count));
        let router = Router::new().fallback(echo).with_state(state);
        Self::serve_router(listener, count, router)
    }

    fn serve_router(listener: TcpListener, count: Arc<AtomicUsize>, router: Router) -> Self {
        Self::serve(listener, count, async move |listener| {
            axum::serve(listener, router)
                .await
                .expect("the service runs");
        })
    }

    /// Takes the heads of requests, in the versions of [`Upstream::echo`], and neither reads a body nor answers.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn deaf() -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let router = Router::new().fallback(hold).with_state(Arc::clone(&count));
        Self::serve_router(bind().await, count, router)
    }

    /// Answers each connection's request with `first`, as it is, and with `rest` once it may go on.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn in_two_steps(first: &'static str, rest: &'static str) -> (Self, Arc<Notify>) {
        let (count, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (connections, may_go_on) = (Arc::clone(&count), Arc::clone(&go_on));
        let serve = async move |listener: TcpListener| {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let may_go_on = Arc::clone(&may_go_on);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    let _ = stream.read(&mut buffer).await;
                    let _ = stream.write_all(first.as_bytes()).await;
                    may_go_on.notified().await;
                    let _ = stream.write_all(rest.as_bytes()).await;
                    while let Ok(1..) = stream.read(&mut buffer).await {}
                });
            }
        };
        (Self::serve(bind().await, count, serve), go_on)
    }

    /// Fails in a way.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn failing(how: Failure) -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let connections = Arc::clone(&count);
        Self::serve(bind().await, count, async move |listener: TcpListener| {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(how.happen(stream));
            }
        })
    }

    fn serve<F: Future<Output = ()> + Send + 'static>(
        listener: TcpListener,
        count: Arc<AtomicUsize>,
        serve: impl FnOnce(TcpListener) -> F,
    ) -> Self {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let serving = tokio::spawn(serve(listener)).abort_handle();
        Self {
            address,
            count,
            serving,
        }
    }

    /// How many requests, or connections of those that do not answer as usual, have come.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until a request has come.
    pub async fn was_asked(&self) {
        while self.count() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// How a service can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It takes requests and says nothing.
    Silence,
    /// It takes a request and breaks the connection off.
    Reset,
    /// It promises a long answer and breaks off in the middle.
    HalfAnAnswer,
}

impl Failure {
    async fn happen(self, mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        match self {
            Self::Silence => while let Ok(1..) = stream.read(&mut buffer).await {},
            Self::Reset => {
                let _ = stream.set_zero_linger();
            }
            Self::HalfAnAnswer => {
                let half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this";
                let _ = stream.write_all(half).await;
            }
        }
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port")
}

async fn echo(
    State((name, count)): State<(&'static str, Arc<AtomicUsize>)>,
    request: Request,
) -> Response {
    count.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    if let Some(status) = head.uri.path().strip_prefix("/status/") {
        let status = status.parse::<u16>().ok();
        let status = status.and_then(|status| http::StatusCode::from_u16(status).ok());
        return status.unwrap_or_default().into_response();
    }
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    axum::Json(json!({
        "name": name,
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
    .into_response()
}

/// Keeps what is not read: a body that nobody holds any more is another matter.
async fn hold(State(count): State<Arc<AtomicUsize>>, request: Request) -> Response {
    count.fetch_add(1, Ordering::SeqCst);
    let answer = std::future::pending().await;
    drop(request);
    answer
}

/// What a service says arrived.
#[derive(Debug)]
pub struct Arrived(pub serde_json::Value);

impl Arrived {
    /// Reads an answer of [`Upstream::echo`].
    ///
    /// # Panics
    /// When it is none.
    pub fn of(answer: &crate::http::Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text);
        Self(answer.json())
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<String> {
        let headers = self.0["headers"].as_array().into_iter().flatten();
        headers
            .filter(|header| header[0] == name)
            .filter_map(|header| header[1].as_str().map(str::to_owned))
            .collect()
    }

    /// The only value of a header; `None` when it is not there.
    ///
    /// # Panics
    /// When it is there twice.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name}: {all:?}");
        all.pop()
    }

    /// A member of what arrived, as text.
    pub fn str(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }
}
