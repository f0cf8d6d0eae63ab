//! A token for an agent that an administrator wants to try something with.

use super::{GrantError, Granted, Grants, MAX_ATTEMPTS, Requested};
use crate::domain::activity::Happening;
use crate::domain::agents::{Source, issue_to};
use crate::domain::event::By;
use crate::domain::id::{ClientId, TokenId};
use crate::domain::stats::{self, Stat};
use crate::domain::tokens::refresh::Issuance;
use crate::domain::usage::Counter;
use crate::store::Outcome;

impl Grants {
    /// Grants to `by`, who administers the client, an access token as the client itself would get. There is no refresh token
    /// beside it: a trial ends. It does not count towards the rate of the organization's plan, and is not held up by it.
    ///
    /// # Errors
    /// [`GrantError::InvalidClient`] when the client may have no token, [`GrantError::InvalidScope`],
    /// [`GrantError::InvalidTarget`], or what failed on our side.
    pub async fn trial(
        &self,
        client: ClientId,
        requested: &Requested,
        by: &By,
    ) -> Result<Granted, GrantError> {
        for _ in 0..MAX_ATTEMPTS {
            let found = self.agents.by_client(client, Source::Store).await?;
            let found = found.ok_or(GrantError::InvalidClient)?;
            let agent = &found.agent.value;
            let now = self.clock.now();
            agent.may_act(now).map_err(|_| GrantError::InvalidClient)?;
            let scope = self.grantable(&agent.scopes, requested.scope.as_ref())?;
            let audience = self.audience(agent, requested.audience.as_ref())?;
            let issuance = Issuance {
                at: now,
                token_id: TokenId::random(),
                scope,
                audience,
                key: None,
            };
            let access = self.mint(&found, &issuance, None).await?;
            let batch = Counter::Tokens.count(issue_to(&found), agent.id, now);
            let batch = stats::count(batch, Stat::TokensIssued, 1);
            let activity = self.recorder.activity();
            let batch = activity.got_token(batch, Happening::Issued, agent, now);
            if self.commit(batch, agent, "trial", &issuance, by).await? == Outcome::Committed {
                return Ok(self.granted(access, issuance, None, now));
            }
        }
        Err(GrantError::Contended)
    }
}
