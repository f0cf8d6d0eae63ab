//! Answer a request that was refused.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{Method, Response};
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::{FailToProxy, Session};

use crate::module::MachineAuth;

/// A body up to this many bytes is read to its end so that the connection can go on; for a longer one a new
/// connection is cheaper, and a stranger must not have us read gigabytes.
const MAX_DISCARDED_BODY: u64 = 64 * 1024;
/// How long such a body may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

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
/// body (RFC 6750 §3). `None`, and nothing done, when it was not the module that refused.
///
/// The connection stays open, unless there is a request body on its way that is long or of unknown length.
pub async fn answer_refusal(session: &mut Session) -> Option<FailToProxy> {
    let response = MachineAuth::of(session)?
        .challenge()?
        .to_response::<Bytes>();
    let error_code = response.status().as_u16();
    let can_go_on = can_go_on(session);
    if can_go_on {
        session.set_total_drain_timeout(Some(DISCARD_TIMEOUT));
    } else {
        session.set_keepalive(None);
    }
    let written = write(session, response).await;
    Some(FailToProxy {
        error_code,
        can_reuse_downstream: can_go_on && written.is_ok(),
    })
}

/// Whether the module refused the request. For a proxy's `suppress_error_log`: otherwise each refused request leaves a
/// line with its whole URL in the error log, including a token that somebody put into the query string.
pub fn was_refused(session: &Session) -> bool {
    MachineAuth::of(session).is_some_and(|auth| auth.challenge().is_some())
}

/// Whether the rest of the request can be disposed of, so that the next one can follow.
fn can_go_on(session: &mut Session) -> bool {
    if session.is_http2() || session.is_body_empty() {
        return true;
    }
    let headers = &session.req_header().headers;
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // Whoever was told to expect no "100 Continue" may send the body or leave it out (RFC 9110 §10.1.1): nobody can
    // tell where the next request starts.
    !headers.contains_key(EXPECT) && length.is_some_and(|length| length <= MAX_DISCARDED_BODY)
}

/// Past the modules, as Pingora's own error answers go: none has seen the request, since it was refused first.
async fn write(session: &mut Session, response: Response<Bytes>) -> Result<()> {
    let (head, body) = response.into_parts();
    let mut header = ResponseHeader::build(head.status, Some(head.headers.len() + 1))?;
    for (name, value) in &head.headers {
        header.insert_header(name, value)?;
    }
    header.insert_header(CONTENT_LENGTH, body.len())?;
    let has_body = session.req_header().method != Method::HEAD;
    let downstream = session.as_downstream_mut();
    downstream.write_response_header(Box::new(header)).await?;
    let body = if has_body { body } else { Bytes::new() };
    downstream.write_response_body(body, true).await
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
