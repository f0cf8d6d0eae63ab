//! An agent: our stored OAuth client, and what it may have.

mod machine;
mod profile;
mod public_key;

use std::net::IpAddr;
use std::time::Duration;

pub use machine::*;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::constant_time_eq;
use machineauth_core::scope::ScopeSet;
pub use profile::*;
pub use public_key::PublicKey;
use serde::{Deserialize, Serialize};

use super::id::{AgentId, ClientId, OrganizationId, SecretId, TeamId};
use super::json_object::JsonObject;
use super::password_hash::PasswordHash;
use super::secret::{SecretHash, SecretText, StoredSecret};
use super::vault::Vault;
use crate::store::Partition;

/// How many rotations an agent's record remembers.
pub const MAX_ROTATIONS: usize = 20;
/// The longest time that a replaced secret can go on working: 30 days.
pub const LONGEST_GRACE: Duration = Duration::from_secs(30 * 86_400);
/// How many secrets of an agent live at the same time, at most.
const MAX_SECRETS: usize = 2;

const AGENT_SECRET_PREFIX: &str = "cs_";

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
    /// What makes it a machine client, if it is one.
    #[serde(default)]
    pub machine: Option<MachineClient>,
    /// For people.
    pub name: String,
    /// For people. May be empty.
    #[serde(default)]
    pub description: String,
    /// For people and their programs.
    #[serde(default)]
    pub tags: Vec<String>,
    /// For people and their programs: a JSON object, not interpreted.
    #[serde(default)]
    pub metadata: JsonObject,
    /// The most that its tokens can carry.
    pub scopes: ScopeSet,
    /// An inactive agent gets no token, and its tokens are refused.
    pub is_active: bool,
    /// Whether it made itself inactive. What an administrator did, only an administrator undoes.
    #[serde(default)]
    pub suspended_itself: bool,
    /// Raised to refuse everything issued before; tokens carry it as `gen`.
    pub generation: u64,
    /// The secrets that authenticate it; more than one only during the grace of a rotation.
    pub secrets: Vec<StoredSecret>,
    /// When and from where its secret was rotated, the latest last; at most [`MAX_ROTATIONS`].
    #[serde(default)]
    pub rotations: Vec<Rotation>,
    /// How long its access tokens live. `None`: as long as its organization's or the server's.
    #[serde(default)]
    pub token_lifetime: Option<Duration>,
    /// Whether it gets refresh tokens, where the server issues them.
    #[serde(default = "yes")]
    pub refresh_tokens: bool,
    /// For whom it can ask tokens, beside the server's own audience (RFC 8707).
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Claims that its tokens carry as they are.
    #[serde(default)]
    pub claims: JsonObject,
    /// With what it can prove who it is, instead of with a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// When the agent was made.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// From when on the agent gets no token. `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// One rotation of an agent's secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// When.
    pub at: Timestamp,
    /// The address that asked for it.
    pub by: Option<IpAddr>,
}

fn yes() -> bool {
    true
}

