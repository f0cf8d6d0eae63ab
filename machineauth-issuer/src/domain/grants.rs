//! Grants: judging who may have a token, signing it, and committing that it was issued.
//!
//! A token is signed before the commit and handed out after it. The commit insists that the agent's record is still
//! the version that was judged, so an agent that was deactivated, rotated or deleted meanwhile never gets a token:
//! the commit fails, the record is read again and the judgement repeated.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::scope::ScopeSet;

use super::agent::Agent;
use super::agents::{
    Agents, AuthenticationError, Counter, Credentials, Found, Presented, Source, StoredAgent,
    issue_to,
};
use super::id::{FamilyId, TokenId};
use super::refresh_token::{Redemption, RefreshToken};
use super::revocation;
use super::stats::{self, Stat};
use super::token::{AccessToken, Minter, TokenRequest};
use super::vault::Vault;
use crate::store::{Batch, DynStore, Outcome, StoreError};

/// How long an authenticated repeat of a redemption gets the same answer: a lost answer must not end an honest client.
pub const REPEAT_GRACE: Duration = Duration::from_secs(10);

/// How often a judgement is repeated when the record keeps changing underneath.
const MAX_ATTEMPTS: usize = 16;

/// What to do with scopes beyond the agent's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopePolicy {
    /// Grant the others; the answer's `scope` says which (RFC 6749 §3.3).
    Filter,
    /// Refuse with `invalid_scope`.
    Strict,
}

/// How this server grants.
#[derive(Debug, Clone)]
pub struct GrantSettings {
    /// What to do with scopes beyond the agent's own.
    pub scope_policy: ScopePolicy,
    /// How long a refresh family lives; `None` issues no refresh tokens.
    pub refresh_lifetime: Option<Duration>,
}

/// A granted access token, and what the answer says about it.
#[derive(Debug)]
pub struct Granted {
    /// The signed access token.
    pub access_token: String,
    /// The refresh token, when one is issued.
    pub refresh_token: Option<String>,
    /// What was granted.
    pub scope: ScopeSet,
    /// The `iat` of the access token.
    pub issued_at: Timestamp,
    /// Seconds until the access token expires.
    pub expires_in: u64,
}

/// Why nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Unknown, wrong secret, inactive or expired: which one is nobody's business (I3).
    #[error("invalid client credentials")]
    InvalidClient,
    /// The refresh token does not get a token, for whatever reason.
    #[error("the refresh token is invalid, expired or already used")]
    InvalidGrant,
    /// Nothing that was asked for may be granted.
    #[error("none of the requested scopes may be granted to this client")]
    InvalidScope,
    /// The record kept changing while it was judged.
    #[error("the client is being changed by many at once; try again")]
    Contended,
    /// Signing failed.
    #[error("signing failed: {0}")]
    Signing(machineauth_core::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AuthenticationError> for GrantError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Refused => Self::InvalidClient,
            AuthenticationError::Store(error) => Self::Store(error),
        }
    }
}

/// Issues tokens.
#[derive(Debug)]
pub struct Grants {
    /// Where issuing is committed.
    pub store: DynStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Recognises secrets and refresh tokens.
    pub vault: Arc<Vault>,
    /// The clients.
    pub agents: Arc<Agents>,
    /// Signs.
    pub minter: Minter,
    /// How this server grants.
    pub settings: GrantSettings,
}

