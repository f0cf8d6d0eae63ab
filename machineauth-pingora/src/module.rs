//! Verify the access token of every request, and judge it by a policy.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use machineauth_core::{
    Agent, Authenticator, Challenge, ClientCertificate, Dpop, Error, ErrorKind, Policy,
    ResourceMetadata, ScopeSet, Verifier,
};
use pingora_core::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora_error::ErrorType::HTTPStatus;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::guard::{Guard, Outcome};
use crate::identity::IdentityHeaders;

/// Before the modules that leave their order at 0, so that nothing works for a caller who is not verified; behind those
/// that ask to be earlier still, as limits per address do.
const ORDER: i16 = 100;

/// Has every request's token verified; goes into a proxy's `init_downstream_modules`. Clones share everything.
///
/// Requests with the token in the query string or in a cookie, or with more than one, are refused with 400.
///
/// A proxy whose routes demand different things makes a module for each of them, adds
/// [`MachineAuthModule::chosen_per_request`], and says in `early_request_filter` by which one this request is
/// [judged](MachineAuth::judge_by).
#[derive(Clone, Debug)]
pub struct MachineAuthModule {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    guard: GuardKind,
    forwards_token: bool,
    identity: Arc<IdentityHeaders>,
}

#[derive(Clone, Debug)]
enum GuardKind {
    /// Somebody forgot to choose: that opens nothing.
    Unchosen,
    Open,
    Guarded(Box<Guard>),
}

impl MachineAuthModule {
    /// Lets requests through whose access token `verifier` accepts.
    pub fn new(verifier: Verifier) -> Self {
        Authenticator::new(verifier).into()
    }

    /// Lets everything through and looks at no token. Forged identity headers are still removed.
    pub fn open() -> Self {
        Self::of(GuardKind::Open)
    }

    /// Judges nothing by itself: each request by what [`MachineAuth::judge_by`] says. A request for which nobody chose is
    /// refused with 500.
    pub fn chosen_per_request() -> Self {
        Self::of(GuardKind::Unchosen)
    }

    fn of(guard: GuardKind) -> Self {
        Self {
            settings: Arc::new(Settings {
                guard,
                forwards_token: false,
                identity: Arc::default(),
            }),
        }
    }

    /// Demands every one of these space-delimited scopes, of every request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidClaim`] when one is no scope (RFC 6749 §3.3), [`ErrorKind::InvalidConfiguration`] when
    /// there is none.
    pub fn require(self, scopes: &str) -> Result<Self, Error> {
        let scopes = ScopeSet::parse(scopes)?;
        if scopes.is_empty() {
            return Err(ErrorKind::InvalidConfiguration.into());
        }
        Ok(self.guarded(|guard| guard.scopes = scopes))
    }

