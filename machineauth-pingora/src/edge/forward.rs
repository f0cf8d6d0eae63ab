//! What the edge tells an upstream about where a request came from.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use machineauth_core::forwarded::X_FORWARDED_FOR;
use machineauth_core::policy::OVERRIDES;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::exchange::Exchange;
use crate::identity::{change, identify, is_taken_for, remove_if, starts_like, value};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// All names that start like this say where a request came from: only the edge says that, and proxies in front that are
/// trusted.
const X_FORWARDED: &str = "x-forwarded-";
/// What else only the edge says, or nobody.
const OURS: [HeaderName; 5] = [
    X_REQUEST_ID,
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("true-client-ip"),
];

/// How many headers are put in, at most: growing for one after the other is more work.
const MOST: usize = 8;

/// Makes of the client's request that of a server: with who calls, and from where.
pub(super) fn to_server(
    session: &Session,
    request: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    change(request, |headers, target| {
        headers.reserve(MOST);
        identify(session, headers, target)?;
        origin(session, headers, exchange)
    })?;
    in_origin_form(request)
}

/// Says who the client is to a server that sees only the edge.
fn origin(session: &Session, headers: &mut HeaderMap, exchange: &Exchange) -> Result<()> {
    let before = exchange.proxied.then(|| Before::said_in(headers));
    strip_claims(headers);
    let before = before.unwrap_or_default();
    headers.insert(X_REQUEST_ID, value(&format!("{:032x}", exchange.id))?);
    let peer = session.client_addr().and_then(|address| address.as_inet());
    if let Some(peer) = peer {
        let hops = before.hops + &peer.ip().to_string();
        headers.insert(X_FORWARDED_FOR, value(&hops)?);
    }
    let is_tls = session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some());
    let ours = HeaderValue::from_static(if is_tls { "https" } else { "http" });
    headers.insert(X_FORWARDED_PROTO, before.proto.unwrap_or(ours));
    if let Some(host) = before.host {
        headers.insert(X_FORWARDED_HOST, host);
    }
    Ok(())
}

/// Removes whatever a service could take for what only the edge says.
fn strip_claims(headers: &mut HeaderMap) {
    // At the edge the route is what was judged, also where nobody has to show a token.
    let (ours, overrides) = (&OURS, &OVERRIDES);
    remove_if(headers, |name| {
        let mut names = ours.iter().chain(overrides);
        starts_like(X_FORWARDED, name) || names.any(|ours| is_taken_for(ours, name))
    });
}

/// What a proxy in front, which is believed, says of where it has the request from.
#[derive(Default)]
struct Before {
    /// Each with a comma behind it.
    hops: String,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

impl Before {
    fn said_in(headers: &HeaderMap) -> Self {
        let last = |name| headers.get_all(name).iter().next_back().cloned();
        let hops = headers.get_all(X_FORWARDED_FOR).iter();
        let hops = hops.filter_map(|hops| hops.to_str().ok());
        Self {
            hops: hops.flat_map(|hops| [hops, ", "]).collect(),
            proto: last(X_FORWARDED_PROTO),
            host: last(X_FORWARDED_HOST),
        }
    }
}

/// A request in absolute form goes on as others do: the upstream sees the path that was judged, and nothing else
/// (RFC 9112 §3.2.1).
fn in_origin_form(upstream: &mut RequestHeader) -> Result<()> {
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