impl Grants {
    /// The client credentials grant (RFC 6749 §4.4).
    ///
    /// # Errors
    /// [`GrantError::InvalidClient`], [`GrantError::InvalidScope`], or what failed on our side.
    pub async fn client_credentials(
        &self,
        credentials: &Credentials,
        requested: Option<&ScopeSet>,
    ) -> Result<Granted, GrantError> {
        let mut source = Source::Cache;
        for _ in 0..MAX_ATTEMPTS {
            let found = self
                .agents
                .by_client(credentials.client_id, source)
                .await?
                .ok_or(GrantError::InvalidClient)?;
            source = Source::Store;
            let agent = &found.agent.value;
            let now = self.clock.now();
            let judged = agent
                .authenticate(&credentials.secret, &self.vault, now)
                .map_err(|_| GrantError::InvalidClient)
                .and_then(|()| self.grantable(&agent.scopes, requested));
            let Some(scope) = final_word(judged, &found)? else {
                continue;
            };
            let refresh = self.settings.refresh_lifetime.map(|lifetime| {
                RefreshToken::first(
                    agent.client_id,
                    agent.generation,
                    scope.clone(),
                    now.saturating_add(lifetime),
                )
            });
            let redemption = Redemption {
                at: now,
                token_id: TokenId::random(),
                scope,
            };
            let access = self.mint(
                agent,
                &redemption,
                refresh.as_ref().map(|token| token.family),
            )?;
            let batch = Counter::Tokens.count(issue_to(&found.agent), agent.id, now);
            let batch = stats::count(batch, Stat::TokensIssued, 1);
            if self.store.commit(&batch).await? == Outcome::Committed {
                return Ok(self.granted(access, redemption, refresh, now));
            }
        }
        Err(GrantError::Contended)
    }

    /// The refresh token grant (RFC 6749 §6), with rotation and detection of re-use (RFC 9700 §4.14.2).
    ///
    /// The client need not prove itself where the server lets refresh tokens stand alone; what it does present counts.
    ///
    /// # Errors
    /// [`GrantError::InvalidGrant`], [`GrantError::InvalidClient`], [`GrantError::InvalidScope`], or what failed on
    /// our side.
    pub async fn refresh(
        &self,
        presented: &str,
        client: &Presented,
        requested: Option<&ScopeSet>,
    ) -> Result<Granted, GrantError> {
        if let Presented::Credentials(credentials) = client {
            self.agents.authenticate(credentials).await?;
        }
        let authenticated = matches!(client, Presented::Credentials(_));
        let token = RefreshToken::parse(presented, &self.vault).ok_or(GrantError::InvalidGrant)?;
        if client
            .client_id()
            .is_some_and(|client_id| client_id != token.client_id)
        {
            return Err(GrantError::InvalidGrant);
        }
        let mut source = Source::Cache;
        for _ in 0..MAX_ATTEMPTS {
            let found = self
                .agents
                .by_client(token.client_id, source)
                .await?
                .ok_or(GrantError::InvalidGrant)?;
            source = Source::Store;
            let agent = &found.agent.value;
            let now = self.clock.now();
            let judged = redeemable(&token, agent, now).and_then(|()| {
                let offered = token.scope.intersection(&agent.scopes);
                self.grantable(&offered, requested)
            });
            let Some(scope) = final_word(judged, &found)? else {
                continue;
            };
            let redemption = Redemption {
                at: now,
                token_id: TokenId::random(),
                scope,
            };
            if let Some(granted) = self.redeem(&token, &found.agent, redemption).await? {
                return Ok(granted);
            }
            if revocation::family_is_revoked(&*self.store, agent.home(), token.family).await? {
                return Err(GrantError::InvalidGrant);
            }
            let Some(earlier) = token.redemption(&*self.store, agent.home()).await? else {
                continue;
            };
            if let Some(granted) = self
                .repeat(&token, &found.agent, earlier, authenticated)
                .await?
            {
                return Ok(granted);
            }
        }
        Err(GrantError::Contended)
    }

