//! What the edge tells an upstream about where a request came from.

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use machineauth_core::policy::OVERRIDES;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::exchange::Exchange;
use crate::identity::strip;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What clients could say there (RFC 7239), the edge says in `X-Forwarded-…`.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// What only the edge says, and proxies in front that are trusted.
const OURS: [HeaderName; 5] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_REQUEST_ID,
    FORWARDED,
];

/// Says who the client is to an upstream that sees only the edge.
pub(super) fn origin(
    session: &Session,
    upstream: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    let said = |name: &HeaderName| -> Vec<HeaderValue> {
        let said = upstream.headers.get_all(name).iter();
        said.filter(|_| exchange.proxied).cloned().collect()
    };
    let (before, proto, host) = (
        said(&X_FORWARDED_FOR),
        said(&X_FORWARDED_PROTO),
        said(&X_FORWARDED_HOST),
    );
    strip(upstream, &OURS);
    // At the edge the route is what was judged, also where nobody has to show a token.
    strip(upstream, &OVERRIDES);
    upstream.insert_header(X_REQUEST_ID, format!("{:032x}", exchange.id))?;
    let peer = session.client_addr().and_then(|address| address.as_inet());
    if let Some(peer) = peer {
        let mut hops: Vec<&str> = before
            .iter()
            .filter_map(|hops| hops.to_str().ok())
            .collect();
        let peer = peer.ip().to_string();
        hops.push(&peer);
        upstream.insert_header(X_FORWARDED_FOR, hops.join(", "))?;
    }
    let is_tls = session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some());
    let ours = HeaderValue::from_static(if is_tls { "https" } else { "http" });
    upstream.insert_header(X_FORWARDED_PROTO, proto.last().unwrap_or(&ours))?;
    if let Some(host) = host.last() {
        upstream.insert_header(X_FORWARDED_HOST, host)?;
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
