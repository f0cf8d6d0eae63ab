//! Where keys come from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// Where a [`JwksCache`](super::JwksCache) gets its keys from. [`HttpKeys`](crate::fetch::HttpKeys) asks an issuer.
pub trait FetchKeys: Send + Sync + fmt::Debug {
    /// Makes one attempt to get the JWK Set document, as it came. The cache bounds how long it may take.
    fn fetch(&self) -> FetchFuture<'_>;

    /// As [`FetchKeys::fetch`], for sources that can tell whether anything has changed: `etag` came with the document
    /// that the cache has. By default, the whole document again.
    fn fetch_if_changed<'a>(&'a self, etag: Option<&'a str>) -> AnswerFuture<'a> {
        let _ = etag;
        let fetching = self.fetch();
        Box::pin(async move { fetching.await.map(KeysAnswer::from) })
    }
}

/// What [`FetchKeys::fetch`] returns.
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send + 'a>>;

/// What [`FetchKeys::fetch_if_changed`] returns.
pub type AnswerFuture<'a> =
    Pin<Box<dyn Future<Output = Result<KeysAnswer, FetchError>> + Send + 'a>>;

/// A key set with what its source says about keeping it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysAnswer {
    /// The document; `None` when it is still the one that the etag was for (RFC 9110 §15.4.5).
    pub document: Option<Bytes>,
    /// Names this version of the document (RFC 9110 §8.8.3).
    pub etag: Option<String>,
    /// How long it is fresh, by its source (RFC 9111 §5.2.2.1). The cache clamps it to limits of its own.
    pub fresh_for: Option<Duration>,
}

impl From<Bytes> for KeysAnswer {
    fn from(document: Bytes) -> Self {
        Self {
            document: Some(document),
            ..Self::default()
        }
    }
}

/// Why one attempt to get keys failed; it is logged, and shown to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// An answer with another status than 200, or 304 although nothing is known that could be unchanged. Redirects are
    /// never followed.
    Status(u16),
    /// An answer longer than 512 KiB.
    TooLarge,
    /// The issuer's metadata is no JSON object with `issuer` and `jwks_uri` (RFC 8414 §2).
    InvalidMetadata,
    /// The metadata names another issuer than the one asked (RFC 8414 §3.3).
    WrongIssuer,
    /// The metadata points to a URL that may not be asked: neither https nor loopback, or less safe than the issuer's.
    ForbiddenUrl,
    /// The answer is no JWK Set (RFC 7517 §5).
    InvalidKeySet,
    /// The answer is a JWK Set in which no key can be used.
    NoUsableKey,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the connection failed",
            Self::TimedOut => "no answer in time",
            Self::Status(status) => return write!(f, "answered with status {status}"),
            Self::TooLarge => "the answer is longer than 512 KiB",
            Self::InvalidMetadata => "the metadata has no `issuer` and `jwks_uri`",
            Self::WrongIssuer => "the metadata names another issuer",
            Self::ForbiddenUrl => "the metadata's `jwks_uri` is neither https nor loopback",
            Self::InvalidKeySet => "the answer is no JWK Set",
            Self::NoUsableKey => "the JWK Set has no usable key",
        })
    }
}

impl std::error::Error for FetchError {}
