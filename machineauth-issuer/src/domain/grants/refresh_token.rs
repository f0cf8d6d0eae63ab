//! The refresh token grant (RFC 6749 §6), with rotation and detection of re-use (RFC 9700 §4.14.2).

use std::time::Duration;

use machineauth_core::clock::Timestamp;

use super::{GrantError, Granted, Grants, MAX_ATTEMPTS, Requested};
use crate::domain::activity::Happening;
use crate::domain::agent::Agent;
use crate::domain::agents::{Found, Presented, Source, issue_to};
use crate::domain::event::{self, Action, Actor, By, Fact};
use crate::domain::id::TokenId;
use crate::domain::revocation;
use crate::domain::stats::{self, Stat};
use crate::domain::tokens::refresh::{Issuance, RefreshToken};
use crate::domain::usage::Counter;
use crate::store::{Batch, Outcome, StoreError};

/// How long an authenticated repeat of an issuance gets the same answer: a lost answer must not end an honest client.
const REPEAT_GRACE: Duration = Duration::from_secs(10);

impl Grants {
    /// Grants the next pair of tokens to whoever holds a refresh token.
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
        requested: &Requested,
        by: &By,
    ) -> Result<Granted, GrantError> {
        if let Presented::Credentials(credentials) = client {
            self.agents.authenticate(credentials).await?;
        }
        let authenticated = matches!(client, Presented::Credentials(_));
        let token = self.held(presented, client, requested)?;
        let mut source = Source::Cache;
        let mut is_counted = false;
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
                let scope = self.grantable(&offered, requested.scope.as_ref())?;
                let audience = self.same_audience(&token, agent, requested)?;
                // Once, however often the record changes underneath.
                if !is_counted {
                    self.within_plan(&found, now)?;
                    is_counted = true;
                }
                Ok((scope, audience))
            });
            let Some((scope, audience)) = self.final_word(judged, &found).await? else {
                continue;
            };
            let issuance = Issuance {
                at: now,
                token_id: TokenId::random(),
                scope,
                audience,
                key: requested.key,
            };
            if let Some(granted) = self.redeem(&token, &found, issuance, by).await? {
                return Ok(granted);
            }
            if revocation::family_is_revoked(&*self.store, agent.home(), token.family).await? {
                return Err(GrantError::InvalidGrant);
            }
            let Some(earlier) = token.redemption(&*self.store, agent.home()).await? else {
                continue;
            };
            if let Some(granted) = self
                .repeat(&token, &found, earlier, authenticated, by)
                .await?
            {
                return Ok(granted);
            }
        }
        Err(GrantError::Contended)
    }

    /// The token that was presented, if it is the client's, and bound to no key but the one that was shown.
    fn held(
        &self,
        presented: &str,
        client: &Presented,
        requested: &Requested,
    ) -> Result<RefreshToken, GrantError> {
        let token = RefreshToken::parse(presented, &self.vault).ok_or(GrantError::InvalidGrant)?;
        let is_the_clients = client
            .client_id()
            .is_none_or(|client_id| client_id == token.client_id);
        let key_was_shown = token.key.is_none() || token.key == requested.key;
        match is_the_clients && key_was_shown {
            true => Ok(token),
            false => Err(GrantError::InvalidGrant),
        }
    }

    /// The audience that the family was granted for, if the agent may still ask for it and the request is for no other
    /// (RFC 8707 §2.2).
    fn same_audience(
        &self,
        token: &RefreshToken,
        agent: &Agent,
        requested: &Requested,
    ) -> Result<Option<String>, GrantError> {
        let granted = self.audience(agent, token.audience.as_ref())?;
        match &requested.audience {
            Some(_) if self.audience(agent, requested.audience.as_ref())? != granted => {
                Err(GrantError::InvalidTarget)
            }
            _ => Ok(granted),
        }
    }

    /// Redeems the token for the first time. `None` when it was redeemed, its family revoked or the agent changed.
    async fn redeem(
        &self,
        token: &RefreshToken,
        found: &Found,
        issuance: Issuance,
        by: &By,
    ) -> Result<Option<Granted>, GrantError> {
        let agent = &found.agent.value;
        let now = issuance.at;
        let access = self.mint(found, &issuance, Some(token.family)).await?;
        let batch = revocation::family_not_revoked(issue_to(found), token.family);
        let batch = token.redeem(batch, &issuance);
        let batch = Counter::Refreshes.count(batch, agent.id, now);
        let batch = stats::count(batch, Stat::TokensRefreshed, 1);
        let activity = self.recorder.activity();
        let batch = activity.got_token(batch, Happening::Refreshed, agent, now);
        let grant = "refresh_token";
        let by = &by.known_as(Actor::Agent { id: agent.id });
        match self.commit(batch, agent, grant, &issuance, by).await? {
            Outcome::Committed => {
                let successor = Some(token.successor());
                Ok(Some(self.granted(access, issuance, successor, now)))
            }
            Outcome::Conflict => Ok(None),
        }
    }

    /// A redeemed token came again: the same answer within the grace, the end of the family otherwise. `None` when
    /// the agent changed meanwhile.
    async fn repeat(
        &self,
        token: &RefreshToken,
        found: &Found,
        earlier: Issuance,
        authenticated: bool,
        by: &By,
    ) -> Result<Option<Granted>, GrantError> {
        let agent = &found.agent.value;
        let now = self.clock.now();
        let successor = token.successor();
        let in_grace = now < earlier.at.saturating_add(REPEAT_GRACE);
        if !in_grace
            || successor
                .redemption(&*self.store, agent.home())
                .await?
                .is_some()
        {
            let by = match authenticated {
                true => &by.known_as(Actor::Agent { id: agent.id }),
                false => by,
            };
            self.end_family(token, agent, by, now).await?;
            return Err(GrantError::InvalidGrant);
        }
        if !authenticated {
            // Whoever holds only the token gets nothing from repeating it, and cannot end the family either.
            return Err(GrantError::InvalidGrant);
        }
        let unchanged = revocation::family_not_revoked(issue_to(found), token.family);
        let unchanged = successor.not_redeemed(unchanged);
        match self.store.commit(&unchanged).await? {
            Outcome::Committed => {
                let access = self.mint(found, &earlier, Some(token.family)).await?;
                Ok(Some(self.granted(access, earlier, Some(successor), now)))
            }
            Outcome::Conflict => Ok(None),
        }
    }

    /// A token that somebody went on from came again: one of the two holders stole it, so nobody keeps it.
    async fn end_family(
        &self,
        token: &RefreshToken,
        agent: &Agent,
        by: &By,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        tracing::warn!(agent.id = %agent.id, family = %token.family, "a refresh token was used again; its family is revoked");
        let batch = revocation::revoke_family(
            Batch::new(agent.home()),
            agent.organization_id,
            token.family,
            now,
        );
        let batch = stats::count(batch, Stat::TokensRevoked, 1);
        let activity = self.recorder.activity();
        let batch = activity.count(batch, Happening::Revoked, 1, now);
        let family = token.family;
        let fact = Fact::token(Action::TokenRefreshReused, agent, "refresh_family", &family);
        let batch = event::record(batch, fact, by, now);
        match self.store.commit(&batch).await? {
            // A conflict means that somebody else revoked it at the same time.
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
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
