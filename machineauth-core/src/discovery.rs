//! Where an issuer's endpoints are: the configuration says so, or its metadata (RFC 8414) when one is first needed.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use reqwest::{Client, Url};
use serde::Deserialize;

use crate::error::{Error, ErrorKind};
use crate::outbound::{CallError, PlainHttp, get_json};

/// An endpoint that metadata names (RFC 8414 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `jwks_uri`
    KeySet,
    /// `token_endpoint`
    Token,
    /// `introspection_endpoint`
    Introspection,
}

/// One endpoint of an issuer.
pub(crate) enum Place {
    At(Url),
    Discovered(Box<Discovered>),
}

/// An endpoint that is found through its issuer's metadata, and remembered.
pub(crate) struct Discovered {
    issuer: Issuer,
    endpoint: Endpoint,
    url: Mutex<Option<Url>>,
}

impl Place {
    /// The endpoint at `url`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when `plain_http` does not allow it.
    pub(crate) fn at(url: &str, plain_http: PlainHttp) -> Result<Self, Error> {
        Ok(Self::At(plain_http.parse(url)?))
    }

    /// The endpoint that the metadata of `issuer` will name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when `issuer` is no URL that `plain_http` allows, or has a query.
    pub(crate) fn of(
        issuer: &str,
        endpoint: Endpoint,
        plain_http: PlainHttp,
    ) -> Result<Self, Error> {
        Ok(Self::Discovered(Box::new(Discovered {
            issuer: Issuer::at(issuer, plain_http)?,
            endpoint,
            url: Mutex::default(),
        })))
    }

    /// Where the endpoint is. Asks the metadata unless the answer is remembered.
    pub(crate) async fn url(&self, client: &Client) -> Result<Url, CallError> {
        let discovered = match self {
            Self::At(url) => return Ok(url.clone()),
            Self::Discovered(discovered) => discovered,
        };
        if let Some(url) = discovered.remembered() {
            return Ok(url);
        }
        let document = discovered.issuer.metadata(client).await?;
        let url = discovered.issuer.read(&document, discovered.endpoint)?;
        discovered.remember(Some(url.clone()));
        Ok(url)
    }

    /// Looks the endpoint up anew at the next call: what failed may have moved.
    pub(crate) fn forget(&self) {
        if let Self::Discovered(discovered) = self {
            discovered.remember(None);
        }
    }
}

impl Discovered {
    fn remembered(&self) -> Option<Url> {
        let url = self.url.lock();
        url.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, url: Option<Url>) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(url) => write!(f, "{url}"),
            Self::Discovered(discovered) => {
                write!(f, "discovered from {}", discovered.issuer.name)
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An issuer, and where its metadata is.
struct Issuer {
    /// As configured; what the metadata says must equal it to the letter (RFC 8414 §3.3).
    name: String,
    oauth_metadata: Url,
    openid_metadata: Url,
    plain_http: PlainHttp,
}

/// RFC 8414 §2, as far as it concerns those who verify tokens or ask for them.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
    token_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
}

impl Issuer {
    fn at(name: &str, plain_http: PlainHttp) -> Result<Self, Error> {
        let url = plain_http.parse(name)?;
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
            name: name.to_owned(),
            // RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID Connect behind it.
            oauth_metadata: at(format!("/.well-known/oauth-authorization-server{path}")),
            openid_metadata: at(format!("{path}/.well-known/openid-configuration")),
            plain_http,
        })
    }

    async fn metadata(&self, client: &Client) -> Result<bytes::Bytes, CallError> {
        match get_json(client, &self.oauth_metadata).await {
            Err(CallError::Status(404)) => get_json(client, &self.openid_metadata).await,
            answer => answer,
        }
    }

    fn read(&self, document: &[u8], endpoint: Endpoint) -> Result<Url, CallError> {
        let metadata: Metadata =
            serde_json::from_slice(document).map_err(|_| CallError::InvalidMetadata)?;
        if metadata.issuer != self.name {
            return Err(CallError::WrongIssuer);
        }
        let named = match endpoint {
            Endpoint::KeySet => metadata.jwks_uri,
            Endpoint::Token => metadata.token_endpoint,
            Endpoint::Introspection => metadata.introspection_endpoint,
        };
        let url = self
            .plain_http
            .parse(&named.ok_or(CallError::InvalidMetadata)?)
            .map_err(|_| CallError::ForbiddenUrl)?;
        // What comes over plain http is worth no more than that, however safe the way to the metadata was.
        if self.oauth_metadata.scheme() == "https" && url.scheme() != "https" {
            return Err(CallError::ForbiddenUrl);
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_well_known_part_stands_before_an_issuers_path_and_the_openid_one_behind_it() {
        for name in ["https://issuer.example/t1", "https://issuer.example/t1/"] {
            let issuer = Issuer::at(name, PlainHttp::LoopbackOnly).unwrap();
            assert_eq!(
                issuer.oauth_metadata.as_str(),
                "https://issuer.example/.well-known/oauth-authorization-server/t1"
            );
            assert_eq!(
                issuer.openid_metadata.as_str(),
                "https://issuer.example/t1/.well-known/openid-configuration"
            );
            assert_eq!(issuer.name, name);
        }
    }

    /// V7
    #[test]
    fn metadata_leads_neither_to_plain_http_nor_down_from_https() {
        for (member, endpoint) in [
            ("jwks_uri", Endpoint::KeySet),
            ("token_endpoint", Endpoint::Token),
            ("introspection_endpoint", Endpoint::Introspection),
        ] {
            let at = |name: &str, url: &str| {
                let issuer = Issuer::at(name, PlainHttp::LoopbackOnly).unwrap();
                let document = json!({"issuer": name, member: url}).to_string();
                issuer.read(document.as_bytes(), endpoint)
            };
            assert!(at("https://issuer.example", "https://other.example/x").is_ok());
            for (name, url) in [
                ("https://issuer.example", "http://issuer.example/x"),
                ("https://issuer.example", "http://127.0.0.1/x"),
                ("http://127.0.0.1", "http://169.254.169.254/x"),
                ("https://issuer.example", "file:///etc/x"),
                ("https://issuer.example", "/x"),
            ] {
                assert_eq!(at(name, url), Err(CallError::ForbiddenUrl), "{url}");
            }
        }
    }

    #[test]
    fn metadata_without_the_endpoint_is_of_no_use() {
        let issuer = Issuer::at("https://issuer.example", PlainHttp::LoopbackOnly).unwrap();
        let document =
            br#"{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/k"}"#;
        assert!(issuer.read(document, Endpoint::KeySet).is_ok());
        assert_eq!(
            issuer.read(document, Endpoint::Token),
            Err(CallError::InvalidMetadata)
        );
    }
}
