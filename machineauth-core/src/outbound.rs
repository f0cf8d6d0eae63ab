//! How this crate calls an issuer: which URLs it may ask, and with what client.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::error::{Error, ErrorKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A silent connection is given up after this long. A server that keeps trickling is bounded by the callers.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether an issuer may be asked over a connection that anybody in between can read and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    LoopbackOnly,
    DangerAnywhere,
}

impl PlainHttp {
    /// Reads a URL that may be asked: https, or http as far as allowed; no credentials, no fragment.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`]
    pub(crate) fn parse(self, text: &str) -> Result<Url, Error> {
        let wrong = |detail| Error::because(ErrorKind::InvalidConfiguration, detail);
        let url = Url::parse(text)
            .map_err(|_| wrong("not a URL; write it like `https://issuer.example`"))?;
        if !self.allows(&url) {
            return Err(wrong(
                "the URL must be https; plain http is for loopback addresses",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(wrong("the URL must not carry credentials or a fragment"));
        }
        Ok(url)
    }

    fn allows(self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => self == Self::DangerAnywhere || is_loopback(url),
            _ => false,
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Follows no redirect (they lead where nobody configured it to go) and asks no proxy.
///
/// # Errors
/// [`ErrorKind::InvalidConfiguration`] when there is no TLS to be had.
pub(crate) fn client() -> Result<Client, Error> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("machineauth/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| {
            Error::because(
                ErrorKind::InvalidConfiguration,
                "no HTTP client: the system's TLS roots could not be loaded",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V7
    #[test]
    fn plain_http_is_for_loopback_unless_danger_is_chosen() {
        for url in [
            "https://issuer.example/tenant",
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://[::1]:8080/",
            "http://localhost:8080",
        ] {
            assert!(PlainHttp::LoopbackOnly.parse(url).is_ok(), "{url}");
        }
        for url in [
            "http://issuer.example",
            "http://127.0.0.1.example",
            "http://localhost.example",
            "http://10.0.0.1",
            "http://169.254.169.254/latest/meta-data",
            "http://0.0.0.0:8080",
        ] {
            assert!(PlainHttp::LoopbackOnly.parse(url).is_err(), "{url}");
            assert!(PlainHttp::DangerAnywhere.parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn odd_urls_are_never_asked() {
        for url in [
            "",
            "issuer.example",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "data:application/json,{}",
            "https://user:secret@issuer.example",
            "https://user@issuer.example",
            "https://issuer.example/#fragment",
        ] {
            assert!(PlainHttp::DangerAnywhere.parse(url).is_err(), "{url}");
        }
    }
}
