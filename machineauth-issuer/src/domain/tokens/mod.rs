//! Issued tokens: recognising one, what is true of it right now, and ending it.

pub mod access;
mod issued;
pub mod refresh;
mod revoke;
pub mod said;

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::ErrorKind;
use machineauth_core::claims::Claims;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::jws::Jws;
use machineauth_core::scope::ScopeSet;
use machineauth_core::verifier::Agent as VerifiedAgent;

use self::issued::TokenClaims;
pub use self::issued::{IssuedAccessToken, IssuedToken};
use self::refresh::RefreshToken;
pub use self::revoke::{RevokeError, Revoker};
use super::agent::{Refusal, TOKEN_PREFIX};
use super::agents::{Agents, Source, StoredAgent};
use super::event::{self, Action, By, Fact, Recorder};
use super::id::OrganizationId;
use super::keys::{KeyRings, RingName};
use super::revocation;
use super::vault::Vault;
use crate::store::{DynStore, StoreError};

/// How long strangers' tokens with unknown keys make nobody ask the store again.
const KEYS_COOL_DOWN: Duration = Duration::from_secs(1);

/// Looks at tokens, and ends them.
#[derive(Debug)]
pub struct Tokens {
    /// Where revocations are.
    pub store: DynStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Recognises refresh tokens.
    pub vault: Arc<Vault>,
    /// The clients.
    pub agents: Arc<Agents>,
    /// Recognise access tokens, for as long as any verifier may accept them.
    pub keys: Arc<KeyRings>,
    /// Records what is asked about tokens.
    pub recorder: Arc<Recorder>,
}

impl Tokens {
    /// Takes `text` for the token that it is. The hint of RFC 7009 §2.1 is not needed: the two kinds look different.
    ///
    /// # Errors
    /// Why it is not taken for one.
    pub async fn recognize(&self, text: &str) -> Result<IssuedToken, Unrecognized> {
        if let Some(token) = RefreshToken::parse(text, &self.vault) {
            return Ok(IssuedToken::Refresh(token));
        }
        let claims = match text.strip_prefix(TOKEN_PREFIX) {
            Some(sealed) => TokenClaims::Sealed(Box::new(self.opened(sealed)?)),
            None => TokenClaims::Signed(self.verified(text).await?),
        };
        IssuedAccessToken::read(claims)
            .map(IssuedToken::Access)
            .ok_or(Unrecognized::Unknown)
    }

    fn opened(&self, sealed: &str) -> Result<Claims, Unrecognized> {
        let claims = self.vault.open_token(sealed).ok_or(Unrecognized::Unknown)?;
        Claims::parse(&claims).map_err(|_| Unrecognized::Unknown)
    }

    async fn verified(&self, text: &str) -> Result<Arc<VerifiedAgent>, Unrecognized> {
        let server = self.keys.server();
        let by_server = server.state().verifier().check(text);
        let Err(error) = &by_server else {
            return by_server.map_err(unrecognized);
        };
        if error.kind() != ErrorKind::UnknownKey {
            return by_server.map_err(unrecognized);
        }
        // Whose keys to ask for is the token's own word; what they say about its signature is not.
        let ring = match organization_named_in(text) {
            None => Arc::clone(server),
            Some(organization) => {
                let ring = self.keys.ring(RingName::Organization(organization)).await;
                ring.map_err(|_| Unrecognized::KeysUnavailable)?
            }
        };
        match ring.state().verifier().check(text) {
            Err(error) if error.kind() == ErrorKind::UnknownKey => {
                // Another issuer may have made the key a moment ago.
                ring.refresh_if_older(KEYS_COOL_DOWN).await;
                ring.state().verifier().check(text)
            }
            checked => checked,
        }
        .map_err(unrecognized)
    }

    /// What is true of the token right now, by the store's word.
    ///
    /// # Errors
    /// When the store cannot tell; the caller fails closed.
    pub async fn state(&self, token: &IssuedToken) -> Result<TokenState, StoreError> {
        if token.expires_at() <= self.clock.now() {
            return Ok(TokenState::Expired);
        }
        let allowed = match token {
            IssuedToken::Access(token) => self.allowed_by_access_token(token).await?,
            IssuedToken::Refresh(token) => self.allowed_by_refresh_token(token).await?,
        };
        Ok(allowed.map_or(TokenState::Revoked, TokenState::Active))
    }

