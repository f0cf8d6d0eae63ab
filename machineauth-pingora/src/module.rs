//! Verify the access token of every request.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use machineauth_core::{Agent, Challenge, Error, ErrorKind, ScopeSet, Verifier, bearer_token};
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora_error::ErrorType::HTTPStatus;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

/// Before the modules that leave their order at 0, so that nothing works for a caller who is not verified; behind those
/// that ask to be earlier still, as limits per address do.
const ORDER: i16 = 100;

/// Has every request's token verified; goes into a proxy's `init_downstream_modules`. Clones share everything.
///
/// Requests with the token in the query string or in a cookie, or with more than one, are refused with 400.
#[derive(Clone, Debug)]
pub struct MachineAuthModule {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
struct Settings {
    verifier: Verifier,
    scopes: ScopeSet,
    optional: bool,
    forwards_token: bool,
    realm: Option<String>,
    resource_metadata: Option<String>,
}

impl MachineAuthModule {
    /// Lets requests through whose access token `verifier` accepts.
    pub fn new(verifier: Verifier) -> Self {
        Self {
            settings: Arc::new(Settings {
                verifier,
                scopes: ScopeSet::new(),
                optional: false,
                forwards_token: false,
                realm: None,
                resource_metadata: None,
            }),
        }
    }

    /// Demands every one of these space-delimited scopes, of every request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidClaim`] when one is no scope (RFC 6749 §3.3), [`ErrorKind::InvalidConfiguration`] when
    /// there is none.
    pub fn require(mut self, scopes: &str) -> Result<Self, Error> {
        let scopes = ScopeSet::parse(scopes)?;
        if scopes.is_empty() {
            return Err(ErrorKind::InvalidConfiguration.into());
        }
        self.settings_mut().scopes = scopes;
        Ok(self)
    }

    /// Lets requests without any token through as well, without an agent. A token that is there must still be good,
    /// and where [scopes are required](Self::require) so is a token.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.settings_mut().optional = true;
        self
    }

    /// Has [`forward_identity`](crate::forward_identity) leave the token in the request, for an upstream that verifies
    /// it too. By default it ends here: whoever holds a bearer token can use it elsewhere (RFC 6750 §5.2).
    #[must_use]
    pub fn forward_token(mut self) -> Self {
        self.settings_mut().forwards_token = true;
        self
    }

    /// Names the protection space in challenges (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.settings_mut().realm = Some(realm.into());
        self
    }

    /// Says in challenges where the protected resource's metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.settings_mut().resource_metadata = Some(url.into());
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl HttpModuleBuilder for MachineAuthModule {
    fn order(&self) -> i16 {
        ORDER
    }

    fn init(&self) -> Module {
        Box::new(MachineAuth {
            settings: Arc::clone(&self.settings),
            verdict: Verdict::Anonymous,
        })
    }
}

/// What [`MachineAuthModule`] found out about one request.
///
/// The verified agent is also in the request's extensions, as `Arc<Agent>`; these go upstream with the request header
/// inside the proxy, and never over the wire.
#[derive(Debug)]
pub struct MachineAuth {
    settings: Arc<Settings>,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    /// Nobody has been verified: not yet, or since there was no token and none was needed.
    Anonymous,
    Verified(Arc<Agent>),
    /// Boxed, so that it costs the others no room.
    Refused(Box<Challenge>),
}

impl MachineAuth {
    /// What is known about the request of `session`; `None` in a proxy without the module.
    pub fn of(session: &Session) -> Option<&Self> {
        session.downstream_modules_ctx.get()
    }

    /// The agent whose token was accepted.
    pub fn agent(&self) -> Option<&Arc<Agent>> {
        match &self.verdict {
            Verdict::Verified(agent) => Some(agent),
            Verdict::Anonymous | Verdict::Refused(_) => None,
        }
    }

    /// How to answer, when the request was refused.
    pub fn challenge(&self) -> Option<&Challenge> {
        match &self.verdict {
            Verdict::Refused(challenge) => Some(challenge),
            Verdict::Anonymous | Verdict::Verified(_) => None,
        }
    }

    pub(crate) fn forwards_token(&self) -> bool {
        self.settings.forwards_token
    }

    fn refuse(&mut self, error: Error) -> Box<pingora_error::Error> {
        let challenge = self.settings.challenge(error);
        let status = HTTPStatus(challenge.status().as_u16());
        let mut refusal = pingora_error::Error::explain(status, error.to_string());
        // Decides whom Pingora's log and metrics blame.
        if challenge.status().is_client_error() {
            refusal.as_down();
        } else {
            refusal.as_in();
        }
        self.verdict = Verdict::Refused(challenge);
        refusal
    }
}

#[async_trait]
impl HttpModule for MachineAuth {
    async fn request_header_filter(
        &mut self,
        request: &mut RequestHeader,
    ) -> pingora_error::Result<()> {
        match self.settings.judge(request).await {
            Ok(Some(agent)) => {
                request.extensions_mut().insert(Arc::clone(&agent));
                self.verdict = Verdict::Verified(agent);
                Ok(())
            }
            Ok(None) => {
                // A subrequest starts from its parent's header; its own token counts, not the parent's.
                request.extensions_mut().remove::<Arc<Agent>>();
                Ok(())
            }
            Err(error) => Err(self.refuse(error)),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Settings {
    /// Waits only when the token's key is not at hand.
    async fn judge(&self, request: &RequestHeader) -> Result<Option<Arc<Agent>>, Error> {
        let token = match bearer_token(&request.headers, &request.uri) {
            Ok(token) => token,
            Err(error) if error.kind() == ErrorKind::MissingToken && self.admits_anonymous() => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let checked = match self.verifier.check(token) {
            Err(error) if self.verifier.can_recover(&error) => {
                // Boxed, so that it costs a warm request no room.
                Box::pin(self.verifier.verify(token)).await
            }
            checked => checked,
        };
        let agent = checked?;
        agent.require(&self.scopes)?;
        Ok(Some(agent))
    }

    fn admits_anonymous(&self) -> bool {
        self.optional && self.scopes.is_empty()
    }

    fn challenge(&self, error: Error) -> Box<Challenge> {
        let mut challenge = Challenge::from(error);
        if error.kind() == ErrorKind::InsufficientScope {
            challenge = challenge.scopes(&self.scopes);
        }
        if let Some(realm) = &self.realm {
            challenge = challenge.realm(realm);
        }
        if let Some(url) = &self.resource_metadata {
            challenge = challenge.resource_metadata(url);
        }
        Box::new(challenge)
    }
}
