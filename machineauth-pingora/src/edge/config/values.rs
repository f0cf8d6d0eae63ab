//! The words of the configuration: each is read once, and wrong ones say what is allowed.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Method};
use machineauth_core::quota::Quota;
use serde::Deserialize;

use super::from_text;

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
}
