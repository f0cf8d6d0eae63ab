//! Key sets over HTTP: the issuer's metadata (RFC 8414) says where they are, or the configuration does.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use crate::error::{Error, ErrorKind};
use crate::jwks::{FetchError, FetchFuture, FetchKeys};
use crate::outbound::{PlainHttp, client};

/// The most that is read of any answer.
const MAX_BODY: usize = 512 * 1024;

/// The key set of one issuer, fetched over HTTP.
///
/// Only https URLs are asked, and http ones on loopback addresses. Redirects are not followed, nothing is cached
/// here, and at most 512 KiB of an answer are read.
pub struct HttpKeys {
    client: Client,
    plain_http: PlainHttp,
    place: Place,
}

enum Place {
    KeySet(Url),
    Issuer(Box<Discovery>),
}

impl HttpKeys {
    /// Asks the issuer's metadata where its keys are: `/.well-known/oauth-authorization-server` (RFC 8414 §3), or
    /// where that is not found, `/.well-known/openid-configuration`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when `issuer` is no https URL (or http on loopback) without query.
    pub fn discover(issuer: &str) -> Result<Self, Error> {
        Self::discovering(issuer, PlainHttp::LoopbackOnly)
    }

    /// The key set at `url`, without asking for metadata.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when `url` is no https URL (or http on loopback).
    pub fn at(url: &str) -> Result<Self, Error> {
        Self::placed_at(url, PlainHttp::LoopbackOnly)
    }

    /// As [`HttpKeys::discover`], but over plain http to any host: whoever is in between decides which tokens are good.
    ///
    /// # Errors
    /// As [`HttpKeys::discover`].
    pub fn danger_discover_over_plain_http(issuer: &str) -> Result<Self, Error> {
        Self::discovering(issuer, PlainHttp::DangerAnywhere)
    }

    /// As [`HttpKeys::at`], but over plain http to any host: whoever is in between decides which tokens are good.
    ///
    /// # Errors
    /// As [`HttpKeys::at`].
    pub fn danger_at_over_plain_http(url: &str) -> Result<Self, Error> {
        Self::placed_at(url, PlainHttp::DangerAnywhere)
    }

    fn discovering(issuer: &str, plain_http: PlainHttp) -> Result<Self, Error> {
        Ok(Self {
            client: client()?,
            plain_http,
            place: Place::Issuer(Box::new(Discovery::of(issuer, plain_http)?)),
        })
    }

    fn placed_at(url: &str, plain_http: PlainHttp) -> Result<Self, Error> {
        Ok(Self {
            client: client()?,
            plain_http,
            place: Place::KeySet(plain_http.parse(url)?),
        })
    }

    async fn key_set(&self) -> Result<Bytes, FetchError> {
        match &self.place {
            Place::KeySet(url) => self.get(url).await,
            Place::Issuer(discovery) => {
                let url = match discovery.remembered() {
                    Some(url) => url,
                    None => self.discover_key_set(discovery).await?,
                };
                let answer = self.get(&url).await;
                // What failed is looked up anew at the next attempt: the keys may have moved.
                discovery.remember(answer.is_ok().then_some(url));
                answer
            }
        }
    }

    async fn discover_key_set(&self, discovery: &Discovery) -> Result<Url, FetchError> {
        let document = match self.get(&discovery.oauth_metadata).await {
            Err(FetchError::Status(404)) => self.get(&discovery.openid_metadata).await?,
            answer => answer?,
        };
        discovery.key_set_url(&document, self.plain_http)
    }

    async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        let request = self
            .client
            .get(url.clone())
            .header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(|error| failed(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl FetchKeys for HttpKeys {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(self.key_set())
    }
}

impl fmt::Debug for HttpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::KeySet(url) => write!(f, "HttpKeys({url})"),
            Place::Issuer(discovery) => write!(f, "HttpKeys(discovered from {})", discovery.issuer),
        }
    }
}

/// Where an issuer's metadata is, and what was learnt from it.
struct Discovery {
    /// As configured; what the metadata says must equal it to the letter (RFC 8414 §3.3).
    issuer: String,
    oauth_metadata: Url,
    openid_metadata: Url,
    key_set: Mutex<Option<Url>>,
}

/// RFC 8414 §2, as far as it concerns keys.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Discovery {
    fn of(issuer: &str, plain_http: PlainHttp) -> Result<Self, Error> {
        let url = plain_http.parse(issuer)?;
        if url.query().is_some() {
            return Err(Error::because(
                ErrorKind::InvalidConfiguration,
                "an issuer's URL has no query (RFC 8414 §2)",
            ));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        let at = |path: String| {
            let mut url = url.clone();
            url.set_path(&path);
            url
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            // RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID Connect behind it.
            oauth_metadata: at(format!("/.well-known/oauth-authorization-server{path}")),
            openid_metadata: at(format!("{path}/.well-known/openid-configuration")),
            key_set: Mutex::default(),
        })
    }

    fn key_set_url(&self, document: &[u8], plain_http: PlainHttp) -> Result<Url, FetchError> {
        let metadata: Metadata =
            serde_json::from_slice(document).map_err(|_| FetchError::InvalidMetadata)?;
        if metadata.issuer != self.issuer {
            return Err(FetchError::WrongIssuer);
        }
        let url = plain_http
            .parse(&metadata.jwks_uri)
            .map_err(|_| FetchError::ForbiddenUrl)?;
        // Keys that come over plain http are worth no more than that, however safe the way to the metadata was.
        if self.oauth_metadata.scheme() == "https" && url.scheme() != "https" {
            return Err(FetchError::ForbiddenUrl);
        }
        Ok(url)
    }

    fn remembered(&self) -> Option<Url> {
        let key_set = self.key_set.lock();
        key_set.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, url: Option<Url>) {
        *self.key_set.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

fn failed(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::TimedOut
    } else {
        FetchError::Unreachable
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
