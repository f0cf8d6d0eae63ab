//! Grants: judging who may have a token, signing it, and committing that it was issued.
//!
//! A token is signed before the commit and handed out after it. The commit insists that the agent's record is still
//! the version that was judged, so an agent that was deactivated, rotated or deleted meanwhile never gets a token:
//! the commit fails, the record is read again and the judgement repeated.

mod client_credentials;
mod refresh_token;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::dpop::Thumbprint;
use machineauth_core::quota::Exhausted;
use machineauth_core::scope::ScopeSet;

use super::agent::Agent;
use super::agents::{Agents, AuthenticationError, Found};
use super::event::{self, Action, By, Fact, Recorder};
use super::id::FamilyId;
use super::keys::{KeyError, KeyRings, RingName};
use super::plans::TokenRates;
use super::tokens::access::{AccessContent, AccessToken, Minter};
use super::tokens::refresh::{Issuance, RefreshToken};
use super::vault::Vault;
use super::verifications::Overloaded;
use crate::store::{Batch, DynStore, Outcome, StoreError};

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

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct Requested {
    /// Everything that it may have, when it does not say.
    pub scope: Option<ScopeSet>,
    /// Whom the token is to be meant for (RFC 8707); the server's own audience, when it does not say.
    pub audience: Option<String>,
    /// The key that the client has proven to have, and that the token is to be bound to (RFC 9449 §5).
    pub key: Option<Thumbprint>,
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
    /// The access token is bound to a key.
    pub is_bound: bool,
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
    /// None of the requested scopes may be granted, or under [`ScopePolicy::Strict`] not all of them.
    #[error("the requested scopes may not be granted to this client")]
    InvalidScope(ScopePolicy),
    /// The client may not have tokens for that audience (RFC 8707 §2).
    #[error("the requested audience is not one of this client's")]
    InvalidTarget,
    /// Too many secrets are being verified.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The organization's tokens of this moment are used up, as its plan has it.
    #[error("the organization gets as many tokens as its plan allows")]
    TooMany(Exhausted),
    /// The record kept changing while it was judged.
    #[error("the client is being changed by many at once; try again")]
    Contended,
    /// The organization's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// There is no key to sign with.
    #[error("there is no signing key")]
    NoKey,
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
            AuthenticationError::Overloaded(error) => Self::Overloaded(error),
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
    /// What signs.
    pub keys: Arc<KeyRings>,
    /// Writes tokens.
    pub minter: Minter,
    /// Records what is granted.
    pub recorder: Arc<Recorder>,
    /// How this server grants.
    pub settings: GrantSettings,
    /// How many tokens organizations get.
    pub rates: TokenRates,
}

impl Grants {
    /// A refusal by an outdated record is no refusal: `None` asks to judge by the record as it stands. One by a record that
    /// has not changed is not judged again, so that a wrong secret costs what an unknown client does (I3).
    async fn final_word<T>(
        &self,
        judged: Result<T, GrantError>,
        found: &Found,
    ) -> Result<Option<T>, GrantError> {
        match judged {
            Ok(judged) => Ok(Some(judged)),
            Err(refusal) if self.agents.is_current(found).await? => Err(refusal),
            Err(_) => Ok(None),
        }
    }

    /// Counts a token against what the plan of the client's organization allows.
    fn within_plan(&self, found: &Found, now: Timestamp) -> Result<(), GrantError> {
        match &found.organization {
            Some(organization) => self
                .rates
                .take(&organization.value, now)
                .map_err(GrantError::TooMany),
            None => Ok(()),
        }
    }

    /// Commits the batch that issues a token to `agent`, and records that `by` got it: in the batch itself, in the sum of the
    /// minute, or in both.
    async fn commit(
        &self,
        batch: Batch,
        agent: &Agent,
        grant: &'static str,
        about: &Issuance,
        by: &By,
    ) -> Result<Outcome, StoreError> {
        let issued = Action::TokenIssued;
        let batch = match self.recorder.wants_each_token(agent) {
            false => batch,
            true => {
                let fact = Fact::token(issued, agent, "token", &about.token_id)
                    .with("grant", grant)
                    .with("scope", about.scope.to_string());
                event::record(batch, fact, by, about.at)
            }
        };
        let outcome = self.store.commit(&batch).await?;
        if outcome == Outcome::Committed && self.recorder.wants_sums(agent) {
            self.recorder.count_token(issued, agent, about.at);
        }
        Ok(outcome)
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
            Err(GrantError::InvalidScope(self.settings.scope_policy))
        } else {
            Ok(granted)
        }
    }

    /// The audience for which a token is granted, of those that the agent may ask for; `None` for the server's own.
    fn audience(
        &self,
        agent: &Agent,
        requested: Option<&String>,
    ) -> Result<Option<String>, GrantError> {
        match requested {
            Some(audience) if *audience == self.minter.settings().audience => Ok(None),
            Some(audience) if !agent.audiences.contains(audience) => Err(GrantError::InvalidTarget),
            requested => Ok(requested.cloned()),
        }
    }

    async fn mint(
        &self,
        found: &Found,
        about: &Issuance,
        family: Option<FamilyId>,
    ) -> Result<AccessToken, GrantError> {
        let content = AccessContent {
            id: about.token_id,
            scope: &about.scope,
            audience: about.audience.as_deref(),
            family,
            key: about.key,
            issued_at: about.at,
        };
        let organization = found.organization.as_deref().map(|stored| &stored.value);
        let keys = match organization.filter(|organization| organization.issuer.is_some()) {
            None => self.keys.server().state(),
            Some(organization) => {
                let name = RingName::Organization(organization.id);
                self.keys.signing(name).await?.state()
            }
        };
        let key = keys.signer(about.at).ok_or(GrantError::NoKey)?;
        self.minter
            .mint(key, &found.agent.value, organization, content)
            .map_err(GrantError::Signing)
    }

    fn granted(
        &self,
        access: AccessToken,
        about: Issuance,
        refresh: Option<RefreshToken>,
        now: Timestamp,
    ) -> Granted {
        Granted {
            access_token: access.text,
            refresh_token: refresh.map(|token| token.to_text(&self.vault)),
            scope: about.scope,
            is_bound: about.key.is_some(),
            issued_at: about.at,
            expires_in: access.expires_at.as_secs().saturating_sub(now.as_secs()),
        }
    }
}
