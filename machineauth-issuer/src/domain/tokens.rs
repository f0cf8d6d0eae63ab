//! Issued tokens: what is true of one right now, and ending one.

use std::sync::Arc;

use machineauth_core::claims::Claims;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::scope::ScopeSet;
use machineauth_core::verifier::{Agent as VerifiedAgent, Verifier};
use machineauth_core::{Error, ErrorKind};

use super::agent::Agent;
use super::agents::{Agents, Source};
use super::id::{AgentId, ClientId, FamilyId, TokenId};
use super::refresh_token::RefreshToken;
use super::revocation::{self, token_is_revoked};
use super::stats::{self, Stat};
use super::vault::Vault;
use crate::store::{Batch, DynStore, Outcome, StoreError};

/// What is true of a token (RFC 7662 §2.2).
#[derive(Debug)]
pub enum TokenState {
    /// It can be used.
    Active(ActiveToken),
    /// It was revoked, its agent was deleted or suspended, or it was redeemed.
    Revoked,
    /// Its time is over.
    Expired,
    /// It is not a token of this server.
    Unrecognized,
}

/// What introspection tells about a token that can be used.
#[derive(Debug)]
pub struct ActiveToken {
    /// Which kind it is.
    pub kind: TokenKind,
    /// The client that it was issued to.
    pub client_id: ClientId,
    /// What it allows.
    pub scope: ScopeSet,
    /// When it expires, in Unix seconds.
    pub expires_at: u64,
    /// Everything that an access token says.
    pub verified: Option<Arc<VerifiedAgent>>,
}

/// The kinds of token that this server issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A JWT for resource servers.
    Access,
    /// A value for the token endpoint.
    Refresh,
}

/// Why a revocation was refused.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The token was issued to another client (RFC 7009 §2.1).
    #[error("the token was issued to another client")]
    NotYours,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The identifiers that this server writes into every access token.
struct OwnClaims {
    agent: AgentId,
    client: ClientId,
    token: TokenId,
    family: Option<FamilyId>,
    generation: u64,
}

impl OwnClaims {
    fn read(claims: &Claims) -> Option<Self> {
        Some(Self {
            agent: claims.agent_id.as_deref()?.parse().ok()?,
            client: claims.subject.parse().ok()?,
            token: claims.jwt_id.as_deref()?.parse().ok()?,
            family: claims
                .family_id
                .as_deref()
                .map(str::parse)
                .transpose()
                .ok()?,
            generation: claims.generation?,
        })
    }
}

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
    /// Recognises access tokens.
    pub verifier: Verifier,
}

impl Tokens {
    /// What is true of the token `text` right now, by the store's word.
    ///
    /// # Errors
    /// When the store cannot tell; the caller fails closed.
    pub async fn state(&self, text: &str) -> Result<TokenState, StoreError> {
        match self.recognize(text) {
            Ok(Recognized::Refresh(token)) => self.refresh_token_state(token).await,
            Ok(Recognized::Access(verified, own)) => self.access_token_state(verified, own).await,
            Err(ErrorKind::Expired) => Ok(TokenState::Expired),
            Err(_) => Ok(TokenState::Unrecognized),
        }
    }

    async fn access_token_state(
        &self,
        verified: Arc<VerifiedAgent>,
        own: OwnClaims,
    ) -> Result<TokenState, StoreError> {
        let (found, revoked) = futures_util::try_join!(
            self.agents.by_client(own.client, Source::Store),
            token_is_revoked(
                &*self.store,
                own.agent,
                own.token,
                own.family,
                own.generation
            ),
        )?;
        let usable = found.is_some_and(|found| {
            let agent = &found.agent.value;
            agent.id == own.agent && agent.is_active && agent.generation <= own.generation
        });
        if revoked || !usable {
            return Ok(TokenState::Revoked);
        }
        Ok(TokenState::Active(ActiveToken {
            kind: TokenKind::Access,
            client_id: own.client,
            scope: verified.scopes().clone(),
            expires_at: verified.claims().expires_at,
            verified: Some(verified),
        }))
    }

    async fn refresh_token_state(&self, token: RefreshToken) -> Result<TokenState, StoreError> {
        let now = self.clock.now();
        if token.expires_at <= now {
            return Ok(TokenState::Expired);
        }
        let found = self
            .agents
            .by_client(token.client_id, Source::Store)
            .await?;
        let usable =
            |agent: &Agent| agent.generation == token.generation && agent.may_act(now).is_ok();
        let Some(found) = found.filter(|found| usable(&found.agent.value)) else {
            return Ok(TokenState::Revoked);
        };
        let home = found.agent.value.home();
        let (revoked, redeemed) = futures_util::try_join!(
            revocation::family_is_revoked(&*self.store, home, token.family),
            token.redemption(&*self.store, home),
        )?;
        if revoked || redeemed.is_some() {
            return Ok(TokenState::Revoked);
        }
        Ok(TokenState::Active(ActiveToken {
            kind: TokenKind::Refresh,
            client_id: token.client_id,
            scope: token.scope,
            expires_at: token.expires_at.as_secs(),
            verified: None,
        }))
    }

    /// Revokes the token: an access token alone, a refresh token with its whole family (RFC 7009 §2.1).
    ///
    /// What is not a live token of this server is left alone without an error: its purpose, that nobody can use it,
    /// is already met (RFC 7009 §2.2).
    ///
    /// # Errors
    /// [`RevokeError::NotYours`] when `caller` is given and the token is another client's.
    pub async fn revoke(&self, text: &str, caller: Option<ClientId>) -> Result<(), RevokeError> {
        let Ok(recognized) = self.recognize(text) else {
            return Ok(());
        };
        let (owner, batch) = match recognized {
            Recognized::Access(verified, own) => {
                let home = own.agent.partition();
                let end = Timestamp::from_secs(verified.claims().expires_at);
                (
                    own.client,
                    revocation::revoke_token(Batch::new(home), home, own.token, end),
                )
            }
            Recognized::Refresh(token) => {
                let Some(found) = self
                    .agents
                    .by_client(token.client_id, Source::Store)
                    .await?
                else {
                    return Ok(());
                };
                let home = found.agent.value.home();
                (
                    token.client_id,
                    revocation::revoke_family(
                        Batch::new(home),
                        home,
                        token.family,
                        self.clock.now(),
                    ),
                )
            }
        };
        if caller.is_some_and(|caller| caller != owner) {
            return Err(RevokeError::NotYours);
        }
        match self
            .store
            .commit(&stats::count(batch, Stat::TokensRevoked, 1))
            .await?
        {
            Outcome::Committed => Ok(()),
            // The batch insists only on not having been revoked before.
            Outcome::Conflict => Ok(()),
        }
    }

    /// Reads a token of either kind. The hint of RFC 7009 §2.1 is not needed: the two look different.
    fn recognize(&self, text: &str) -> Result<Recognized, ErrorKind> {
        if let Some(token) = RefreshToken::parse(text, &self.vault) {
            return Ok(Recognized::Refresh(token));
        }
        let verified = self
            .verifier
            .check(text)
            .map_err(|error: Error| error.kind())?;
        let own = OwnClaims::read(verified.claims()).ok_or(ErrorKind::MalformedToken)?;
        Ok(Recognized::Access(verified, own))
    }
}

enum Recognized {
    Access(Arc<VerifiedAgent>, OwnClaims),
    Refresh(RefreshToken),
}
