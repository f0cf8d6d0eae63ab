//! A whole way through: a client that writes bytes, a Pingora proxy with the module, an upstream that says what it got.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use machineauth_pingora::{MachineAuthModule, fail_to_proxy, forward_identity, was_refused};
use parking_lot::Mutex;
use pingora_core::modules::http::HttpModules;
use pingora_core::server::Fds;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service as _;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{FailToProxy, ProxyHttp, Session, http_proxy_service};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A proxy on a port of its own, with an upstream on another; both stop when this is dropped.
pub(crate) struct Edge {
    address: SocketAddr,
    _stop: watch::Sender<bool>,
    _runtime: Runtime,
}

impl Edge {
    pub(crate) fn with(module: MachineAuthModule) -> Self {
        Self::start(Some(module), None)
    }

    pub(crate) fn without_module() -> Self {
        Self::start(None, None)
    }

    /// With somebody else's upstream.
    pub(crate) fn before(module: MachineAuthModule, upstream: SocketAddr) -> Self {
        Self::start(Some(module), Some(upstream))
    }

    fn start(module: Option<MachineAuthModule>, upstream: Option<SocketAddr>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let upstream = upstream.unwrap_or_else(|| runtime.block_on(start_upstream()));
        let (listener, address) = listen();
        let mut fds = Fds::new();
        fds.add(address.to_string(), listener.into_raw_fd());

        let proxy = Proxy { module, upstream };
        let mut service = http_proxy_service(&Arc::new(ServerConf::default()), proxy);
        service.add_tcp(&address.to_string());
        let (stop, stopping) = watch::channel(false);
        runtime.spawn(async move {
            let fds = Arc::new(Mutex::new(fds));
            service.start_service(Some(fds), stopping, 1).await;
        });
        Self {
            address,
            _stop: stop,
            _runtime: runtime,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Client(BufReader::new(stream))
    }

    /// `GET /` on a new connection.
    pub(crate) fn get(&self, headers: &[(&str, &str)]) -> Answer {
        self.connect().send("GET", headers, "")
    }
}

struct Proxy {
    module: Option<MachineAuthModule>,
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        if let Some(module) = &self.module {
            modules.add_module(Box::new(module.clone()));
        }
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        forward_identity(session, request)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut ()) -> FailToProxy {
        fail_to_proxy(session, error).await
    }

    fn suppress_error_log(&self, session: &Session, _: &(), _: &Error) -> bool {
        was_refused(session)
    }
}

/// Answers each request with its header fields, as they came.
async fn start_upstream() -> SocketAddr {
    let (listener, address) = listen();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(echo));
            tokio::spawn(connection);
        }
    });
    address
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    Ok(Response::new(Full::from(Value::from(fields).to_string())))
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// One connection of a client that writes what it is told to.
pub(crate) struct Client(BufReader<TcpStream>);

pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Client {
    pub(crate) fn send(&mut self, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let fields: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        self.write(format!("{method} / HTTP/1.1\r\nHost: edge\r\n{fields}\r\n{body}").as_bytes());
        self.read(method)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn read(&mut self, method: &str) -> Answer {
        let status = self.line();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer {
            status,
            fields,
            body: String::new(),
        };
        if method != "HEAD" {
            let mut body = vec![0; answer.field("content-length").unwrap().parse().unwrap()];
            self.0.read_exact(&mut body).unwrap();
            answer.body = String::from_utf8(body).unwrap();
        }
        answer
    }

    /// Whether the proxy has ended the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        // A connection that is closed with bytes of the request still unread is reset.
        self.0.read(&mut [0]).map_or(true, |read| read == 0)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        only(&self.fields, name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// What the upstream got.
    pub(crate) fn at_upstream(&self) -> Upstream {
        assert_eq!(self.status, 200, "{}", self.body);
        Upstream(serde_json::from_str(&self.body).unwrap())
    }
}

/// The header fields that the upstream got.
#[derive(Debug)]
pub(crate) struct Upstream(Vec<(String, String)>);

impl Upstream {
    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        only(&self.0, name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

fn only<'a>(fields: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|(name, _)| name == wanted);
    let value = values.next();
    assert!(values.next().is_none(), "{wanted} is there twice");
    value.map(|(_, value)| value.as_str())
}
