//! What the edge tells an upstream about where a request came from.

use http::Uri;
use http::header::HeaderName;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::exchange::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What clients could say there (RFC 7239), the edge says in `X-Forwarded-…`.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Says who the client is to an upstream that sees only the edge.
pub(super) fn origin(
    session: &Session,
    upstream: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    upstream.remove_header(&FORWARDED);
    upstream.insert_header(X_REQUEST_ID, format!("{:032x}", exchange.id))?;
    let peer = session.client_addr().and_then(|address| address.as_inet());
    if let Some(peer) = peer {
        let before = upstream.headers.get_all(&X_FORWARDED_FOR).iter();
        let before = before.filter(|_| exchange.proxied);
        let mut hops: Vec<&str> = before.filter_map(|hops| hops.to_str().ok()).collect();
        let peer = peer.ip().to_string();
        hops.push(&peer);
        let hops = hops.join(", ");
        upstream.insert_header(X_FORWARDED_FOR, hops)?;
    }
    if !exchange.proxied {
        let is_tls = session
            .digest()
            .is_some_and(|digest| digest.ssl_digest.is_some());
        upstream.insert_header(X_FORWARDED_PROTO, if is_tls { "https" } else { "http" })?;
        upstream.remove_header(&X_FORWARDED_HOST);
    }
    Ok(())
}

/// A request in absolute form goes on as others do: the upstream sees the path that was judged, and nothing else
/// (RFC 9112 §3.2.1).
pub(super) fn in_origin_form(upstream: &mut RequestHeader) -> Result<()> {
    let is_origin_form = upstream.raw_path().starts_with(b"/");
    if is_origin_form {
        return Ok(());
    }
    let target = upstream
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let uri = Uri::try_from(target);
    let uri = uri.map_err(|_| Error::new_in(ErrorType::InvalidHTTPHeader))?;
    upstream.set_uri(uri);
    Ok(())
}
