//! Who a verified token speaks for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::claims::Claims;
use crate::error::{Error, ErrorKind};
use crate::keyset::PublishedKey;
use crate::scope::ScopeSet;

/// An epoch that no revocations reach.
const NEVER_JUDGED: u64 = u64::MAX;

/// The verified identity behind a request: made by a [`Verifier`](super::Verifier) or by an
/// [`Introspection`](crate::introspection::Introspection), and by nothing else.
pub struct Agent {
    claims: Claims,
    /// The key that verified the signature; none, when the issuer was asked.
    key: Option<Arc<PublishedKey>>,
    /// The generation of the key set that verified the signature.
    generation: u64,
    /// The epoch of the revocations under which the token was last found good.
    epoch: AtomicU64,
}

impl Agent {
    pub(super) fn new(claims: Claims, key: Arc<PublishedKey>, generation: u64, epoch: u64) -> Self {
        Self {
            claims,
            key: Some(key),
            generation,
            epoch: AtomicU64::new(epoch),
        }
    }

    /// Whom the issuer says a token speaks for. What is revoked has not been looked at.
    pub(crate) fn introspected(claims: Claims) -> Self {
        Self {
            claims,
            key: None,
            generation: 0,
            epoch: AtomicU64::new(NEVER_JUDGED),
        }
    }

    /// Everything that the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The agent's identifier: the `agent_id` claim, or the subject where an issuer has none.
    pub fn id(&self) -> &str {
        self.claims
            .agent_id
            .as_deref()
            .unwrap_or(&self.claims.subject)
    }

    /// The OAuth client: the `client_id` claim (RFC 9068 §2.2), or the subject where an issuer has none.
    pub fn client_id(&self) -> &str {
        self.claims
            .client_id
            .as_deref()
            .unwrap_or(&self.claims.subject)
    }

    /// The `sub` claim (RFC 7519 §4.1.2).
    pub fn subject(&self) -> &str {
        &self.claims.subject
    }

    /// What the token allows.
    pub fn scopes(&self) -> &ScopeSet {
        &self.claims.scope
    }

    /// The organization that the agent belongs to.
    pub fn organization_id(&self) -> Option<&str> {
        self.claims.organization_id.as_deref()
    }

    /// The team that the agent belongs to.
    pub fn team_id(&self) -> Option<&str> {
        self.claims.team_id.as_deref()
    }

    /// Whether the token allows `scope`.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.claims.scope.contains(scope)
    }

    /// Demands all of `scopes`.
    ///
    /// # Errors
    /// [`ErrorKind::InsufficientScope`] when one is missing.
    pub fn require(&self, scopes: &ScopeSet) -> Result<(), Error> {
        match self.claims.scope.contains_all(scopes) {
            true => Ok(()),
            false => Err(ErrorKind::InsufficientScope.into()),
        }
    }

    /// The name that the issuer gave the key, whether or not the token mentions it: a revoked key must not escape by
    /// leaving its name out of the header.
    pub(super) fn kid(&self) -> Option<&str> {
        self.key.as_ref()?.jwk.kid()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn judged_at_epoch(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch
    }

    pub(super) fn note_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }
}

impl fmt::Debug for Agent {
    /// Names the agent; the other claims may be nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("id", &self.id())
            .field("scopes", self.scopes())
            .finish_non_exhaustive()
    }
}
