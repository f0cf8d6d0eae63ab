//! The web addresses of an organization: where it issues, and whose pages may call.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::InvalidOrganization;

const MAX_URL: usize = 512;

/// The issuer identifier of an organization (RFC 8414 §2): an https URL with at most one path segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IssuerUrl(String);

impl IssuerUrl {
    /// The text, as tokens carry it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where documents about this issuer are asked for: see [`location`].
    pub fn location(&self) -> String {
        location(&self.0)
    }
}

impl TryFrom<String> for IssuerUrl {
    type Error = InvalidOrganization;

    fn try_from(text: String) -> Result<Self, InvalidOrganization> {
        let invalid = InvalidOrganization::Issuer;
        let (scheme, rest) = text.split_once("://").ok_or(invalid)?;
        let (authority, segment) = match rest.split_once('/') {
            Some((authority, segment)) => (authority, Some(segment)),
            None => (rest, None),
        };
        let host = host(authority).ok_or(invalid)?;
        let scheme_is_safe = match scheme {
            "https" => true,
            "http" => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
            _ => false,
        };
        let segment_fits = segment.is_none_or(|segment| {
            !segment.is_empty()
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        if text.len() <= MAX_URL && scheme_is_safe && segment_fits {
            Ok(Self(text))
        } else {
            Err(invalid)
        }
    }
}

/// An origin (RFC 6454 §6.2): scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(String);

impl Origin {
    /// The text, as browsers send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrganization;

    fn try_from(text: String) -> Result<Self, InvalidOrganization> {
        let invalid = InvalidOrganization::AllowedOrigins;
        let (scheme, authority) = text.split_once("://").ok_or(invalid)?;
        let fits = text.len() <= MAX_URL
            && matches!(scheme, "http" | "https")
            && host(authority).is_some()
            // Browsers send an origin in lower case and without a slash (RFC 6454 §6.2).
            && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if fits { Ok(Self(text)) } else { Err(invalid) }
    }
}

/// Where documents about an issuer are asked for, whatever the scheme: host, port and path of its URL.
pub fn location(issuer: &str) -> String {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    match rest.split_once('/') {
        Some((authority, path)) => location_at(authority, Some(path)),
        None => location_at(rest, None),
    }
}

/// The location that a request to `authority` asks about, with a path or without.
pub fn location_at(authority: &str, path: Option<&str>) -> String {
    let host = authority.to_ascii_lowercase();
    let host = host
        .strip_suffix(":443")
        .or_else(|| host.strip_suffix(":80"))
        .unwrap_or(&host);
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

/// The host in `host` or `host:port` (RFC 3986 §3.2). `None` for anything else, a user name for example.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        }
    };
    let port_fits = port.is_none_or(|port| port.parse().is_ok_and(|port: u16| port > 0));
    (host_fits && port_fits).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_url_that_verifiers_compare_exactly() {
        for text in [
            "https://auth.example.com",
            "https://auth.example.com:8443",
            "https://auth.example.com/acme",
            "http://127.0.0.1:8080/acme",
            "http://localhost",
        ] {
            assert!(IssuerUrl::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in [
            "",
            "auth.example.com",
            "http://auth.example.com",
            "https://auth.example.com/",
            "https://auth.example.com/a/b",
            "https://auth.example.com/a/",
            "https://auth.example.com/a%2fb",
            "https://auth.example.com/..",
            "https://auth.example.com?x=1",
            "https://auth.example.com#x",
            "https://user@auth.example.com",
            "ftp://auth.example.com",
        ] {
            assert!(IssuerUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_location_has_no_scheme_no_case_and_no_default_port() {
        assert_eq!(
            location("https://Auth.Example.com:443/acme"),
            "auth.example.com/acme"
        );
        assert_eq!(location("https://auth.example.com"), "auth.example.com");
        assert_eq!(location("http://localhost:8080"), "localhost:8080");
        assert_eq!(
            location_at("AUTH.example.com", Some("acme")),
            "auth.example.com/acme"
        );
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://[::1]:1",
        ] {
            assert!(Origin::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://App.example.com",
            "https://a@b",
            "https://a.example.com,https://b.example.com",
        ] {
            assert!(Origin::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
