//! How this crate calls an issuer: which URLs it may ask, and with what client.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

use crate::error::{Error, ErrorKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A silent connection is given up after this long. A server that keeps trickling is bounded by the callers.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The most that is read of any answer.
pub(crate) const MAX_BODY: usize = 512 * 1024;

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

/// Why a call failed; it is logged, and shown to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    Unreachable,
    TimedOut,
    Status(u16),
    TooLarge,
    InvalidMetadata,
    WrongIssuer,
    ForbiddenUrl,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the connection failed",
            Self::TimedOut => "no answer in time",
            Self::Status(status) => return write!(f, "answered with status {status}"),
            Self::TooLarge => "the answer is too long",
            Self::InvalidMetadata => "the metadata does not say where the endpoint is",
            Self::WrongIssuer => "the metadata names another issuer",
            Self::ForbiddenUrl => "the metadata's URL is neither https nor loopback",
        })
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Unreachable
        }
    }
}

/// `GET url` for a JSON document of at most 512 KiB.
pub(crate) async fn get_json(client: &Client, url: &Url) -> Result<Bytes, CallError> {
    let request = client.get(url.clone()).header(ACCEPT, "application/json");
    let response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(CallError::Status(response.status().as_u16()));
    }
    body(response, MAX_BODY).await
}

/// The body of an answer, of at most `limit` bytes.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Bytes, CallError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Whether an answer is of the media type `wanted`, whatever its parameters (RFC 9110 §8.3.1).
pub(crate) fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = content_type.and_then(|value| value.split(|&byte| byte == b';').next());
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

/// HTTP Basic credentials of a client, form-encoded first as RFC 6749 §2.3.1 has it.
pub(crate) fn basic(client_id: &str, client_secret: &str) -> HeaderValue {
    let pair = format!(
        "{}:{}",
        form_encoded(client_id),
        form_encoded(client_secret)
    );
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .expect("Base64 is visible ASCII");
    value.set_sensitive(true);
    value
}

/// A body of `application/x-www-form-urlencoded`.
pub(crate) fn form(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", form_encoded(name), form_encoded(value)))
        .collect();
    pairs.join("&")
}

/// `application/x-www-form-urlencoded`, with every character but the unreserved ones escaped.
fn form_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
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