    /// Redeems the token for the first time. `None` when it was redeemed, its family revoked or the agent changed.
    async fn redeem(
        &self,
        token: &RefreshToken,
        stored: &StoredAgent,
        redemption: Redemption,
    ) -> Result<Option<Granted>, GrantError> {
        let agent = &stored.value;
        let now = redemption.at;
        let access = self.mint(agent, &redemption, Some(token.family))?;
        let batch = revocation::family_not_revoked(issue_to(stored), agent.home(), token.family);
        let batch = token.redeem(batch, agent.home(), &redemption);
        let batch = Counter::Refreshes.count(batch, agent.id, now);
        let batch = stats::count(batch, Stat::TokensRefreshed, 1);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(Some(self.granted(
                access,
                redemption,
                Some(token.successor()),
                now,
            ))),
            Outcome::Conflict => Ok(None),
        }
    }

    /// A redeemed token came again: the same answer within the grace, the end of the family otherwise. `None` when
    /// the agent changed meanwhile.
    async fn repeat(
        &self,
        token: &RefreshToken,
        stored: &StoredAgent,
        earlier: Redemption,
        authenticated: bool,
    ) -> Result<Option<Granted>, GrantError> {
        let agent = &stored.value;
        let now = self.clock.now();
        let successor = token.successor();
        let in_grace = now < earlier.at.saturating_add(REPEAT_GRACE);
        if !in_grace
            || successor
                .redemption(&*self.store, agent.home())
                .await?
                .is_some()
        {
            return self.reused(token, agent, now).await;
        }
        if !authenticated {
            // Whoever holds only the token gets nothing from repeating it, and cannot end the family either.
            return Err(GrantError::InvalidGrant);
        }
        let unchanged =
            revocation::family_not_revoked(issue_to(stored), agent.home(), token.family);
        let unchanged = successor.not_redeemed(unchanged, agent.home());
        match self.store.commit(&unchanged).await? {
            Outcome::Committed => {
                let access = self.mint(agent, &earlier, Some(token.family))?;
                Ok(Some(self.granted(access, earlier, Some(successor), now)))
            }
            Outcome::Conflict => Ok(None),
        }
    }

    /// A token that somebody went on from came again: one of the two holders stole it, so nobody keeps it.
    async fn reused<T>(
        &self,
        token: &RefreshToken,
        agent: &Agent,
        now: Timestamp,
    ) -> Result<T, GrantError> {
        tracing::warn!(agent.id = %agent.id, family = %token.family, "a refresh token was used again; its family is revoked");
        let batch =
            revocation::revoke_family(Batch::new(agent.home()), agent.home(), token.family, now);
        let batch = stats::count(batch, Stat::TokensRevoked, 1);
        match self.store.commit(&batch).await? {
            // A conflict means that somebody else revoked it at the same time.
            Outcome::Committed | Outcome::Conflict => Err(GrantError::InvalidGrant),
        }
    }

    fn grantable(
        &self,
        own: &ScopeSet,
        requested: Option<&ScopeSet>,
    ) -> Result<ScopeSet, GrantError> {
        let Some(requested) = requested.filter(|requested| !requested.is_empty()) else {
            return Ok(own.clone());
        };
        let granted = requested.intersection(own);
        let refused = match self.settings.scope_policy {
            ScopePolicy::Filter => granted.is_empty(),
            ScopePolicy::Strict => granted.len() < requested.len(),
        };
        if refused {
            Err(GrantError::InvalidScope)
        } else {
            Ok(granted)
        }
    }

    fn mint(
        &self,
        agent: &Agent,
        about: &Redemption,
        family: Option<FamilyId>,
    ) -> Result<AccessToken, GrantError> {
        let request = TokenRequest {
            id: about.token_id,
            scope: &about.scope,
            family,
            issued_at: about.at,
        };
        self.minter
            .mint(agent, request)
            .map_err(GrantError::Signing)
    }

    fn granted(
        &self,
        access: AccessToken,
        about: Redemption,
        refresh: Option<RefreshToken>,
        now: Timestamp,
    ) -> Granted {
        Granted {
            access_token: access.text,
            refresh_token: refresh.map(|token| token.to_text(&self.vault)),
            scope: about.scope,
            issued_at: about.at,
            expires_in: access.expires_at.as_secs().saturating_sub(now.as_secs()),
        }
    }
}

/// A refusal by a cached record is no refusal: `None` asks for a fresh one.
fn final_word<T>(judged: Result<T, GrantError>, found: &Found) -> Result<Option<T>, GrantError> {
    match judged {
        Ok(judged) => Ok(Some(judged)),
        Err(_) if found.source == Source::Cache => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn redeemable(token: &RefreshToken, agent: &Agent, now: Timestamp) -> Result<(), GrantError> {
    let alive = now < token.expires_at
        && token.generation == agent.generation
        && agent.may_act(now).is_ok();
    if alive {
        Ok(())
    } else {
        Err(GrantError::InvalidGrant)
    }
}
