//! An agent: our stored OAuth client, and what it may have.

use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::constant_time_eq;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};

use super::id::{AgentId, ClientId, OrganizationId, SecretId, TeamId};
use super::secret::{SecretText, StoredSecret};
use super::vault::Vault;
use crate::store::Partition;

/// The longest accepted name, in characters.
pub const MAX_NAME: usize = 200;
/// The most scopes that one agent can have.
pub const MAX_SCOPES: usize = 100;
/// The longest scope, in characters.
pub const MAX_SCOPE: usize = 128;
/// The longest list of scopes as one text, in characters: a token with all of them stays well below what verifiers take.
pub const MAX_SCOPE_TEXT: usize = 4096;
/// The longest accepted credential lifetime: a hundred years, in seconds.
pub const MAX_EXPIRES_IN: u64 = 100 * 365 * 86_400;

const SECRET_PREFIX: &str = "cs_";

/// The stored record of an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Agent {
    /// Names the agent in the API.
    pub id: AgentId,
    /// Names the agent in OAuth.
    pub client_id: ClientId,
    /// Whom it belongs to. `None`: to the server alone, and then it never administers.
    #[serde(default)]
    pub organization_id: Option<OrganizationId>,
    /// The team of that organization that it belongs to.
    #[serde(default)]
    pub team_id: Option<TeamId>,
    /// For people.
    pub name: String,
    /// The most that its tokens can carry.
    pub scopes: ScopeSet,
    /// An inactive agent gets no token, and its tokens are refused.
    pub is_active: bool,
    /// Raised to refuse everything issued before; tokens carry it as `gen`.
    pub generation: u64,
    /// The secrets that authenticate it; more than one only during the grace of a rotation.
    pub secrets: Vec<StoredSecret>,
    /// When the agent was made.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// From when on the agent gets no token. `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// Whom it will belong to; the caller has made sure that it exists.
    pub organization_id: Option<OrganizationId>,
    /// Its team there.
    pub team_id: Option<TeamId>,
    /// For people; 1 to [`MAX_NAME`] characters.
    pub name: String,
    /// At most [`MAX_SCOPES`].
    pub scopes: ScopeSet,
    /// How long the agent gets tokens; 1 s to [`MAX_EXPIRES_IN`].
    pub expires_in: Option<Duration>,
}

/// A value that an agent cannot have. The text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAgent {
    /// The name is empty, too long, or holds control characters.
    #[error("name: 1 to {MAX_NAME} characters, no control characters")]
    Name,
    /// More scopes than one agent can have, or longer ones.
    #[error(
        "scopes: at most {MAX_SCOPES}, each of at most {MAX_SCOPE} characters, {MAX_SCOPE_TEXT} together"
    )]
    Scopes,
    /// A lifetime of nothing, or of more than a century.
    #[error("expires_in: 1 to {MAX_EXPIRES_IN} seconds")]
    ExpiresIn,
}

/// Why an agent gets nothing at this moment. Never told to a stranger: to them it is all one `invalid_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was deactivated.
    Inactive,
    /// Its lifetime is over.
    Expired,
    /// The secret is not one of its live ones.
    WrongSecret,
}

/// The partition in which an agent and all that belongs to it lives: its organization's, or its own.
///
/// An identifier that we mint falls into that partition; one that was imported may not.
pub fn home(agent: AgentId, organization: Option<OrganizationId>) -> Partition {
    organization.map_or_else(
        || agent.partition(),
        |organization| organization.partition(),
    )
}

impl NewAgent {
    fn validate(&self) -> Result<(), InvalidAgent> {
        let characters = self.name.chars().count();
        if self.name.trim().is_empty()
            || characters > MAX_NAME
            || self.name.chars().any(char::is_control)
        {
            return Err(InvalidAgent::Name);
        }
        let text: usize = self
            .scopes
            .iter()
            .map(|scope| scope.as_str().len() + 1)
            .sum();
        let each_fits = self
            .scopes
            .iter()
            .all(|scope| scope.as_str().len() <= MAX_SCOPE);
        if self.scopes.len() > MAX_SCOPES || text > MAX_SCOPE_TEXT || !each_fits {
            return Err(InvalidAgent::Scopes);
        }
        match self.expires_in.map(|lifetime| lifetime.as_secs()) {
            Some(0) => Err(InvalidAgent::ExpiresIn),
            Some(seconds) if seconds > MAX_EXPIRES_IN => Err(InvalidAgent::ExpiresIn),
            _ => Ok(()),
        }
    }
}

impl Agent {
    /// A new agent with its first secret.
    ///
    /// # Errors
    /// Names the field that does not hold what an agent can have.
    pub fn create(
        new: NewAgent,
        vault: &Vault,
        now: Timestamp,
    ) -> Result<(Self, SecretText), InvalidAgent> {
        new.validate()?;
        Ok(Self::with_first_secret(new, vault, now))
    }

    /// An agent that nobody can authenticate as and that is stored nowhere.
    pub fn decoy(vault: &Vault, now: Timestamp) -> Self {
        let new = NewAgent {
            organization_id: None,
            team_id: None,
            name: "nobody".to_owned(),
            scopes: ScopeSet::new(),
            expires_in: None,
        };
        Self::with_first_secret(new, vault, now).0
    }

    fn with_first_secret(new: NewAgent, vault: &Vault, now: Timestamp) -> (Self, SecretText) {
        let id = match new.organization_id {
            Some(organization) => AgentId::random_in(organization.partition()),
            None => AgentId::random(),
        };
        let mut agent = Self {
            id,
            client_id: ClientId::random_in(id.partition()),
            organization_id: new.organization_id,
            team_id: new.team_id,
            name: new.name,
            scopes: new.scopes,
            is_active: true,
            generation: 0,
            secrets: Vec::new(),
            created_at: now,
            updated_at: now,
            expires_at: new.expires_in.map(|lifetime| now.saturating_add(lifetime)),
        };
        let secret = agent.replace_secret(vault, now);
        (agent, secret)
    }

    /// The partition in which the agent and all that belongs to it lives.
    pub fn home(&self) -> Partition {
        home(self.id, self.organization_id)
    }

    /// Makes a new secret the only one.
    pub fn replace_secret(&mut self, vault: &Vault, now: Timestamp) -> SecretText {
        let secret = SecretText::generate(SECRET_PREFIX);
        self.secrets = vec![StoredSecret {
            id: SecretId::random(),
            key: vault.data_key().to_string(),
            mac: vault.client_secret_mac(self.client_id, &secret),
            created_at: now,
            expires_at: None,
        }];
        self.updated_at = now;
        secret
    }

    /// Whether the agent may have tokens at `now`.
    ///
    /// # Errors
    /// Why not.
    pub fn may_act(&self, now: Timestamp) -> Result<(), Refusal> {
        if !self.is_active {
            Err(Refusal::Inactive)
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }

    /// Whether `secret` authenticates the agent, which may act.
    ///
    /// # Errors
    /// Why not. The keyed hash is computed and compared whatever the answer, so that time tells nothing (I3).
    pub fn authenticate(
        &self,
        secret: &SecretText,
        vault: &Vault,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let presented = vault.client_secret_mac(self.client_id, secret);
        let known = self.secrets.iter().fold(false, |known, stored| {
            known | (constant_time_eq(&stored.mac, &presented) & stored.is_live(now))
        });
        if !known {
            return Err(Refusal::WrongSecret);
        }
        self.may_act(now)
    }
}