/// Why a secret was not cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCancelled {
    /// The agent has no such live secret.
    NoSuchSecret,
    /// It is the one that the agent would be left without.
    Current,
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

    /// An agent that nobody can authenticate as, with as much in it as plain ones have.
    pub fn decoy(vault: &Vault, now: Timestamp) -> Self {
        let profile = AgentChange {
            name: Some("nobody".into()),
            scopes: ScopeSet::parse("read write").ok(),
            ..AgentChange::default()
        };
        let new = NewAgent {
            profile,
            ..NewAgent::default()
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
            machine: new.machine,
            name: String::new(),
            description: String::new(),
            tags: Vec::new(),
            metadata: JsonObject::default(),
            scopes: ScopeSet::new(),
            is_active: new.profile.is_active.unwrap_or(true),
            suspended_itself: false,
            generation: 0,
            secrets: Vec::new(),
            rotations: Vec::new(),
            token_lifetime: None,
            refresh_tokens: true,
            audiences: Vec::new(),
            claims: JsonObject::default(),
            public_key: None,
            created_at: now,
            updated_at: now,
            expires_at: new.expires_in.map(|lifetime| now.saturating_add(lifetime)),
        };
        new.profile.apply(&mut agent);
        let secret = agent.add_secret(vault, now);
        (agent, secret)
    }

    /// Checks everything that its types do not, for a record that was not made here.
    ///
    /// # Errors
    /// Names the field that does not hold what an agent can have.
    pub fn validate(&self) -> Result<(), InvalidAgent> {
        AgentChange::describing(self).validate()
    }

    /// Applies a change that was validated. Whether the agent is active is not among it.
    pub fn apply(&mut self, change: AgentChange, now: Timestamp) {
        change.apply(self);
        self.updated_at = now;
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> u32 {
        let texts = [
            &self.name,
            &self.description,
            self.metadata.as_str(),
            self.claims.as_str(),
        ];
        let lists = self.tags.iter().chain(&self.audiences).map(String::as_str);
        let scopes = self.scopes.iter().map(|scope| scope.as_str());
        let texts = texts.into_iter().chain(lists).chain(scopes);
        let bytes: usize = texts.map(|text| size_of::<String>() + text.len()).sum();
        let rotations = self.rotations.len() * size_of::<Rotation>();
        u32::try_from(size_of::<Self>() + bytes + rotations).unwrap_or(u32::MAX)
    }

    /// What the agent is called in OAuth.
    pub fn client_name(&self) -> String {
        match &self.machine {
            Some(_) => machine_client_id(self.client_id),
            None => self.client_id.to_string(),
        }
    }

    /// The partition in which the agent and all that belongs to it lives.
    pub fn home(&self) -> Partition {
        home(self.id, self.organization_id)
    }

    /// Makes a new secret, and lets the one before it go on working for `grace`. Older ones end.
    pub fn rotate(
        &mut self,
        vault: &Vault,
        now: Timestamp,
        grace: Duration,
        by: Option<IpAddr>,
    ) -> SecretText {
        let end = now.saturating_add(grace);
        self.secrets
            .retain(|secret| !grace.is_zero() && secret.is_live(now));
        let older = self.secrets.len().saturating_sub(MAX_SECRETS - 1);
        self.secrets.drain(..older);
        for secret in &mut self.secrets {
            secret.expires_at = Some(secret.expires_at.map_or(end, |earlier| earlier.min(end)));
        }
        self.rotations.push(Rotation { at: now, by });
        let forgotten = self.rotations.len().saturating_sub(MAX_ROTATIONS);
        self.rotations.drain(..forgotten);
        self.add_secret(vault, now)
    }

    /// Ends a secret before its time. The current one cannot be ended without a rotation.
    ///
    /// # Errors
    /// Why it was not.
    pub fn cancel_secret(&mut self, id: SecretId, now: Timestamp) -> Result<(), NotCancelled> {
        let at = self
            .secrets
            .iter()
            .position(|secret| secret.id == id && secret.is_live(now));
        let at = at.ok_or(NotCancelled::NoSuchSecret)?;
        if self.secrets[at].expires_at.is_none() {
            return Err(NotCancelled::Current);
        }
        self.secrets.remove(at);
        self.updated_at = now;
        Ok(())
    }

    fn add_secret(&mut self, vault: &Vault, now: Timestamp) -> SecretText {
        let secret = SecretText::generate(match &self.machine {
            Some(_) => machine::SECRET_PREFIX,
            None => AGENT_SECRET_PREFIX,
        });
        self.secrets.push(StoredSecret {
            id: SecretId::random(),
            hash: self.keyed_hash(&secret, vault),
            created_at: now,
            expires_at: None,
        });
        self.updated_at = now;
        secret
    }

    fn keyed_hash(&self, secret: &SecretText, vault: &Vault) -> SecretHash {
        SecretHash::Keyed {
            key: vault.data_key().to_string(),
            mac: vault.client_secret_mac(self.client_id, secret),
        }
    }

    /// Whether the agent may have tokens at `now`.
    ///
    /// # Errors
    /// Why not.
    pub fn may_act(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.expires_at.is_some_and(|end| end <= now) {
            Err(Refusal::Expired)
        } else if !self.is_active {
            Err(Refusal::Inactive)
        } else {
            Ok(())
        }
    }

    /// The secret that `secret` is, when it authenticates the agent, and the agent may act. Looks only at keyed hashes:
    /// see [`Agent::brought_secrets`] for the others.
    ///
    /// # Errors
    /// Why not. The keyed hash is computed and compared whatever the answer, so that time tells nothing (I3).
    pub fn authenticate(
        &self,
        secret: &SecretText,
        vault: &Vault,
        now: Timestamp,
    ) -> Result<SecretId, Refusal> {
        let presented = vault.client_secret_mac(self.client_id, secret);
        let known = self.secrets.iter().fold(None, |known, stored| {
            let SecretHash::Keyed { mac, .. } = &stored.hash else {
                return known;
            };
            let fits = constant_time_eq(mac, &presented) & stored.is_live(now);
            if fits { Some(stored.id) } else { known }
        });
        let known = known.ok_or(Refusal::WrongSecret)?;
        self.may_act(now).map(|()| known)
    }

    /// The live secrets that are still kept as another system hashed them.
    pub fn brought_secrets(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (SecretId, &PasswordHash)> {
        let live = self
            .secrets
            .iter()
            .filter(move |stored| stored.is_live(now));
        live.filter_map(|stored| match &stored.hash {
            SecretHash::Brought { password_hash } => Some((stored.id, password_hash)),
            SecretHash::Keyed { .. } => None,
        })
    }

    /// The agent with its secret `id` kept as a keyed hash, now that its text `secret` is known.
    #[must_use]
    pub fn with_keyed_hash(&self, id: SecretId, secret: &SecretText, vault: &Vault) -> Self {
        let mut agent = self.clone();
        let hash = self.keyed_hash(secret, vault);
        if let Some(stored) = agent.secrets.iter_mut().find(|stored| stored.id == id) {
            stored.hash = hash;
        }
        agent
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machineauth_core::clock::ManualClock;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::vault::ServerKey;
    use crate::store::MemoryStore;

    fn vault() -> Vault {
        let clock = ManualClock::new(Timestamp::from_secs(0));
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime
            .block_on(Vault::open(&store, &ServerKey::generate(), None, &clock))
            .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However it is rotated, the newest secret works, at most one other does, and none beyond its grace.
        #[test]
        fn at_most_two_secrets_live(steps in prop::collection::vec((0_u64..100, 0_u64..300), 1..12)) {
            let vault = vault();
            let mut now = Timestamp::from_secs(1_800_000_000);
            let (mut agent, first) = Agent::with_first_secret(NewAgent::default(), &vault, now);
            let mut secrets = vec![(first, None)];
            for (grace, pause) in steps {
                let secret = agent.rotate(&vault, now, Duration::from_secs(grace), None);
                for (_, end) in &mut secrets {
                    let graced = now.saturating_add(Duration::from_secs(grace));
                    *end = Some(end.map_or(graced, |end: Timestamp| end.min(graced)));
                }
                secrets.push((secret, None));
                now = now.saturating_add(Duration::from_secs(pause));
                let works = |secret: &SecretText| agent.authenticate(secret, &vault, now).is_ok();
                prop_assert!(works(&secrets[secrets.len() - 1].0));
                prop_assert!(secrets.iter().filter(|(secret, _)| works(secret)).count() <= 2);
                for (secret, end) in &secrets {
                    prop_assert!(!works(secret) || end.is_none_or(|end| now < end));
                }
                let before = &secrets[secrets.len() - 2];
                prop_assert_eq!(works(&before.0), before.1.is_some_and(|end| now < end));
            }
        }
    }
}
