//! Where things are: what is listened on, who is behind the edge, which hosts and paths a route is for.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZero;

use serde::Serialize;

use super::from_text;

/// Where the edge listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(pub(crate) SocketAddr);

from_text!(Address);

impl Address {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("`{text}` is no address to listen on; write `127.0.0.1:8000` or `[::]:8000`")
        })
    }
}

/// Where an upstream listens: an IP address or a name, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Endpoint(pub(crate) Box<str>);

from_text!(Endpoint);

impl Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let port = text
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<NonZero<u16>>());
        let good = text.parse::<SocketAddr>().is_ok()
            || text.split(':').count() == 2 && HostPattern::is_name(text.split(':').next());
        match port {
            Some(Ok(_)) if good => Ok(Self(text.into())),
            _ => Err(format!(
                "`{text}` is no server; write `127.0.0.1:3000` or `api.internal:3000`, without a scheme"
            )),
        }
    }

    pub(crate) fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which hosts a route is for: `api.example.com`, or `*.example.com` for all below.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostPattern {
    Exact(Box<str>),
    /// With the dot before it.
    Below(Box<str>),
}

from_text!(HostPattern);

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let named = |name: &str| Self::is_name(Some(name));
        match lower.strip_prefix('*') {
            Some(below) if below.strip_prefix('.').is_some_and(named) => {
                Ok(Self::Below(below.into()))
            }
            None if named(&lower) => Ok(Self::Exact(lower.into())),
            None if Self::is_ipv6(&lower) => Ok(Self::Exact(lower.into())),
            _ => Err(format!(
                "`{text}` is no host; write `api.example.com`, `*.example.com` or `[2001:db8::1]`, without a port"
            )),
        }
    }

    /// As clients write it in a URL, in its shortest spelling (RFC 5952).
    fn is_ipv6(text: &str) -> bool {
        let address = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        address.is_some_and(|text| {
            let parsed = text.parse::<Ipv6Addr>();
            parsed.is_ok_and(|address| address.to_string() == *text)
        })
    }

    fn is_name(text: Option<&str>) -> bool {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        text.is_some_and(|text| {
            text.split('.')
                .all(|label| !label.is_empty() && label.bytes().all(letter))
        })
    }
}

/// Which paths a route is for: this one and all below it.
///
/// Its characters are those that nobody needs to encode: so there is no second spelling of it that a server may take for the
/// same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PathPrefix(Box<str>);

from_text!(PathPrefix);

impl Default for PathPrefix {
    fn default() -> Self {
        Self("".into())
    }
}

impl PathPrefix {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no prefix of paths; write `/v1/artifacts`, of letters, digits and `-._~`"
            )
        };
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let segment = |text: &str| !matches!(text, "" | "." | "..") && text.bytes().all(good);
        let segments = text.strip_prefix('/').ok_or_else(wrong)?;
        let segments = segments.strip_suffix('/').unwrap_or(segments);
        if !segments.is_empty() && !segments.split('/').all(segment) {
            return Err(wrong());
        }
        match segments {
            "" => Ok(Self::default()),
            segments => Ok(Self(format!("/{segments}").into())),
        }
    }

    /// Without a slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `path` is this or below it.
    pub(crate) fn covers(&self, path: &str, ignore_case: bool) -> bool {
        let Some((start, rest)) = path.split_at_checked(self.0.len()) else {
            return false;
        };
        let same = match ignore_case {
            true => start.eq_ignore_ascii_case(&self.0),
            false => *start == *self.0,
        };
        same && (rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            "" => f.write_str("/"),
            prefix => f.write_str(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V19
    #[test]
    fn a_prefix_covers_whole_segments_only() {
        let prefix = PathPrefix::parse("/v1/admin/").unwrap();
        for (path, covered) in [
            ("/v1/admin", true),
            ("/v1/admin/", true),
            ("/v1/admin/x", true),
            ("/v1/administrators", false),
            ("/v1/ADMIN", false),
            ("/v1", false),
            ("/v1/ädmin", false),
        ] {
            assert_eq!(prefix.covers(path, false), covered, "{path}");
        }
        assert!(prefix.covers("/V1/Admin/x", true));
        assert!(PathPrefix::parse("/").unwrap().covers("/x", false));
        for wrong in [
            "", "v1", "///", "/v1//x", "/../x", "/%61", "/a b", "/{id}", "/a;b",
        ] {
            assert!(PathPrefix::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_ignore_case_and_have_no_port() {
        let exact = HostPattern::parse("API.example.com");
        assert_eq!(exact, Ok(HostPattern::Exact("api.example.com".into())));
        let below = HostPattern::parse("*.example.com");
        assert_eq!(below, Ok(HostPattern::Below(".example.com".into())));
        let address = HostPattern::parse("[2001:DB8::1]");
        assert_eq!(address, Ok(HostPattern::Exact("[2001:db8::1]".into())));
        for wrong in [
            "",
            "a.example.com:80",
            "https://a",
            "a..b",
            "*",
            "*a.b",
            "*.",
            "a/b",
            "::1",
            "[::1",
            "*.::1",
            "*.[::1]",
            "[0:0::1]",
        ] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn servers_have_a_port_and_no_scheme() {
        for good in [
            "127.0.0.1:3000",
            "[::1]:3000",
            "api.internal:80",
            "localhost:1",
        ] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "127.0.0.1",
            "api.internal",
            "http://a:1",
            "a:0",
            "a:99999",
            ":80",
            "::1",
        ] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }
}
