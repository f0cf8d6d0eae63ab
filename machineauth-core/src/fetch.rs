//! Key sets over HTTP: the issuer's metadata (RFC 8414) says where they are, or the configuration does.

use bytes::Bytes;
use reqwest::Client;

use crate::discovery::{Endpoint, Place};
use crate::error::Error;
use crate::jwks::{FetchError, FetchFuture, FetchKeys};
use crate::outbound::{CallError, PlainHttp, client, get_json};

/// The key set of one issuer, fetched over HTTP.
///
/// Only https URLs are asked, and http ones on loopback addresses. Redirects are not followed, nothing is cached
/// here, and at most 512 KiB of an answer are read.
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

    async fn key_set(&self) -> Result<Bytes, FetchError> {
        let url = self.place.url(&self.client).await?;
        let answer = get_json(&self.client, &url).await;
        if answer.is_err() {
            self.place.forget();
        }
        Ok(answer?)
    }
}

impl FetchKeys for HttpKeys {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(self.key_set())
    }
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
