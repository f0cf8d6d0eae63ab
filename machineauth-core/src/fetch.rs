//! Key sets over HTTP: the issuer's metadata (RFC 8414) says where they are, or the configuration does.

use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH};
use reqwest::{Client, StatusCode, Url};

use crate::discovery::{Endpoint, Place};
use crate::error::Error;
use crate::jwks::{AnswerFuture, FetchError, FetchFuture, FetchKeys, KeysAnswer};
use crate::outbound::{CallError, MAX_BODY, PlainHttp, body, client};

/// The key set of one issuer, fetched over HTTP.
///
/// Only https URLs are asked, and http ones on loopback addresses. Redirects are not followed, nothing is cached
/// here but the place, and at most 512 KiB of an answer are read.
#[derive(Debug)]
pub struct HttpKeys {
    client: Client,
    place: Place,
}

impl HttpKeys {
    /// Asks the issuer's metadata where its keys are: `/.well-known/oauth-authorization-server` (RFC 8414 §3), or
    /// where that is not found, `/.well-known/openid-configuration`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when `issuer` is no https URL (or http on loopback) without query.
    pub fn discover(issuer: &str) -> Result<Self, Error> {
        Self::discovering(issuer, PlainHttp::LoopbackOnly)
    }

    /// The key set at `url`, without asking for metadata.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when `url` is no https URL (or http on loopback).
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
            place: Place::of(issuer, Endpoint::KeySet, plain_http)?,
        })
    }

    fn placed_at(url: &str, plain_http: PlainHttp) -> Result<Self, Error> {
        Ok(Self {
            client: client()?,
            place: Place::at(url, plain_http)?,
        })
    }

    async fn key_set(&self, etag: Option<&str>) -> Result<KeysAnswer, FetchError> {
        let url = self.place.url(&self.client).await?;
        let answer = self.ask(&url, etag).await;
        if answer.is_err() {
            self.place.forget();
        }
        answer
    }

    async fn ask(&self, url: &Url, etag: Option<&str>) -> Result<KeysAnswer, FetchError> {
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT, "application/json");
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(CallError::from)?;
        let headers = response.headers();
        let mut answer = KeysAnswer {
            document: None,
            etag: text(headers, ETAG).map(str::to_owned),
            fresh_for: text(headers, CACHE_CONTROL).and_then(fresh_for),
        };
        match response.status() {
            StatusCode::OK => answer.document = Some(body(response, MAX_BODY).await?),
            StatusCode::NOT_MODIFIED if etag.is_some() => {}
            status => return Err(FetchError::Status(status.as_u16())),
        }
        Ok(answer)
    }
}

impl FetchKeys for HttpKeys {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(async {
            let answer = self.key_set(None).await?;
            answer.document.ok_or(FetchError::Status(304))
        })
    }

    fn fetch_if_changed<'a>(&'a self, etag: Option<&'a str>) -> AnswerFuture<'a> {
        Box::pin(self.key_set(etag))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// RFC 9111 §5.2.2: `no-store` and `no-cache` want every answer to be asked for.
fn fresh_for(cache_control: &str) -> Option<Duration> {
    let mut max_age = None;
    for directive in cache_control.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return Some(Duration::ZERO);
        }
        if name.eq_ignore_ascii_case("max-age") {
            let seconds = value.trim().trim_matches('"').parse();
            max_age = seconds.ok().map(Duration::from_secs).or(max_age);
        }
    }
    max_age
}

impl From<CallError> for FetchError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unreachable => Self::Unreachable,
            CallError::TimedOut => Self::TimedOut,
            CallError::Status(status) => Self::Status(status),
            CallError::TooLarge => Self::TooLarge,
            CallError::InvalidMetadata => Self::InvalidMetadata,
            CallError::WrongIssuer => Self::WrongIssuer,
            CallError::ForbiddenUrl => Self::ForbiddenUrl,
        }
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
