//! Where a request comes from, and what it is called in logs.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{HeaderName, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use machineauth_core::forwarded::client_address;
use uuid::Uuid;

use crate::app::App;
use crate::domain::event::{Actor, By, UserAgent};
use crate::openapi::DescribeRequest;

/// Names a request, in logs and in its answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Hexadecimal digits of an id of ours.
const REQUEST_ID: usize = 24;
const MAX_REQUEST_ID: usize = 128;

/// The other end of a connection, as the accept loop saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub is_secure: bool,
}

/// Names a request, in logs and in its answer: letters, digits and `.`, `_`, `-` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The client's address: the other end of the connection, or where a trusted proxy says that it got the request from.
    pub address: IpAddr,
    /// Whether the request came by TLS: by what a trusted proxy says, by the connection where none says anything.
    pub is_secure: bool,
    /// What the client says it is.
    pub user_agent: Option<UserAgent>,
    /// What the request is called.
    pub request_id: RequestId,
}

impl RequestId {
    fn mint() -> Self {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::new_v4().simple().encode_lower(&mut text);
        Self(text[..REQUEST_ID].into())
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let fits = (1..=MAX_REQUEST_ID).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        fits.then(|| Self(text.into()))
    }

    /// As the value of a header.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("letters and digits fit a header")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Origin {
    /// Who does what this request asks for, once it is known that `actor` makes it.
    pub fn by(&self, actor: Actor) -> By {
        By {
            actor,
            address: Some(self.address),
            user_agent: self.user_agent.clone(),
            request_id: Some((*self.request_id.0).into()),
        }
    }

    /// Where a request over a connection from `peer` comes from. What its headers say counts only when the peer is one of
    /// the trusted proxies (I7).
    pub fn of(peer: Option<Peer>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        // An IPv4 client of a socket for both is shown as what it is.
        let is_secure = peer.is_some_and(|peer| peer.is_secure);
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
            peer.address.ip().to_canonical()
        });
        let user_agent = headers
            .get(USER_AGENT)
            .and_then(|value| UserAgent::clean(value.as_bytes()));
        if !is_trusted(peer) {
            return Self {
                address: peer,
                is_secure,
                user_agent,
                request_id: RequestId::mint(),
            };
        }
        let scheme = headers.get_all(X_FORWARDED_PROTO).iter().next_back();
        let is_secure = scheme.map_or(is_secure, |value| {
            let last = value
                .to_str()
                .ok()
                .and_then(|value| value.rsplit(',').next());
            last.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
        });
        let request_id = headers.get(X_REQUEST_ID).and_then(RequestId::parse);
        Self {
            address: client_address(peer, headers, is_trusted),
            is_secure,
            user_agent,
            request_id: request_id.unwrap_or_else(RequestId::mint),
        }
    }
}

impl FromRequestParts<App> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        if let Some(origin) = parts.extensions.get::<Self>() {
            return Ok(origin.clone());
        }
        let peer = parts.extensions.get::<Peer>().copied();
        Ok(Self::of(
            peer,
            &parts.headers,
            &app.config.protection.trusted_proxies,
        ))
    }
}

impl DescribeRequest for Origin {}

#[cfg(test)]
mod tests {
    use machineauth_core::forwarded::X_FORWARDED_FOR;

    use super::*;

    fn peer(address: &str, is_secure: bool) -> Peer {
        Peer {
            address: SocketAddr::new(address.parse().unwrap(), 1),
            is_secure,
        }
    }

    fn origin(from: &str, forwarded: &[&str]) -> IpAddr {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        Origin::of(Some(peer(from, false)), &headers, &trusted).address
    }

    /// I7
    #[test]
    fn a_request_is_as_secure_as_its_connection_unless_a_proxy_of_ours_says_otherwise() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let is_secure = |from: &str, by_tls: bool, forwarded: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = forwarded {
                headers.append(X_FORWARDED_PROTO, value.parse().unwrap());
            }
            Origin::of(Some(peer(from, by_tls)), &headers, &trusted).is_secure
        };
        for (forwarded, of_a_proxy) in [
            (None, None),
            (Some("https"), Some(true)),
            (Some("http"), Some(false)),
            (Some("https, http"), Some(false)),
            (Some("HTTP, HTTPS"), Some(true)),
        ] {
            for by_tls in [true, false] {
                assert_eq!(is_secure("192.0.2.1", by_tls, forwarded), by_tls);
                assert_eq!(
                    is_secure("10.0.0.1", by_tls, forwarded),
                    of_a_proxy.unwrap_or(by_tls)
                );
            }
        }
    }

    /// I7
    #[test]
    fn the_client_is_the_last_that_no_proxy_of_ours_is() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(origin("192.0.2.1", &["203.0.113.9"]), address("192.0.2.1"));
        assert_eq!(origin("10.0.0.1", &["203.0.113.9"]), address("203.0.113.9"));
        assert_eq!(
            origin("10.0.0.1", &["1.2.3.4", "203.0.113.9:4711, 10.0.0.2"]),
            address("203.0.113.9")
        );
    }

    proptest::proptest! {
        /// I22
        #[test]
        fn no_header_makes_the_reader_panic(value: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                for name in [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_REQUEST_ID] {
                    headers.append(name, value.clone());
                }
                let peer = peer("127.0.0.1", false);
                let trusted = ["127.0.0.0/8".parse().unwrap()];
                let _ = Origin::of(Some(peer), &headers, &trusted).request_id.header();
            }
        }
    }
}