    /// Judges each request by `policy` once its token is verified. A request without a token is one without an agent: the
    /// policy says where that is enough. What no rule allows is refused.
    ///
    /// Headers that ask for another method or path than those judged, as `X-HTTP-Method-Override`, are removed.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.optional().guarded(|guard| guard.policy = Some(policy))
    }

    /// Refuses nothing and says what it would have refused: in [`MachineAuth::would_refuse`] and in the log.
    #[must_use]
    pub fn dry_run(self) -> Self {
        self.guarded(|guard| guard.dry_run = true)
    }

    /// Lets requests without any token through as well, without an agent. A token that is there must still be good,
    /// and where [scopes are required](Self::require) so is a token.
    #[must_use]
    pub fn optional(self) -> Self {
        self.authenticating(Authenticator::optional)
    }

    /// Takes tokens that are bound to a key, in the scheme `DPoP` and with a proof (RFC 9449 §7).
    #[must_use]
    pub fn dpop(self, dpop: Dpop) -> Self {
        self.authenticating(|authenticator| authenticator.dpop(dpop))
    }

    /// Has [`forward_identity`](crate::forward_identity) leave the token in the request, for an upstream that verifies
    /// it too. By default it ends here: whoever holds a bearer token can use it elsewhere (RFC 6750 §5.2).
    #[must_use]
    pub fn forward_token(mut self) -> Self {
        self.settings_mut().forwards_token = true;
        self
    }

    /// Says in which headers [`forward_identity`](crate::forward_identity) tells the upstream who calls.
    #[must_use]
    pub fn identity(mut self, headers: impl Into<Arc<IdentityHeaders>>) -> Self {
        self.settings_mut().identity = headers.into();
        self
    }

    /// Names the protection space in challenges (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(self, realm: impl Into<String>) -> Self {
        self.authenticating(|authenticator| authenticator.realm(realm))
    }

    /// Says in challenges where the protected resource's metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn resource_metadata(self, url: impl Into<String>) -> Self {
        self.authenticating(|authenticator| authenticator.resource_metadata(url))
    }

    /// Names the protected resource's metadata in challenges. The proxy serves it: [`MachineAuthModule::authenticator`]
    /// has [the document](Authenticator::document_for).
    #[must_use]
    pub fn protects(self, metadata: ResourceMetadata) -> Self {
        self.authenticating(|authenticator| authenticator.protects(metadata))
    }

    /// Who verifies the tokens; `None` when nobody does.
    pub fn authenticator(&self) -> Option<&Authenticator> {
        self.settings.guard().map(|guard| &guard.authenticator)
    }

    #[cfg(feature = "edge")]
    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.settings.guard()
    }

    fn authenticating(self, change: impl FnOnce(Authenticator) -> Authenticator) -> Self {
        self.guarded(|guard| guard.authenticator = change(guard.authenticator.clone()))
    }

    /// Where nobody verifies there is nothing to change.
    fn guarded(mut self, change: impl FnOnce(&mut Guard)) -> Self {
        if let GuardKind::Guarded(guard) = &mut self.settings_mut().guard {
            change(guard);
        }
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl From<Authenticator> for MachineAuthModule {
    fn from(authenticator: Authenticator) -> Self {
        Self::of(GuardKind::Guarded(Box::new(Guard::new(authenticator))))
    }
}

impl Settings {
    fn guard(&self) -> Option<&Guard> {
        match &self.guard {
            GuardKind::Guarded(guard) => Some(guard),
            GuardKind::Unchosen | GuardKind::Open => None,
        }
    }
}

impl HttpModuleBuilder for MachineAuthModule {
    fn order(&self) -> i16 {
        ORDER
    }

    fn init(&self) -> Module {
        Box::new(MachineAuth {
            settings: Arc::clone(&self.settings),
            certificate: None,
            verdict: Verdict::Anonymous,
            would_refuse: None,
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
    certificate: Option<ClientCertificate>,
    verdict: Verdict,
    /// Boxed, as everything that few requests need.
    would_refuse: Option<Box<Challenge>>,
}

#[derive(Debug)]
enum Verdict {
    /// Nobody has been verified: not yet, or since there was no token and none was needed.
    Anonymous,
    Verified(Arc<Agent>),
    Refused(Box<Challenge>),
}

impl MachineAuth {
    /// What is known about the request of `session`; `None` in a proxy without the module.
    pub fn of(session: &Session) -> Option<&Self> {
        session.downstream_modules_ctx.get()
    }

    /// As [`MachineAuth::of`], for `early_request_filter`, which is the only phase before the module.
    pub fn of_mut(session: &mut Session) -> Option<&mut Self> {
        session.downstream_modules_ctx.get_mut()
    }

    /// Has this request judged by `module` instead of the one that the proxy was made with.
    pub fn judge_by(&mut self, module: &MachineAuthModule) {
        self.settings = Arc::clone(&module.settings);
    }

    /// Says which certificate the client showed when it connected, for tokens that are bound to one (RFC 8705 §3).
    pub fn client_certificate(&mut self, certificate: Option<ClientCertificate>) {
        self.certificate = certificate;
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

    /// How the request would have been answered, were this no [dry run](MachineAuthModule::dry_run).
    pub fn would_refuse(&self) -> Option<&Challenge> {
        self.would_refuse.as_deref()
    }

    /// Whether the token is still good that was accepted: for what outlives a request, as sockets do. Never waits. In a
    /// [dry run](MachineAuthModule::dry_run) no token ends.
    ///
    /// # Errors
    /// As [`Verifier::recheck`].
    pub fn recheck(&self) -> Result<(), Error> {
        match self.bond() {
            Some((agent, verifier)) => verifier.recheck(agent),
            None => Ok(()),
        }
    }

    /// Waits until the token is no longer good that was accepted; forever, when none was, and in a dry run. At a revocation
    /// that is at once.
    pub fn ended(&self) -> impl Future<Output = Error> + Send + use<> {
        let bond = self.bond();
        let bond = bond.map(|(agent, verifier)| (Arc::clone(agent), verifier.clone()));
        async move {
            match bond {
                Some((agent, verifier)) => verifier.ended(&agent).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The agent whose token must stay good, and who says whether it is.
    fn bond(&self) -> Option<(&Arc<Agent>, &Verifier)> {
        let guard = self.settings.guard().filter(|guard| !guard.dry_run)?;
        Some((self.agent()?, guard.authenticator.verifier()))
    }

    pub(crate) fn identity(&self) -> &IdentityHeaders {
        &self.settings.identity
    }

    pub(crate) fn forwards_token(&self) -> bool {
        self.settings.forwards_token
    }

    pub(crate) fn has_policy(&self) -> bool {
        self.settings
            .guard()
            .is_some_and(|guard| guard.policy.is_some())
    }

    fn refuse(&mut self, challenge: Box<Challenge>) -> Box<pingora_error::Error> {
        let status = HTTPStatus(challenge.status().as_u16());
        let mut refusal = pingora_error::Error::explain(status, challenge.message().into_owned());
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
        let settings = Arc::clone(&self.settings);
        let outcome = match &settings.guard {
            GuardKind::Guarded(guard) => guard.judge(request, self.certificate).await,
            GuardKind::Open => Outcome::anonymous(),
            GuardKind::Unchosen => {
                let error = Error::from(ErrorKind::InvalidConfiguration);
                Outcome::refused(Box::new(error.into()))
            }
        };
        match outcome.agent {
            Some(agent) => {
                request.extensions_mut().insert(Arc::clone(&agent));
                self.verdict = Verdict::Verified(agent);
            }
            // A subrequest starts from its parent's header; its own token counts, not the parent's.
            None => drop(request.extensions_mut().remove::<Arc<Agent>>()),
        }
        match outcome.refusal {
            None => Ok(()),
            Some(challenge) if !outcome.enforced => {
                self.would_refuse = Some(challenge);
                Ok(())
            }
            Some(challenge) => Err(self.refuse(challenge)),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