    /// Records that somebody introspected a token, and what came out.
    ///
    /// # Errors
    /// The store's failure, where each introspection has its event.
    pub async fn introspected(
        &self,
        token: &IssuedToken,
        state: &TokenState,
        by: &By,
    ) -> Result<(), StoreError> {
        // Where the record comes from does not matter: it only says whom the event concerns.
        let client = token.client_id();
        let Some(found) = self.agents.by_client(client, Source::Cache).await? else {
            return Ok(());
        };
        let (agent, now) = (&found.agent.value, self.clock.now());
        let action = match state {
            TokenState::Active(_) => Action::TokenValidationSuccess,
            TokenState::Revoked | TokenState::Expired => Action::TokenValidationFailed,
        };
        if self.recorder.wants_sums(agent) {
            self.recorder.count_token(action, agent, now);
        }
        if !self.recorder.wants_each_token(agent) {
            return Ok(());
        }
        let fact = match token {
            IssuedToken::Access(token) => Fact::token(action, agent, "token", &token.token),
            IssuedToken::Refresh(token) => {
                Fact::token(action, agent, "refresh_family", &token.family)
            }
        };
        let fact = match state {
            TokenState::Active(_) => fact,
            TokenState::Revoked => fact.because("revoked"),
            TokenState::Expired => fact.because("expired"),
        };
        event::record_alone(&*self.store, agent.home(), fact, by, now).await
    }

    /// `None` when it is not usable.
    async fn allowed_by_access_token(
        &self,
        token: &IssuedAccessToken,
    ) -> Result<Option<ScopeSet>, StoreError> {
        let holder = self.holder(token).await?;
        let holder = holder.filter(|holder| holder.agent.value.is_active);
        Ok(holder.map(|holder| holder.allowed_by(token)))
    }

    /// The agent that holds the access token, by the store's word. `None` when the token is expired or revoked, or the
    /// agent is gone or expired; an agent that is only suspended still holds it.
    ///
    /// # Errors
    /// When the store cannot tell; the caller fails closed.
    pub async fn holder(&self, token: &IssuedAccessToken) -> Result<Option<Holder>, StoreError> {
        let now = self.clock.now();
        if Timestamp::from_secs(token.claims().expires_at) <= now {
            return Ok(None);
        }
        let revoking =
            revocation::rows_that_revoke(token.home(), token.agent, token.token, token.family);
        let (agent, revoking) = self
            .agents
            .with_rows(token.client, token.agent, token.organization, revoking)
            .await?;
        let agent = agent.filter(|stored| {
            let agent = &stored.value;
            agent.client_id == token.client
                && agent.generation <= token.generation
                && agent.may_act(now) != Err(Refusal::Expired)
        });
        let revoked = revocation::is_revoked_by(&revoking, token.generation)?;
        Ok(agent.filter(|_| !revoked).map(|agent| Holder { agent }))
    }

    /// `None` when it is not usable.
    async fn allowed_by_refresh_token(
        &self,
        token: &RefreshToken,
    ) -> Result<Option<ScopeSet>, StoreError> {
        let Some(found) = self
            .agents
            .by_client(token.client_id, Source::Store)
            .await?
        else {
            return Ok(None);
        };
        let agent = &found.agent.value;
        if agent.generation != token.generation || agent.may_act(self.clock.now()).is_err() {
            return Ok(None);
        }
        let (revoked, redemption) = futures_util::try_join!(
            revocation::family_is_revoked(&*self.store, agent.home(), token.family),
            token.redemption(&*self.store, agent.home()),
        )?;
        let is_usable = !revoked && redemption.is_none();
        Ok(is_usable.then(|| token.scope.intersection(&agent.scopes)))
    }
}

/// Who holds an access token.
#[derive(Debug)]
pub struct Holder {
    /// The agent as it is now. It may be suspended.
    pub agent: Arc<StoredAgent>,
}

impl Holder {
    /// What its token still allows: no more than the agent may have now (I8).
    pub fn allowed_by(&self, token: &IssuedAccessToken) -> ScopeSet {
        token.claims().scope.intersection(&self.agent.value.scopes)
    }
}

/// Why a text is not taken for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecognized {
    /// It is one of ours, and so old that nobody accepts it any more.
    LongExpired,
    /// It is none of ours.
    Unknown,
    /// Nobody can tell: the keys cannot be read at the moment.
    KeysUnavailable,
}

/// What is true of a token (RFC 7662 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// It can be used, for this: no more than its agent may have now (I8).
    Active(ScopeSet),
    /// It was revoked or redeemed, or its agent was deleted or suspended.
    Revoked,
    /// Its time is over.
    Expired,
}

fn unrecognized(error: machineauth_core::Error) -> Unrecognized {
    match error.kind() {
        ErrorKind::Expired => Unrecognized::LongExpired,
        _ => Unrecognized::Unknown,
    }
}

/// The organization that a token says it was issued in. Nothing has been verified.
fn organization_named_in(text: &str) -> Option<OrganizationId> {
    let jws = Jws::parse(text).ok()?;
    let claims = Claims::parse(jws.payload()).ok()?;
    claims.organization_id?.parse().ok()
}
