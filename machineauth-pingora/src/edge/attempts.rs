//! Which server a request goes to, and whether it goes to another one when that fails.

use std::pin::pin;
use std::task::{Context, Waker};

use pingora_core::upstreams::peer::{H1UpgradePolicy, HttpPeer};
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::answers::Problem;
use super::exchange::Exchange;
use super::proxy::{EdgeProxy, refuse};
use crate::respond::is_http2;

const TIMEOUT: &str = "timeout";

impl EdgeProxy {
    /// The server whose turn it is, and how it is reached.
    ///
    /// # Errors
    /// [`Problem::NoServer`] when none is up.
    pub(super) fn next_server(&self, exchange: &mut Exchange) -> Result<HttpPeer> {
        exchange.sought_server = true;
        // What is sent anew is counted anew.
        exchange.body.bytes = 0;
        let Some(route) = exchange.route.clone() else {
            return Err(refuse(exchange, Problem::Internal));
        };
        let chosen = route.pool.choose(&exchange.tried);
        let peer = chosen.and_then(|number| Some((number, route.pool.peer(number)?)));
        let Some((number, mut peer)) = peer else {
            self.metrics.upstream_failed(route.pool.name(), "no_server");
            return Err(refuse(exchange, Problem::NoServer));
        };
        exchange.tried.push(number);
        if let Some(timeout) = route.timeout {
            peer.options.read_timeout = Some(timeout);
            peer.options.write_timeout = Some(timeout);
        }
        // Sockets go their own way.
        peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Deny;
        Ok(peer)
    }

    /// Nothing was sent: another server may be asked, whatever the method.
    pub(super) fn not_connected(
        &self,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        self.attempt_failed(exchange, &error, "connect");
        if let (Some(route), Some(number)) = (&exchange.route, exchange.tried.last()) {
            route.pool.servers()[*number].failed();
        }
        error.set_retry(may_try_again(exchange));
        error
    }

    /// The server may have done what it was asked: only what may be done twice is asked again (RFC 9110 §9.2.2), and nobody
    /// is kept waiting twice for a server that is slow.
    pub(super) fn broke_off(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        mut error: Box<Error>,
        reused: bool,
    ) -> Box<Error> {
        if *error.esource() != ErrorSource::Upstream {
            error.set_retry(false);
            return error;
        }
        if was_waiting_for_client(session, exchange, &error) {
            return refuse(exchange, Problem::ClientTimeout);
        }
        let kind = kind_of(&error);
        self.attempt_failed(exchange, &error, kind);
        let repeatable = session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none()
            && kind != TIMEOUT;
        // A connection that was idle may have been closed meanwhile: that says nothing about the server.
        let another = may_try_again(exchange) || reused && exchange.tried.len() <= 2;
        error.set_retry(repeatable && another);
        error
    }

    pub(super) fn attempt_failed(&self, exchange: &Exchange, error: &Error, kind: &'static str) {
        let Some(route) = &exchange.route else {
            return;
        };
        let (upstream, server) = (route.pool.name(), exchange.server());
        tracing::warn!(upstream, server, kind, error = %error.etype().as_str(), "an attempt at an upstream failed");
        self.metrics.upstream_failed(upstream, kind);
    }
}

/// What the metrics call it when an attempt fails that had begun.
pub(super) fn kind_of(error: &Error) -> &'static str {
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => TIMEOUT,
        _ => "broken",
    }
}

/// Over HTTP/2 Pingora waits for a client without an end, and where the server may speak that as well nobody but the server
/// ends that (see [`super::http2`]). One that waits as well is not to blame, but one that takes nothing is: then it is we who
/// do not read what the client has sent.
fn was_waiting_for_client(session: &mut Session, exchange: &Exchange, error: &Error) -> bool {
    *error.etype() == ErrorType::ReadTimedout
        && is_http2(session)
        && exchange.client_is_silent()
        && !has_more(session)
}

/// Whether more of the request has come than was read, or its end. What has come is lost: only for what is over.
fn has_more(session: &mut Session) -> bool {
    let reading = pin!(session.as_downstream_mut().read_request_body());
    let mut nobody = Context::from_waker(Waker::noop());
    reading.poll(&mut nobody).is_ready()
}

fn may_try_again(exchange: &Exchange) -> bool {
    let attempts = exchange.route.as_ref().map(|route| route.pool.attempts());
    attempts.is_some_and(|attempts| exchange.tried.len() < attempts)
}
