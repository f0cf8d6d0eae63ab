//! WebSockets (RFC 6455) over HTTP/1.1, from the request to switch protocols to the end of the socket.
//!
//! They do not take Pingora's own way: that ends a socket now and then when a server is quick to switch, since the end of
//! the request's empty body may be taken for the end of the socket; and it has no place from which to end one that is
//! silent. Here a socket ends at once when its token does.

use std::pin::pin;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, UPGRADE};
use http::{HeaderMap, Method, Version};
use pingora_core::protocols::ALPN;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v1::client::HttpSession as ServerSession;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp as _, Session};
use tokio::time::sleep;

use super::answers::Problem;
use super::exchange::Exchange;
use super::forward;
use super::proxy::{EdgeProxy, refuse};
use crate::identity::forward_identity;
use crate::module::MachineAuth;

const WEBSOCKET: &[u8] = b"websocket";
/// What is between two neighbours and goes no further (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
];

/// Whether a request asks for a WebSocket.
pub(super) fn is_wanted(request: &RequestHeader) -> bool {
    let mut upgrades = request.headers.get_all(UPGRADE).iter();
    let websocket = upgrades.next().is_some_and(|protocol| {
        protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET) && upgrades.next().is_none()
    });
    let has_body = [CONTENT_LENGTH, http::header::TRANSFER_ENCODING];
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
        let (mut server, idle) = self.connect(session, exchange).await?;
        let sent = server.write_request_header(Box::new(request)).await;
        if let Err(error) = sent {
            return Err(self.broken(exchange, error.into_up()));
        }
        // It is of no use for other requests afterwards, and silence is no fault of a socket.
        session.set_keepalive(None);
        session.set_read_timeout(None);
        match relay(session, &mut server, idle).await {
            Err(error) if session.response_written().is_none() => Err(self.broken(exchange, error)),
            Err(error) => {
                tracing::debug!(error = error.etype().as_str(), "a socket broke off");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn connect(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<(ServerSession, Duration)> {
        loop {
            let mut peer = self.upstream_peer(session, exchange).await?;
            peer.options.alpn = ALPN::H1;
            let idle = peer.options.read_timeout.take().unwrap_or(Duration::MAX);
            match self.connector.get_http_session(&*peer).await {
                Ok((HttpSession::H1(server), _)) => return Ok((server, idle)),
                Ok(_) => return Err(refuse(exchange, Problem::BadGateway)),
                Err(error) => {
                    let error = self.fail_to_connect(session, &peer, exchange, error.into_up());
                    if !error.retry() {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn broken(&self, exchange: &Exchange, error: Box<Error>) -> Box<Error> {
        self.attempt_failed(exchange, &error, "broken");
        error
    }
}

/// Until one of them is done, the token ends, or nobody has said anything for too long.
async fn relay(session: &mut Session, server: &mut ServerSession, idle: Duration) -> Result<()> {
    let ended = MachineAuth::of(session).map(MachineAuth::ended);
    let mut ended = pin!(async {
        match ended {
            Some(ended) => ended.await,
            None => std::future::pending().await,
        }
    });
    loop {
        let switched = session.was_upgraded();
        let client = session.as_downstream_mut();
        tokio::select! {
            task = server.read_response_task() => {
                let task = task.map_err(Error::into_up)?;
                let is_end = task.is_end();
                client.response_duplex_vec(vec![task]).await?;
                if is_end {
                    return Ok(());
                }
            }
            bytes = client.read_request_body(), if switched => {
                let Some(bytes) = bytes? else {
                    return Ok(());
                };
                server.maybe_upgrade_body_writer();
                server.write_body(&bytes).await.map_err(Error::into_up)?;
            }
            error = &mut ended => {
                tracing::debug!(%error, "a socket ends with its token");
                return Ok(());
            }
            () = sleep(idle) => return Error::e_explain(ErrorType::ReadTimedout, "an idle socket").map_err(Error::into_up),
        }
    }
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
    forward_identity(session, &mut request)?;
    forward::origin(session, &mut request, exchange)?;
    forward::in_origin_form(&mut request)?;
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
