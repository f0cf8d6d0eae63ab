use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::request::{Identity, TokenRequest};
use super::{AccessToken, ClientSecret, Renewing, TokenFuture, TokenSource};
use crate::clock::{Clock, SystemClock};
use crate::crypto::SigningKey;
use crate::discovery::{Endpoint, Place};
use crate::error::{Error, ErrorKind};
use crate::outbound::{PlainHttp, client};
use crate::scope::ScopeSet;

/// Tokens of one client for one audience, by the client credentials grant (RFC 6749 §4.4). Clones share them.
///
/// See the [module](super) for when it asks.
#[derive(Clone, Debug)]
pub struct ClientCredentials(Renewing);

/// How a client says who it is (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// HTTP Basic, which every issuer must understand.
    #[default]
    Basic,
    /// `client_id` and `client_secret` in the body.
    Post,
}

impl ClientCredentials {
    /// Tokens of `issuer`, whose metadata says where its token endpoint is (RFC 8414).
    pub fn discover(issuer: &str) -> ClientCredentialsBuilder {
        ClientCredentialsBuilder::new(Where::Issuer(issuer.to_owned()))
    }

    /// Tokens of the token endpoint at `url`, without asking for metadata.
    pub fn at(url: &str) -> ClientCredentialsBuilder {
        ClientCredentialsBuilder::new(Where::Endpoint(url.to_owned()))
    }
}

impl TokenSource for ClientCredentials {
    fn token(&self) -> TokenFuture<'_> {
        self.0.token()
    }

    fn current(&self) -> Option<Arc<AccessToken>> {
        self.0.current()
    }

    fn refused(&self, token: &AccessToken) -> bool {
        self.0.refused(token)
    }
}

/// Says which tokens a [`ClientCredentials`] asks for, and how.
#[must_use]
pub struct ClientCredentialsBuilder {
    place: Where,
    client: Option<(String, Identity)>,
    authentication: ClientAuthentication,
    scope: Option<String>,
    audience: Option<String>,
    resource: Option<String>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    plain_http: PlainHttp,
}

enum Where {
    Issuer(String),
    Endpoint(String),
}

impl ClientCredentialsBuilder {
    fn new(place: Where) -> Self {
        Self {
            place,
            client: None,
            authentication: ClientAuthentication::Basic,
            scope: None,
            audience: None,
            resource: None,
            clock: Arc::new(SystemClock),
            patience: Duration::from_secs(5),
            plain_http: PlainHttp::LoopbackOnly,
        }
    }

    /// The client that asks. It must be given.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        self.client = Some((id.into(), Identity::Secret(secret.into())));
        self
    }

    /// The client that asks, which has no secret to share: it signs with `key` for every request who it is
    /// (`private_key_jwt`, RFC 7523 §2.2). The issuer knows the public half.
    pub fn client_with_key(mut self, id: impl Into<String>, key: Arc<SigningKey>) -> Self {
        self.client = Some((id.into(), Identity::Key(key)));
        self
    }

    /// How the client shows its secret. Default: [`ClientAuthentication::Basic`].
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// The space-delimited scopes to ask for. Default: whatever the issuer grants.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Whom the token is to be meant for, as the parameter `audience`, which many issuers know.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Whom the token is to be meant for, as the parameter `resource` (RFC 8707 §2): an absolute URI.
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// How long one caller waits for a token at most. Default 5 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Asks over plain http, and any host: whoever is in between sees the secret and the tokens.
    pub fn danger_allow_plain_http(mut self) -> Self {
        self.plain_http = PlainHttp::DangerAnywhere;
        self
    }

    /// Makes the source. Nothing is asked before a token is needed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the client is missing or the URL is not https (or http on loopback),
    /// [`ErrorKind::InvalidClaim`] when a scope is none (RFC 6749 §3.3).
    pub fn build(self) -> Result<ClientCredentials, Error> {
        let (client_id, identity) = self.client.ok_or(Error::because(
            ErrorKind::InvalidConfiguration,
            "the client is missing: give its id, and its secret or its key",
        ))?;
        if let Some(scope) = &self.scope {
            ScopeSet::parse(scope)?;
        }
        let place = match &self.place {
            Where::Issuer(issuer) => Place::of(issuer, Endpoint::Token, self.plain_http)?,
            Where::Endpoint(url) => Place::at(url, self.plain_http)?,
        };
        let parameters = [
            ("scope", self.scope),
            ("audience", self.audience),
            ("resource", self.resource),
        ];
        let request = TokenRequest {
            client: client()?,
            place,
            client_id,
            identity,
            authentication: self.authentication,
            parameters: parameters
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            clock: Arc::clone(&self.clock),
        };
        let source = Renewing::new(request, self.clock, self.patience);
        Ok(ClientCredentials(source))
    }
}

impl fmt::Debug for ClientCredentialsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentialsBuilder")
            .field("client", &self.client)
            .field("authentication", &self.authentication)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
