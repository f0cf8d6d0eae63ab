//! WebSockets (RFC 6455) over HTTP/1.1, from the request to switch protocols to the end of the socket.
//!
//! They do not take Pingora's own way: that ends a socket now and then when a server is quick to switch, since the end of
//! the request's empty body may be taken for the end of the socket; and it has no place from which to end one that is
//! silent. Here a socket ends at once when its token does.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora_core::protocols::ALPN;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v1::client::HttpSession as ServerSession;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp as _, Session};
use tokio::time::sleep;

use super::answers::Problem;
use super::attempts::kind_of;
use super::exchange::Exchange;
use super::forward;
use super::proxy::{EdgeProxy, refuse, require_token};
use crate::module::MachineAuth;

const WEBSOCKET: &[u8] = b"websocket";
/// What is between two neighbours and goes no further (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
];

/// Whether a request asks for a WebSocket.
pub(super) fn is_wanted(request: &RequestHeader) -> bool {
    let mut upgrades = request.headers.get_all(UPGRADE).iter();
    let websocket = upgrades.next().is_some_and(|protocol| {
        protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET) && upgrades.next().is_none()
    });
    let has_body = [CONTENT_LENGTH, TRANSFER_ENCODING];
    websocket
        && request.version == Version::HTTP_11
        && request.method == Method::GET
        && names_in_connection(&request.headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
        && !has_body
            .iter()
            .any(|name| request.headers.contains_key(name))
}

impl EdgeProxy {
    /// Carries the socket to its end. The answer is given then, whatever it was.
    pub(super) async fn carry_socket(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let request = upstream_request(session, exchange)?;
        let (mut server, idle) = self.connect(exchange).await?;
        let sent = server.write_request_header(Box::new(request)).await;
        if let Err(error) = sent {
            return Err(self.broken(exchange, error.into_up()));
        }
        // It is of no use for other requests afterwards, and silence is no fault of a socket.
        session.set_keepalive(None);
        session.set_read_timeout(None);
        let ended = MachineAuth::of(session).map(MachineAuth::ended);
        let ended = async {
            match ended {
                Some(ended) => ended.await,
                None => std::future::pending().await,
            }
        };
        // Whatever it is at, also where it waits for one who does not read.
        let outcome = tokio::select! {
            outcome = self.relay(session, &mut server, exchange, idle) => outcome,
            error = ended => {
                tracing::debug!(%error, "a socket ends with its token");
                Ok(())
            }
        };
        match outcome {
            Err(error) if session.response_written().is_none() => Err(self.broken(exchange, error)),
            Err(error) => {
                tracing::debug!(error = error.etype().as_str(), "a socket broke off");
                Ok(())
            }
            Ok(()) if session.response_written().is_none() => {
                require_token(session)?;
                // The token is taken for good again. The attempt is over all the same, and somebody waits for an answer.
                Err(refuse(exchange, Problem::BadGateway))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Until one of them is done, or nobody has said anything for too long.
    async fn relay(
        &self,
        session: &mut Session,
        server: &mut ServerSession,
        exchange: &mut Exchange,
        idle: Duration,
    ) -> Result<()> {
        loop {
            let switched = session.was_upgraded();
            tokio::select! {
                task = server.read_response_task() => {
                    let mut task = task.map_err(Error::into_up)?;
                    if let HttpTask::Header(header, _) = &mut task
                        && is_final(header.status)
                    {
                        self.response_filter(session, header, exchange).await?;
                    }
                    let is_end = task.is_end();
                    session.as_downstream_mut().response_duplex_vec(vec![task]).await?;
                    if is_end {
                        return Ok(());
                    }
                }
                bytes = session.as_downstream_mut().read_request_body(), if switched => {
                    let Some(bytes) = bytes? else {
                        return Ok(());
                    };
                    server.maybe_upgrade_body_writer();
                    server.write_body(&bytes).await.map_err(Error::into_up)?;
                }
                () = sleep(idle) => {
                    return Error::e_explain(ErrorType::ReadTimedout, "an idle socket").map_err(Error::into_up);
                }
            }
        }
    }

    /// Also says how long both ends may be silent.
    async fn connect(&self, exchange: &mut Exchange) -> Result<(ServerSession, Duration)> {
        loop {
            let mut peer = self.next_server(exchange)?;
            peer.options.alpn = ALPN::H1;
            let idle = peer.options.read_timeout.take().unwrap_or(Duration::MAX);
            match self.connector.get_http_session(&peer).await {
                Ok((HttpSession::H1(mut server), _)) => {
                    server.write_timeout = peer.options.write_timeout;
                    return Ok((server, idle));
                }
                Ok(_) => return Err(refuse(exchange, Problem::BadGateway)),
                Err(error) => {
                    let error = self.not_connected(exchange, error.into_up());
                    if !error.retry() {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn broken(&self, exchange: &Exchange, error: Box<Error>) -> Box<Error> {
        if *error.esource() == ErrorSource::Upstream {
            self.attempt_failed(exchange, &error, kind_of(&error));
        }
        error
    }
}

/// Whether no other answer follows in HTTP: that of a server that switches is the last, too.
fn is_final(status: StatusCode) -> bool {
    !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
}

/// The request as the server gets it: without what is only between the client and us.
fn upstream_request(session: &Session, exchange: &Exchange) -> Result<RequestHeader> {
    let mut request = session.req_header().clone();
    let named: Vec<String> = names_in_connection(&request.headers)
        .map(str::to_owned)
        .collect();
    for name in named.iter().filter(|name| !is_kept(name)) {
        request.remove_header(name.as_str());
    }
    for name in &HOP_BY_HOP {
        request.remove_header(name);
    }
    request.insert_header(CONNECTION, "Upgrade")?;
    request.insert_header(UPGRADE, "websocket")?;
    forward::to_server(session, &mut request, exchange)?;
    Ok(request)
}

/// Nobody gets rid of these by calling them a matter between neighbours.
fn is_kept(name: &str) -> bool {
    ["host", "x-forwarded-for", "x-forwarded-proto"]
        .iter()
        .any(|kept| name.eq_ignore_ascii_case(kept))
}

fn names_in_connection(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}
