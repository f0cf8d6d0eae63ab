//! Answer a request that was refused.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Method, Response, Version};
use pingora_core::protocols::http::HttpTask;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::{FailToProxy, Session};
use tokio::time::timeout;

use crate::module::MachineAuth;

/// A body up to this many bytes is read to its end so that the connection can go on; for a longer one a new
/// connection is cheaper, and a stranger must not have us read gigabytes.
const MAX_DISCARDED_BODY: u64 = 64 * 1024;
/// How long such a body may take. The answer waits for it: only then is it known what becomes of the connection.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Gives the answer to a request that could not be proxied; for a proxy's method of the same name.
///
/// A request that the module refused gets [its full answer](answer_refusal). Any other failure is answered as Pingora
/// does it: the status that the error names, or 502 when the upstream is at fault, 400 when the client is, 500 when
/// this proxy is, without a body; then the connection is closed.
pub async fn fail_to_proxy(session: &mut Session, error: &Error) -> FailToProxy {
    if let Some(outcome) = answer_refusal(session).await {
        return outcome;
    }
    let error_code = status_of(error);
    if error_code > 0 {
        // When the answer cannot be written there is nobody left to tell; the session ends either way.
        let _ = session.respond_error(error_code).await;
    }
    FailToProxy {
        error_code,
        can_reuse_downstream: false,
    }
}

/// Gives the full answer to a request that the module refused: status, `WWW-Authenticate`, `Retry-After` and a JSON
/// body (RFC 6750 §3), or the same in gRPC. `None`, and nothing done, when it was not the module that refused.
///
/// The connection stays open, unless a request body is on its way that is longer than 64 KiB or takes longer than a
/// second.
pub async fn answer_refusal(session: &mut Session) -> Option<FailToProxy> {
    let response = MachineAuth::of(session)?
        .challenge()?
        .to_response::<Bytes>();
    Some(answer(session, response).await)
}

/// Answers a request in the place of an upstream, and keeps the connection open as [`answer_refusal`] does: for
/// `request_filter` and `fail_to_proxy`.
pub async fn answer(session: &mut Session, response: Response<Bytes>) -> FailToProxy {
    let error_code = response.status().as_u16();
    let can_go_on = discard_body(session).await;
    if !can_go_on {
        session.set_keepalive(None);
    }
    let written = write(session, response).await;
    FailToProxy {
        error_code,
        can_reuse_downstream: can_go_on && written.is_ok(),
    }
}

/// Whether the module refused the request. For a proxy's `suppress_error_log`: otherwise each refused request leaves a
/// line with its whole URL in the error log, including a token that somebody put into the query string.
pub fn was_refused(session: &Session) -> bool {
    MachineAuth::of(session).is_some_and(|auth| auth.challenge().is_some())
}

/// Disposes of the rest of the request, so that the next one can follow. Returns whether that was possible.
async fn discard_body(session: &mut Session) -> bool {
    // Streams of HTTP/2 end one by one.
    if is_http2(session) || session.is_body_done() {
        return true;
    }
    let headers = &session.req_header().headers;
    // A client that waits for "100 Continue" may send the body after our answer or leave it out (RFC 9110 §10.1.1):
    // nobody could tell where its next request starts.
    if headers.contains_key(EXPECT) || declared_length(headers) > Some(MAX_DISCARDED_BODY) {
        return false;
    }
    let downstream = session.as_downstream_mut();
    let reading = async {
        let mut length = 0;
        while length <= MAX_DISCARDED_BODY {
            match downstream.read_request_body().await {
                Ok(Some(part)) => length += part.len() as u64,
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    };
    timeout(DISCARD_TIMEOUT, reading).await.unwrap_or(false)
}

/// What `Content-Length` says, in bytes.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Past the modules, as Pingora's own error answers go: none has seen the request, since it was refused first.
async fn write(session: &mut Session, response: Response<Bytes>) -> Result<()> {
    let (head, body) = response.into_parts();
    let mut header = ResponseHeader::build(head.status, Some(head.headers.len() + 1))?;
    for (name, value) in &head.headers {
        header.append_header(name, value)?;
    }
    let has_body = session.req_header().method != Method::HEAD && !body.is_empty();
    let is_http2 = is_http2(session);
    let downstream = session.as_downstream_mut();
    if is_http2 && !has_body {
        // Clients of gRPC take an answer for one of trailers only when its first frame is the last.
        let alone = HttpTask::Header(Box::new(header), true);
        return downstream.response_duplex_vec(vec![alone]).await.map(drop);
    }
    header.insert_header(CONTENT_LENGTH, body.len())?;
    downstream.write_response_header(Box::new(header)).await?;
    let body = if has_body { body } else { Bytes::new() };
    downstream.write_response_body(body, true).await
}

/// By the request: a proxy may have put a session of its own in the place of Pingora's.
pub(crate) fn is_http2(session: &Session) -> bool {
    session.req_header().version == Version::HTTP_2
}

/// The status to answer with; 0 when nobody is there to read it.
fn status_of(error: &Error) -> u16 {
    match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(status), _) => *status,
        (_, ErrorSource::Upstream) => 502,
        (
            ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
            ErrorSource::Downstream,
        ) => 0,
        (_, ErrorSource::Downstream) => 400,
        (_, ErrorSource::Internal | ErrorSource::Unset) => 500,
    }
}
