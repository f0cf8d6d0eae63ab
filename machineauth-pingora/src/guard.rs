use std::sync::Arc;

use machineauth_core::authenticate::Judgement;
use machineauth_core::policy::Refusal;
use machineauth_core::{
    Agent, Authenticator, Challenge, ClientCertificate, Error, ErrorKind, Policy, Protocol,
    ScopeSet,
};
use pingora_http::RequestHeader;

use crate::path::path_of;

/// What is demanded of a request.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) authenticator: Authenticator,
    pub(crate) scopes: ScopeSet,
    pub(crate) policy: Option<Policy>,
    pub(crate) dry_run: bool,
}

/// What came of judging one. In a dry run there may be an agent although there is a refusal.
pub(crate) struct Outcome {
    pub(crate) agent: Option<Arc<Agent>>,
    /// Boxed, so that it costs the others no room.
    pub(crate) refusal: Option<Box<Challenge>>,
    /// Whether the refusal has consequences: not in a dry run, be it the module's or the policy's.
    pub(crate) enforced: bool,
}

impl Outcome {
    pub(crate) fn anonymous() -> Self {
        Self {
            agent: None,
            refusal: None,
            enforced: true,
        }
    }

    pub(crate) fn refused(challenge: Box<Challenge>) -> Self {
        Self {
            agent: None,
            refusal: Some(challenge),
            enforced: true,
        }
    }
}

impl Guard {
    pub(crate) fn new(authenticator: Authenticator) -> Self {
        Self {
            authenticator,
            scopes: ScopeSet::new(),
            policy: None,
            dry_run: false,
        }
    }

    /// Waits only when the token's key is not at hand, or only the issuer can read it.
    pub(crate) async fn judge(
        &self,
        request: &RequestHeader,
        certificate: Option<ClientCertificate>,
    ) -> Outcome {
        let judged =
            self.authenticator
                .judge(&request.method, &request.headers, &request.uri, certificate);
        let agent = match judged {
            Judgement::Verified(agent) => Some(agent),
            Judgement::Anonymous => None,
            Judgement::Refused(error) => return self.refusal(error, request),
            Judgement::Undecided(undecided) => {
                // Boxed, so that it costs a warm request no room.
                match Box::pin(undecided.decide(&self.authenticator)).await {
                    Ok(agent) => Some(agent),
                    Err(error) => return self.refusal(error, request),
                }
            }
        };
        let by_policy = || judge_by(self.policy.as_ref()?, request, agent.as_deref());
        let missing = self.missing_scopes(agent.as_deref());
        let judged = missing.map(|refusal| (refusal, true)).or_else(by_policy);
        let (refusal, enforced) = judged.unzip();
        Outcome {
            refusal: refusal.map(|refusal| self.answer(refusal.challenge(), request)),
            enforced: enforced.unwrap_or(true) && !self.dry_run,
            agent,
        }
    }

    fn missing_scopes(&self, agent: Option<&Agent>) -> Option<Refusal<'_>> {
        match agent {
            Some(agent) => Refusal::unless_all(&self.scopes, agent.scopes()),
            None if self.scopes.is_empty() => None,
            None => Some(Refusal::Unauthenticated {
                scopes: &self.scopes,
            }),
        }
    }

    fn refusal(&self, error: Error, request: &RequestHeader) -> Outcome {
        let mut challenge = Challenge::from(error);
        if error.kind() == ErrorKind::MissingToken {
            challenge = challenge.scopes(&self.scopes);
        }
        Outcome {
            enforced: !self.dry_run,
            ..Outcome::refused(self.answer(challenge, request))
        }
    }

    fn answer(&self, challenge: Challenge, request: &RequestHeader) -> Box<Challenge> {
        let challenge = self.authenticator.complete(challenge);
        Box::new(challenge.protocol(Protocol::of(&request.headers)))
    }
}

/// What `policy` has against a request, and whether that has consequences.
fn judge_by<'p>(
    policy: &'p Policy,
    request: &RequestHeader,
    agent: Option<&Agent>,
) -> Option<(Refusal<'p>, bool)> {
    let enforced = !policy.is_dry_run();
    let method = &request.method;
    let path = match path_of(request) {
        Ok(path) => path,
        Err(fault) => return Some((fault.into(), enforced)),
    };
    let decision = policy.decide(method, path, agent);
    if !decision.is_allowed() {
        // Decided again, which only refusals pay for: this time the log is told, and whoever counts.
        let _ = policy.enforce(method, path, agent);
    }
    Some((decision.refusal().cloned()?, enforced))
}
