//! Issued tokens: recognising one, what is true of it right now, and ending it.

pub mod access;
pub mod refresh;
pub mod said;

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::ErrorKind;
use machineauth_core::claims::Claims;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::jws::Jws;
use machineauth_core::scope::ScopeSet;
use machineauth_core::verifier::Agent as VerifiedAgent;
use refresh::RefreshToken;

use super::activity::Happening;
use super::agent::{Refusal, TOKEN_PREFIX, home};
use super::agents::{Agents, Source, StoredAgent};
use super::event::{self, Action, By, Fact, Recorder};
use super::id::{AgentId, ClientId, FamilyId, OrganizationId, TeamId, TokenId};
use super::keys::{KeyRings, RingName};
use super::revocation;
use super::stats::{self, Stat};
use super::vault::Vault;
use crate::store::{Batch, DynStore, Outcome, Partition, StoreError};

/// How long strangers' tokens with unknown keys make nobody ask the store again.
const KEYS_COOL_DOWN: Duration = Duration::from_secs(1);

/// A token that this server signed. Nothing is said about whether it can be used.
#[derive(Debug)]
pub enum IssuedToken {
    /// A JWT for resource servers.
    Access(IssuedAccessToken),
    /// A value for the token endpoint.
    Refresh(RefreshToken),
}

/// An access token, and the identifiers in it.
#[derive(Debug)]
pub struct IssuedAccessToken {
    claims: TokenClaims,
    agent: AgentId,
    organization: Option<OrganizationId>,
    client: ClientId,
    token: TokenId,
    family: Option<FamilyId>,
    generation: u64,
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

/// What a token says, and why that is believed.
#[derive(Debug)]
enum TokenClaims {
    /// We signed it.
    Signed(Arc<VerifiedAgent>),
    /// We sealed it.
    Sealed(Box<Claims>),
}

impl TokenClaims {
    fn claims(&self) -> &Claims {
        match self {
            Self::Signed(verified) => verified.claims(),
            Self::Sealed(claims) => claims,
        }
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

/// Who ends a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoker {
    /// Whoever has it in hand.
    Holder,
    /// A client, its own tokens.
    Client(ClientId),
    /// An organization, or a team of it, those of its agents.
    Tenant(OrganizationId, Option<TeamId>),
}

/// Why a revocation was refused.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The token was issued to another client (RFC 7009 §2.1).
    #[error("the token was issued to another client")]
    NotYours,
    /// Whether it is a token of ours cannot be told at the moment.
    #[error("the keys cannot be read")]
    KeysUnavailable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IssuedToken {
    /// The client that it was issued to.
    pub fn client_id(&self) -> ClientId {
        match self {
            Self::Access(token) => token.client,
            Self::Refresh(token) => token.client_id,
        }
    }

    /// From when on it cannot be used.
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::Access(token) => Timestamp::from_secs(token.claims().expires_at),
            Self::Refresh(token) => token.expires_at,
        }
    }
}

impl IssuedAccessToken {
    fn read(known: TokenClaims) -> Option<Self> {
        let claims = known.claims();
        Some(Self {
            agent: claims.agent_id.as_deref()?.parse().ok()?,
            organization: claims
                .organization_id
                .as_deref()
                .map(str::parse)
                .transpose()
                .ok()?,
            client: claims.subject.parse().ok()?,
            token: claims.jwt_id.as_deref()?.parse().ok()?,
            family: claims
                .family_id
                .as_deref()
                .map(str::parse)
                .transpose()
                .ok()?,
            generation: claims.generation?,
            claims: known,
        })
    }

    /// The partition that its agent lives in.
    fn home(&self) -> Partition {
        home(self.agent, self.organization)
    }

    /// What happened to it.
    fn fact(&self, action: Action) -> Fact {
        let team = self.claims().team_id.as_deref();
        let team = team.and_then(|team| team.parse().ok());
        Fact::new(action)
            .about(self.agent, self.organization, team)
            .on("token", &self.token)
    }

    /// Everything that it says.
    pub fn claims(&self) -> &Claims {
        self.claims.claims()
    }
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

    /// Whether the token was issued to an agent of `organization`, and of `team` where one is named.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn is_of(
        &self,
        token: &IssuedToken,
        organization: OrganizationId,
        team: Option<TeamId>,
    ) -> Result<bool, StoreError> {
        if let (IssuedToken::Access(token), None) = (token, team) {
            return Ok(token.organization == Some(organization));
        }
        let client = token.client_id();
        let found = self.agents.by_client(client, Source::Cache).await?;
        Ok(found.is_some_and(|found| {
            let agent = &found.agent.value;
            agent.organization_id == Some(organization) && (team.is_none() || agent.team_id == team)
        }))
    }

    /// Revokes the token: an access token alone, a refresh token with its whole family (RFC 7009 §2.1).
    ///
    /// What is not a token of this server is left alone without an error: its purpose, that nobody can use it, is
    /// already met (RFC 7009 §2.2). An access token that has just expired is revoked all the same, since a verifier
    /// whose clock is behind would still accept it.
    ///
    /// # Errors
    /// [`RevokeError::NotYours`] when `revoker` may end only what is its own, and the token is another's.
    pub async fn revoke(&self, text: &str, revoker: Revoker, by: &By) -> Result<(), RevokeError> {
        let token = match self.recognize(text).await {
            Ok(token) => token,
            Err(Unrecognized::LongExpired | Unrecognized::Unknown) => return Ok(()),
            Err(Unrecognized::KeysUnavailable) => return Err(RevokeError::KeysUnavailable),
        };
        let is_its_own = match revoker {
            Revoker::Holder => true,
            Revoker::Client(client) => client == token.client_id(),
            Revoker::Tenant(organization, team) => self.is_of(&token, organization, team).await?,
        };
        if !is_its_own {
            return Err(RevokeError::NotYours);
        }
        let now = self.clock.now();
        let (batch, fact) = match &token {
            IssuedToken::Access(access) => {
                let batch = Batch::new(access.home());
                let batch = revocation::revoke_token(
                    batch,
                    access.organization,
                    access.token,
                    token.expires_at(),
                );
                (batch, access.fact(Action::TokenRevoked))
            }
            IssuedToken::Refresh(refresh) => {
                let found = self
                    .agents
                    .by_client(refresh.client_id, Source::Store)
                    .await?;
                let Some(found) = found else { return Ok(()) };
                let agent = &found.agent.value;
                let batch = Batch::new(agent.home());
                let batch =
                    revocation::revoke_family(batch, agent.organization_id, refresh.family, now);
                let family = refresh.family;
                let fact = Fact::token(Action::TokenRevoked, agent, "refresh_family", &family);
                (batch, fact)
            }
        };
        let batch = stats::count(batch, Stat::TokensRevoked, 1);
        let activity = self.recorder.activity();
        let batch = activity.count(batch, Happening::Revoked, 1, now);
        match self
            .store
            .commit(&event::record(batch, fact, by, now))
            .await?
        {
            // The batch insists only on not having been revoked before.
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }
}
