//! The client credentials grant (RFC 6749 §4.4).

use super::{GrantError, Granted, Grants, MAX_ATTEMPTS, Requested};
use crate::domain::activity::Happening;
use crate::domain::agent::Agent;
use crate::domain::agents::{AuthenticationError, Credentials, Found, Proven, Source, issue_to};
use crate::domain::event::{Actor, By};
use crate::domain::id::TokenId;
use crate::domain::stats::{self, Stat};
use crate::domain::tokens::refresh::{Issuance, RefreshToken};
use crate::domain::usage::Counter;
use crate::store::Outcome;

impl Grants {
    /// Grants a token to a client that proves who it is.
    ///
    /// # Errors
    /// [`GrantError::InvalidClient`], [`GrantError::InvalidScope`], or what failed on our side.
    pub async fn client_credentials(
        &self,
        credentials: &Credentials,
        requested: &Requested,
        by: &By,
    ) -> Result<Granted, GrantError> {
        let mut source = Source::Cache;
        let mut is_counted = false;
        for _ in 0..MAX_ATTEMPTS {
            let Some(found) = self.agents.by_client(credentials.client_id, source).await? else {
                return Err(self.agents.refuse_unknown(credentials).into());
            };
            source = Source::Store;
            let agent = &found.agent.value;
            let now = self.clock.now();
            let proven = match self.agents.prove(&found, credentials).await {
                Ok(proven) => Ok(proven),
                Err(AuthenticationError::Refused) => Err(GrantError::InvalidClient),
                Err(failed) => return Err(failed.into()),
            };
            let judged = proven.and_then(|proven| {
                let scope = self.grantable(&agent.scopes, requested.scope.as_ref())?;
                let audience = self.audience(agent, requested.audience.as_ref())?;
                // Once, however often the record changes underneath.
                if !is_counted {
                    self.within_plan(&found, now)?;
                    is_counted = true;
                }
                Ok((proven, scope, audience))
            });
            let Some((proven, scope, audience)) = self.final_word(judged, &found).await? else {
                continue;
            };
            if let Proven::ByAssertion(assertion) = &proven
                && assertion.was_used(&*self.store, agent.home()).await?
            {
                return Err(GrantError::InvalidClient);
            }
            let issuance = Issuance {
                at: now,
                token_id: TokenId::random(),
                scope,
                audience,
                key: requested.key,
            };
            if let Some(granted) = self.issue(&found, &proven, issuance, by).await? {
                return Ok(granted);
            }
        }
        Err(GrantError::Contended)
    }

    /// Issues a token to a client that has proven who it is. `None` when its record changed meanwhile.
    async fn issue(
        &self,
        found: &Found,
        proven: &Proven,
        issuance: Issuance,
        by: &By,
    ) -> Result<Option<Granted>, GrantError> {
        let agent = &found.agent.value;
        let now = issuance.at;
        let refresh = self.first_refresh_token(agent, &issuance);
        let family = refresh.as_ref().map(|token| token.family);
        let access = self.mint(found, &issuance, family).await?;
        let batch = Counter::Tokens.count(issue_to(found), agent.id, now);
        let batch = stats::count(batch, Stat::TokensIssued, 1);
        let activity = self.recorder.activity();
        let batch = activity.got_token(batch, Happening::Issued, agent, now);
        let batch = self.agents.proven(batch, proven, now);
        let grant = "client_credentials";
        let by = &by.known_as(Actor::Agent { id: agent.id });
        match self.commit(batch, agent, grant, &issuance, by).await? {
            Outcome::Committed => {
                if proven.changes_the_record() {
                    self.agents.forget(agent.client_id);
                }
                Ok(Some(self.granted(access, issuance, refresh, now)))
            }
            Outcome::Conflict => Ok(None),
        }
    }

    /// The token that a family of them begins with, where the server and the agent are for them.
    fn first_refresh_token(&self, agent: &Agent, issuance: &Issuance) -> Option<RefreshToken> {
        let lifetime = self.settings.refresh_lifetime;
        let lifetime = lifetime.filter(|_| agent.refresh_tokens)?;
        let token = RefreshToken::first(
            agent.client_id,
            agent.generation,
            issuance.scope.clone(),
            issuance.audience.clone(),
            issuance.at.saturating_add(lifetime),
        );
        Some(token.bound_to(issuance.key))
    }
}
