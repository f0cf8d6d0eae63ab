//! The way of a request through the edge, phase by phase.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, Uri, Version};
use machineauth_core::{Agent, ClientCertificate, Clock, Protocol};
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::{H1UpgradePolicy, HttpPeer};
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::access_log::{AccessLog, Entry};
use super::answers::{Limit, Problem};
use super::cors::ANSWER_HEADERS;
use super::exchange::Exchange;
use super::limits::{Counted, client_address};
use super::metrics::{Metrics, RequestIds};
use super::route::Route;
use super::snapshot::Snapshot;
use super::target::{Target, check_head};
use crate::identity::forward_identity;
use crate::module::{MachineAuth, MachineAuthModule};
use crate::respond::answer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What clients could say there (RFC 7239), the edge says in `X-Forwarded-…`.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const HEALTH: &str = "/healthz";

/// The proxy.
pub(crate) struct EdgeProxy {
    pub(crate) current: Arc<ArcSwap<Snapshot>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) ids: RequestIds,
}

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange {
            began: self.clock.now(),
            started: Instant::now(),
            id: self.ids.next(),
            snapshot: self.current.load_full(),
            client: None,
            proxied: false,
            route: None,
            prepared: None,
            problem: None,
            counted: Vec::new(),
            body_bytes: 0,
            sought_server: false,
            tried: Vec::new(),
            bound_to_token: false,
            _under_way: self.metrics.under_way(),
        }
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(MachineAuthModule::chosen_per_request()));
    }

    /// Finds the route, and says by what the module judges the request.
    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        let patience = Some(exchange.snapshot.client_timeout);
        session.set_read_timeout(patience);
        session.set_write_timeout(patience);
        let prepared = self.prepare(session, exchange);
        let certificate = client_certificate(session);
        let auth = match (&exchange.route, &prepared) {
            (Some(route), Ok(None)) => &route.auth,
            _ => &exchange.snapshot.open,
        };
        if let Some(module) = MachineAuth::of_mut(session) {
            module.judge_by(auth);
            module.client_certificate(certificate);
        }
        match prepared {
            Ok(prepared) => {
                exchange.prepared = prepared;
                Ok(())
            }
            Err(problem) => Err(refuse(exchange, problem)),
        }
    }

    /// The module has judged the request by now.
    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        if let Some(mut response) = exchange.prepared.take() {
            decorate(exchange, session, response.headers_mut());
            answer(session, response).await;
            return Ok(true);
        }
        let auth = MachineAuth::of(session);
        if let Some(challenge) = auth.and_then(MachineAuth::would_refuse) {
            let reason = challenge.error_code();
            let route = exchange.route.as_ref().map(|route| &*route.name);
            self.metrics.refused(route, reason, false);
        }
        let Some(agent) = auth.and_then(MachineAuth::agent) else {
            return Ok(false);
        };
        exchange.bound_to_token = true;
        match self.count_agent(exchange, agent) {
            Ok(()) => Ok(false),
            Err(problem) => Err(refuse(exchange, problem)),
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let Some(body) = body else {
            return Ok(());
        };
        // What follows a switch of protocols is no body.
        if !session.was_upgraded() {
            exchange.body_bytes = exchange.body_bytes.saturating_add(body.len() as u64);
            let most = exchange.route.as_ref().map_or(0, |route| route.max_body);
            if exchange.body_bytes > most {
                return Err(refuse(exchange, Problem::TooLarge));
            }
        }
        require_token(session, exchange)
    }

    async fn upstream_peer(&self, _session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        exchange.sought_server = true;
        let route = route_of(exchange)?;
        let chosen = route.pool.choose(&exchange.tried);
        let peer = chosen.and_then(|number| Some((number, route.pool.peer(number)?)));
        let Some((number, mut peer)) = peer else {
            self.metrics.upstream_failed(route.pool.name(), "no_server");
            return Err(refuse(exchange, Problem::NoServer));
        };
        exchange.tried.push(number);
        if let Some(timeout) = route.timeout {
            peer.options.read_timeout = Some(timeout);
        }
        if !route.websocket {
            peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Deny;
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        forward_identity(session, upstream)?;
        upstream.insert_header(X_REQUEST_ID, request_id(exchange.id))?;
        forward_origin(session, upstream, exchange)?;
        in_origin_form(upstream)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let has_cors = exchange.route.as_ref().is_some_and(|route| route.cors.is_some());
        if has_cors {
            for name in &ANSWER_HEADERS {
                response.remove_header(name);
            }
        }
        if has_cors || !exchange.counted.is_empty() {
            let mut headers = HeaderMap::new();
            decorate(exchange, session, &mut headers);
            for (name, value) in &headers {
                response.append_header(name, value)?;
            }
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<std::time::Duration>> {
        // The first part has been allowed a moment ago, and most answers have no other.
        if body.is_some() && !end_of_stream {
            require_token(session, exchange)?;
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent: another server may be asked, whatever the method.
        self.attempt_failed(exchange, &error, "connect");
        if let (Some(route), Some(number)) = (&exchange.route, exchange.tried.last()) {
            route.pool.servers()[*number].failed();
        }
        error.set_retry(may_try_again(exchange));
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        if *error.esource() != ErrorSource::Upstream {
            error.set_retry(false);
            return error;
        }
        let kind = match error.etype() {
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => "timeout",
            _ => "broken",
        };
        self.attempt_failed(exchange, &error, kind);
        // The server may have done what it was asked: only what may be done twice is asked again (RFC 9110 §9.2.2), and
        // nobody is kept waiting twice for a server that is slow.
        let idempotent = session.req_header().method.is_idempotent();
        let repeatable = idempotent
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none()
            && kind != "timeout";
        // A connection that was idle may have been closed meanwhile: that says nothing about the server.
        let another = may_try_again(exchange) || reused && exchange.tried.len() <= 2;
        error.set_retry(repeatable && another);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        if session.response_written().is_some_and(|written| {
            !written.status.is_informational() || written.status.as_u16() == 101
        }) {
            // It is too late for another answer: the connection ends, and whoever reads knows by that.
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        }
        if exchange.sought_server {
            // Pingora closes the connection then; whoever reads should know.
            session.set_keepalive(None);
        }
        let challenge = MachineAuth::of(session).and_then(MachineAuth::challenge);
        let mut response: Response<Bytes> = match (challenge, exchange.problem.take()) {
            (Some(challenge), _) => {
                self.refused(exchange, challenge.error_code());
                challenge.to_response()
            }
            (None, problem) => match problem.or_else(|| Problem::of(error)) {
                Some(problem) => self.response_to(session, exchange, problem),
                None => {
                    return FailToProxy {
                        error_code: 0,
                        can_reuse_downstream: false,
                    };
                }
            },
        };
        decorate(exchange, session, response.headers_mut());
        answer(session, response).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        let status = session.response_written().map_or(0, |written| written.status.as_u16());
        let duration = exchange.started.elapsed();
        let metrics = exchange.route.as_ref().map(|route| &route.metrics);
        metrics.unwrap_or(self.metrics.no_route()).answered(status, duration);
        if let Some(log) = &self.access_log {
            self.note(log, session, status, error, exchange);
        }
    }

    /// What there is to say stands in the access log and in our own warnings.
    fn suppress_error_log(&self, _session: &Session, _exchange: &Exchange, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _exchange: &Exchange,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    /// Without the query, in which somebody may have put a token.
    fn request_summary(&self, session: &Session, _exchange: &Exchange) -> String {
        let request = session.req_header();
        format!("{} {}", request.method, request.uri.path())
    }
}

impl EdgeProxy {
    /// Everything that is known before the token is looked at: what the request is for, whether its address has done too
    /// much, and whether the edge answers by itself.
    fn prepare(
        &self,
        session: &Session,
        exchange: &mut Exchange,
    ) -> Result<Option<Response<Bytes>>, Problem> {
        if session.as_http1().is_some() {
            check_head(&session.to_h1_raw())?;
        }
        let request = session.req_header();
        self.count_address(session, exchange)?;
        let target = Target::of(request)?;
        let snapshot = Arc::clone(&exchange.snapshot);
        let asks = |path: &str| target.path == path && is_read(&request.method);
        exchange.route = snapshot.routes.choose(target).cloned();
        let named = exchange.route.as_ref().is_some_and(|route| route.path.as_str() == HEALTH);
        if asks(HEALTH) && !named {
            return Ok(Some(Response::new(Bytes::from_static(b"ok\n"))));
        }
        let authenticator = snapshot.authenticator.as_ref();
        let document =
            authenticator.and_then(|by| by.document_for(&request.method, target.path));
        if document.is_some() {
            return Ok(document);
        }
        let route = exchange.route.clone().ok_or(Problem::NoRoute)?;
        if let Some(client) = exchange.client {
            let counted = route.limits.count_address(client, exchange.began);
            self.keep_count(exchange, &route, counted)?;
        }
        if let Some(preflight) = route.cors.as_ref().and_then(|cors| cors.preflight(request)) {
            return preflight.map(Some);
        }
        if declared_length(request).is_some_and(|length| length > route.max_body) {
            return Err(Problem::TooLarge);
        }
        Ok(None)
    }

    fn count_address(&self, session: &Session, exchange: &mut Exchange) -> Result<(), Problem> {
        let peer = session.client_addr().and_then(|address| address.as_inet());
        let Some(peer) = peer.map(std::net::SocketAddr::ip) else {
            return Ok(());
        };
        let trusted = &exchange.snapshot.trusted_proxies;
        let client = client_address(peer, trusted, session.req_header());
        exchange.client = Some(client);
        exchange.proxied = client != peer;
        let counted = exchange.snapshot.limits.count_address(client, exchange.began)?;
        exchange.counted.extend(counted);
        Ok(())
    }

    fn count_agent(&self, exchange: &mut Exchange, agent: &Agent) -> Result<(), Problem> {
        let Some(route) = exchange.route.clone() else {
            return Ok(());
        };
        let snapshot = Arc::clone(&exchange.snapshot);
        for limits in [&snapshot.limits, &route.limits] {
            let counted = limits.count_agent(agent, exchange.began);
            self.keep_count(exchange, &route, counted)?;
        }
        Ok(())
    }

    /// A dry run counts and refuses nobody.
    fn keep_count(
        &self,
        exchange: &mut Exchange,
        route: &Route,
        counted: Result<Option<Counted>, Problem>,
    ) -> Result<(), Problem> {
        match counted {
            Err(problem) if route.dry_run => {
                self.metrics.refused(Some(&route.name), problem.code(), false);
                Ok(())
            }
            counted => {
                exchange.counted.extend(counted?);
                Ok(())
            }
        }
    }

    fn refused(&self, exchange: &Exchange, reason: &'static str) {
        let route = exchange.route.as_ref().map(|route| &*route.name);
        self.metrics.refused(route, reason, true);
    }

    fn response_to(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        problem: Problem,
    ) -> Response<Bytes> {
        if problem.status().is_client_error() {
            self.refused(exchange, problem.code());
        }
        if problem.ends_connection() {
            session.set_keepalive(None);
        }
        let protocol = Protocol::of(&session.req_header().headers);
        let response = problem.to_response(&protocol);
        exchange.problem = Some(problem);
        response
    }

    fn attempt_failed(&self, exchange: &Exchange, error: &Error, kind: &'static str) {
        let Some(route) = &exchange.route else {
            return;
        };
        let (upstream, server) = (route.pool.name(), exchange.server());
        tracing::warn!(upstream, server, kind, error = %error.etype().as_str(), "an attempt at an upstream failed");
        self.metrics.upstream_failed(upstream, kind);
    }

    fn note(
        &self,
        log: &AccessLog,
        session: &Session,
        status: u16,
        error: Option<&Error>,
        exchange: &Exchange,
    ) {
        let request = session.req_header();
        let auth = MachineAuth::of(session);
        let challenge = auth.and_then(MachineAuth::challenge);
        let would_refuse = auth.and_then(MachineAuth::would_refuse);
        let by_module = challenge.or(would_refuse).map(|challenge| challenge.message());
        let by_edge = exchange.problem.as_ref().map(Problem::message);
        let by_error = error.map(|error| error.etype().as_str().to_owned());
        let reason = by_module.map(|text| text.into_owned()).or(by_edge).or(by_error);
        let host = request.uri.authority().map(|authority| authority.as_str());
        let named = || request.headers.get(http::header::HOST)?.to_str().ok();
        log.note(&Entry {
            time: exchange.began,
            request_id: format!("{:032x}", exchange.id),
            client: exchange.client.map(|client| client.to_string()),
            method: &request.method,
            host: host.or_else(named).unwrap_or_default(),
            path: request.uri.path(),
            protocol: protocol(request.version),
            status,
            bytes_received: session.body_bytes_read(),
            bytes_sent: session.body_bytes_sent(),
            duration_ms: exchange.started.elapsed().as_millis(),
            route: exchange.route.as_ref().map(|route| &*route.name),
            server: exchange.server(),
            agent: auth.and_then(MachineAuth::agent).map(|agent| (&**agent).into()),
            reason: reason.as_deref(),
            dry_run_status: would_refuse.map(|challenge| challenge.status().as_u16()),
        });
    }
}

/// Keeps `problem` for the answer, and says that there will be none from an upstream.
fn refuse(exchange: &mut Exchange, problem: Problem) -> Box<Error> {
    let status = problem.status();
    let mut error = Error::new(ErrorType::HTTPStatus(status.as_u16()));
    if status.is_client_error() {
        error.as_down();
    } else {
        error.as_in();
    }
    exchange.problem = Some(problem);
    error
}

fn route_of(exchange: &mut Exchange) -> Result<Arc<Route>> {
    match exchange.route.clone() {
        Some(route) => Ok(route),
        None => Err(refuse(exchange, Problem::Internal)),
    }
}

fn may_try_again(exchange: &Exchange) -> bool {
    let attempts = exchange.route.as_ref().map(|route| route.pool.attempts());
    attempts.is_some_and(|attempts| exchange.tried.len() < attempts)
}

/// Nothing passes once the token is no longer good: not in a long answer, and not in a socket.
fn require_token(session: &Session, exchange: &mut Exchange) -> Result<()> {
    if !exchange.bound_to_token {
        return Ok(());
    }
    match MachineAuth::of(session).map(MachineAuth::recheck) {
        Some(Err(_)) => Err(refuse(exchange, Problem::TokenEnded)),
        _ => Ok(()),
    }
}

/// What the edge adds to every answer of a route: what is left of the limits, and what web pages are told.
fn decorate(exchange: &Exchange, session: &Session, headers: &mut HeaderMap) {
    for counted in &exchange.counted {
        counted.quota.announce(headers, counted.limit.name(), counted.remaining);
    }
    if let Some((limit, remaining)) = exchange.problem.as_ref().and_then(Problem::used_up) {
        let of_route = exchange.route.as_ref().and_then(|route| quota(route, limit));
        let quota = exchange.snapshot.limits.quota(limit).or(of_route);
        if let Some(quota) = quota {
            quota.announce(headers, limit.name(), remaining);
        }
    }
    let cors = exchange.route.as_ref().and_then(|route| route.cors.as_ref());
    if let Some(cors) = cors {
        for (name, value) in cors.for_page(&session.req_header().headers) {
            headers.append(name, value);
        }
    }
}

fn quota(route: &Route, limit: Limit) -> Option<machineauth_core::quota::Quota> {
    route.limits.quota(limit)
}

/// The certificate that the client showed when it connected.
fn client_certificate(session: &Session) -> Option<ClientCertificate> {
    let tls = session.digest()?.ssl_digest.as_ref()?;
    let digest = tls.cert_digest.as_slice().try_into().ok()?;
    Some(ClientCertificate::from_thumbprint(digest))
}

/// Says who the client is to an upstream that sees only the edge.
fn forward_origin(session: &Session, upstream: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    upstream.remove_header(&FORWARDED);
    let peer = session.client_addr().and_then(|address| address.as_inet());
    if let Some(peer) = peer {
        let before = upstream.headers.get(&X_FORWARDED_FOR).filter(|_| exchange.proxied);
        let before = before.and_then(|value| value.to_str().ok());
        let hops = match before {
            Some(before) => format!("{before}, {}", peer.ip()),
            None => peer.ip().to_string(),
        };
        upstream.insert_header(X_FORWARDED_FOR, hops)?;
    }
    if !exchange.proxied {
        let is_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        upstream.insert_header(X_FORWARDED_PROTO, if is_tls { "https" } else { "http" })?;
        upstream.remove_header(&X_FORWARDED_HOST);
    }
    Ok(())
}

/// A request in absolute form goes on as others do: the upstream sees the path that was judged, and nothing else
/// (RFC 9112 §3.2.1).
fn in_origin_form(upstream: &mut RequestHeader) -> Result<()> {
    let is_origin_form = upstream.raw_path().starts_with(b"/");
    if is_origin_form || upstream.version == Version::HTTP_2 {
        return Ok(());
    }
    let target = upstream.uri.path_and_query().map_or("/", |target| target.as_str());
    let uri = Uri::try_from(target);
    let uri = uri.map_err(|_| Error::new_in(ErrorType::InvalidHTTPHeader))?;
    upstream.set_uri(uri);
    Ok(())
}

fn request_id(id: u128) -> HeaderValue {
    HeaderValue::try_from(format!("{id:032x}")).expect("digits fit a header")
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn declared_length(request: &RequestHeader) -> Option<u64> {
    let length = request.headers.get(http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
