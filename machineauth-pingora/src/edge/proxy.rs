//! The way of a request through the edge, phase by phase.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Response};
use machineauth_core::{ClientCertificate, Clock, Protocol};
use pingora_core::connectors::http::Connector;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::access_log::{AccessLog, Entry};
use super::answers::Problem;
use super::cors::ANSWER_HEADERS;
use super::exchange::Exchange;
use super::forward;
use super::http2;
use super::metrics::Metrics;
use super::request_id::RequestIds;
use super::snapshot::Snapshot;
use super::socket;
use crate::module::{MachineAuth, MachineAuthModule};
use crate::respond::answer;

/// Nobody is there to be answered, or it is too late.
const NO_ANSWER: FailToProxy = FailToProxy {
    error_code: 0,
    can_reuse_downstream: false,
};

/// The proxy.
pub(crate) struct EdgeProxy {
    pub(crate) current: Arc<ArcSwap<Snapshot>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) ids: RequestIds,
    /// For what does not take Pingora's own way.
    pub(crate) connector: Connector,
}

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        let (now, id) = (self.clock.now(), self.ids.next());
        Exchange::begin(now, id, self.current.load_full(), self.metrics.under_way())
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(MachineAuthModule::chosen_per_request()));
    }

    /// Finds the route, and says by what the module judges the request.
    async fn early_request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let patience = Some(exchange.snapshot.client_timeout);
        session.set_read_timeout(patience);
        session.set_write_timeout(patience);
        let prepared = self.admit(session, exchange);
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
            exchange.decorate(session, response.headers_mut());
            answer(session, response).await;
            return Ok(true);
        }
        let auth = MachineAuth::of(session);
        if let Some(challenge) = auth.and_then(MachineAuth::would_refuse) {
            let reason = challenge.error_code();
            let route = exchange.route.as_ref().map(|route| &*route.name);
            self.metrics.refused(route, reason, false);
        }
        if let Some(agent) = auth.and_then(MachineAuth::agent) {
            self.count_agent(exchange, agent)
                .map_err(|problem| refuse(exchange, problem))?;
        }
        let takes_sockets = exchange
            .route
            .as_ref()
            .is_some_and(|route| route.takes_sockets());
        if takes_sockets && socket::is_wanted(session.req_header()) {
            self.carry_socket(session, exchange).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.body.came(body.as_ref(), end_of_stream);
        if body.is_none() {
            return Ok(());
        }
        let most = exchange.route.as_ref().map_or(0, |route| route.max_body);
        if exchange.body.bytes > most {
            return Err(refuse(exchange, Problem::TooLarge));
        }
        require_token(session)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        let peer = self.next_server(exchange)?;
        http2::time_body(session, &peer, exchange.snapshot.client_timeout);
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        forward::to_server(session, upstream, exchange)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        // The server may have thought for longer than the token was good.
        require_token(session)?;
        let has_cors = exchange
            .route
            .as_ref()
            .is_some_and(|route| route.cors.is_some());
        if has_cors {
            for name in &ANSWER_HEADERS {
                response.remove_header(name);
            }
        }
        if has_cors || !exchange.counted.is_empty() {
            let mut headers = HeaderMap::new();
            exchange.decorate(session, &mut headers);
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
        _end_of_stream: bool,
        _exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        if body.is_some() {
            require_token(session)?;
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        error: Box<Error>,
    ) -> Box<Error> {
        self.not_connected(exchange, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        self.broke_off(session, exchange, error, reused)
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
            return NO_ANSWER;
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
                None => return NO_ANSWER,
            },
        };
        exchange.decorate(session, response.headers_mut());
        answer(session, response).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        let status = session
            .response_written()
            .map_or(0, |written| written.status.as_u16());
        let duration = exchange.started.elapsed();
        let metrics = exchange.route.as_ref().map(|route| &route.metrics);
        metrics
            .unwrap_or(self.metrics.no_route())
            .answered(status, duration);
        if let Some(log) = &self.access_log {
            log.note(&Entry::of(session, status, error, exchange));
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
}

/// Keeps `problem` for the answer, and says that there will be none from an upstream.
pub(super) fn refuse(exchange: &mut Exchange, problem: Problem) -> Box<Error> {
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

/// Nothing passes once the token is no longer good, however long the exchange takes.
pub(super) fn require_token(session: &mut Session) -> Result<()> {
    if MachineAuth::of(session).is_none_or(|auth| auth.recheck().is_ok()) {
        return Ok(());
    }
    let protocol = Protocol::of(&session.req_header().headers);
    match MachineAuth::of_mut(session) {
        Some(auth) => auth.refuse_if_ended(protocol),
        None => Ok(()),
    }
}

/// The certificate that the client showed when it connected.
fn client_certificate(session: &Session) -> Option<ClientCertificate> {
    let tls = session.digest()?.ssl_digest.as_ref()?;
    let digest = tls.cert_digest.as_slice().try_into().ok()?;
    Some(ClientCertificate::from_thumbprint(digest))
}
