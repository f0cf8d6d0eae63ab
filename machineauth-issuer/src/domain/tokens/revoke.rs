//! Ending a token (RFC 7009).

use super::{IssuedToken, Tokens, Unrecognized};
use crate::domain::activity::Happening;
use crate::domain::agents::Source;
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::id::{ClientId, OrganizationId, TeamId};
use crate::domain::revocation;
use crate::domain::stats::{self, Stat};
use crate::store::{Batch, Outcome, StoreError};

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

impl Tokens {
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
}
