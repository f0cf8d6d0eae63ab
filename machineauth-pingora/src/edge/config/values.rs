//! The words of the configuration: each is read once, and wrong ones say what is allowed.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Method};
use machineauth_core::quota::Quota;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// Reads a type from a text by its `parse`.
macro_rules! from_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
    };
}

/// A length of time: `500ms`, `30s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

from_text!(Period);

impl Period {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no length of time; write `500ms`, `30s`, `5m` or `1h`");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        match unit * number {
            Duration::ZERO => Err("a length of time is more than nothing".to_owned()),
            length => Ok(Self(length)),
        }
    }
}

/// A number of bytes: `1048576`, `64KiB`, `10MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

from_text!(Bytes);

impl Bytes {
    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = match unit {
            "" | "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1_u64 << 30),
            _ => None,
        };
        let bytes = number.parse::<u64>().ok().zip(unit);
        bytes
            .and_then(|(number, unit)| number.checked_mul(unit))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no number of bytes; write `64KiB` or `10MiB`"))
    }
}

/// So many in so long: `100/s`, `6000/m`, `50/10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Quota);

from_text!(Rate);

impl Rate {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rate; write `100/s`, `6000/m` or `50/10s`");
        let (acts, per) = text.split_once('/').ok_or_else(wrong)?;
        let acts: NonZero<u32> = acts.parse().map_err(|_| wrong())?;
        let per = match per.starts_with(|first: char| first.is_ascii_digit()) {
            true => Period::parse(per),
            false => Period::parse(&format!("1{per}")),
        };
        let Period(per) = per.map_err(|_| wrong())?;
        Ok(Self(Quota::new(acts.get(), per)))
    }
}

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
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        let is_address = name.trim_start_matches('[').trim_end_matches(']');
        if !Self::is_name(Some(name)) && is_address.parse::<std::net::IpAddr>().is_err() {
            return Err(format!(
                "`{text}` is no host; write `api.example.com` or `*.example.com`, without a port"
            ));
        }
        Ok(match lower.strip_prefix('*') {
            Some(below) => Self::Below(below.into()),
            None => Self::Exact(lower.into()),
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

/// The name of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header(pub(crate) HeaderName);

from_text!(Header);

impl Header {
    fn parse(text: &str) -> Result<Self, String> {
        let name = HeaderName::try_from(text);
        name.map(Self)
            .map_err(|_| format!("`{text}` is no name of a header"))
    }
}

/// An origin of web pages (RFC 6454 §6.2), or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebOrigin(pub(crate) HeaderValue);

from_text!(WebOrigin);

impl WebOrigin {
    fn parse(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let good = text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
        let value = HeaderValue::try_from(text).ok().filter(|_| good);
        value
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no origin; write `https://app.example.com` or `*`"))
    }
}

/// A method, as it is spelt on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpMethod(pub(crate) Method);

from_text!(HttpMethod);

impl HttpMethod {
    fn parse(text: &str) -> Result<Self, String> {
        let upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
        let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| upper);
        method
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no method; write `GET`"))
    }
}

/// One or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, String> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::More(more) => more.iter(),
        }
    }

    pub(crate) fn joined(&self) -> String {
        self.iter().cloned().collect::<Vec<_>>().join(" ")
    }
}

/// A file, relative to the configuration's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub(crate) struct FileName(PathBuf);

impl FileName {
    pub(crate) fn beside(&self, configuration: &Path) -> PathBuf {
        let directory = configuration.parent().unwrap_or(Path::new(""));
        directory.join(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit_and_are_more_than_nothing() {
        assert_eq!(
            Period::parse("500ms"),
            Ok(Period(Duration::from_millis(500)))
        );
        assert_eq!(Period::parse("2m"), Ok(Period::seconds(120)));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1 s",
            "0s",
            "5d",
            "1.5s",
            "99999999999s",
        ] {
            assert!(Period::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_rates_say_what_they_count() {
        assert_eq!(Bytes::parse("64KiB"), Ok(Bytes(65_536)));
        assert_eq!(Bytes::parse("12"), Ok(Bytes(12)));
        assert!(Bytes::parse("64kb").is_err());
        assert!(Bytes::parse("99999999999GiB").is_err());
        let rate = |acts, seconds| Ok(Rate(Quota::new(acts, Duration::from_secs(seconds))));
        assert_eq!(Rate::parse("100/s"), rate(100, 1));
        assert_eq!(Rate::parse("50/10s"), rate(50, 10));
        for wrong in ["100", "0/s", "100/", "100/x", "/s"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }

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
        for wrong in [
            "",
            "a.example.com:80",
            "https://a",
            "a..b",
            "*",
            "*a.b",
            "a/b",
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
