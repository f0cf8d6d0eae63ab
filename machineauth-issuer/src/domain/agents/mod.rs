//! The agents of this server: creating, finding, changing and deleting them.

mod authentication;
mod decoy;
mod directory;
mod ending;
mod import;
mod index;
mod list;
mod rotation;
mod seats;
mod suspension;

use std::sync::Arc;

pub use authentication::{AuthenticationError, Credentials, Method, Presented, Proven};
pub use directory::{Found, Source, StoredAgent};
pub use index::{Order, Place, SORTED_NAME, Shelf};
pub use list::{AgentQuery, is_name_prefix};
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::{Algorithm, SigningKey};
pub use rotation::Rotation;
pub use seats::forget_seats;
use serde::{Deserialize, Serialize};
pub use suspension::Suspension;

use self::ending::end_generation;
use self::rotation::secret_used_key;
use self::suspension::{resume, suspend};
use super::agent::{Agent, AgentChange, InvalidAgent, LONGEST_GRACE, NewAgent, PublicKey};
use super::event::{self, Action, By, Fact};
use super::id::{AgentId, ClientId, OrganizationId, SecretId, TeamId};
use super::last_use::LastUses;
use super::organization::Plan;
use super::organizations::{self, StoredOrganization};
use super::plans::PlanSettings;
use super::secret::SecretText;
use super::stats::{self, Stat};
use super::teams::{self, Team};
use super::vault::Vault;
use super::verifications::Verifications;
use crate::store::{
    Batch, DynStore, Key, Outcome, Partition, StoreError, Table, Version, Versioned,
};

const AGENTS: Table<Agent> = Table::new("agent", 1);
/// Says which agent a `client_id` is. Written once with the agent, deleted with it.
const CLIENTS: Table<DirectoryEntry> = Table::new("client", 1);

/// Says to which organization an agent belongs whose identifier falls into another partition than its home.
const ELSEWHERE: Table<OrganizationId> = Table::new("elsewhere", 1);

/// How much memory the cache of clients takes, in bytes: room for some 100,000 agents with little to say of them.
const CACHED_CLIENTS: u64 = 128 * 1024 * 1024;
/// How often a write is tried again when somebody else's came first.
const MAX_ATTEMPTS: usize = 16;
const SCAN_PAGE: usize = 500;

#[derive(Serialize, Deserialize)]
struct DirectoryEntry {
    agent_id: AgentId,
    #[serde(default)]
    organization_id: Option<OrganizationId>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no such agent.
    #[error("there is no such agent")]
    NotFound,
    /// The agent would belong to an organization that does not exist.
    #[error("organization_id: there is no such organization")]
    NoSuchOrganization,
    /// The agent would belong to a team that does not exist in its organization.
    #[error("team_id: the organization has no such team")]
    NoSuchTeam,
    /// The organization has as many agents as its plan allows.
    #[error("an organization on the {} plan has at most {agents} agents: delete some, or have another plan set", plan.as_str())]
    PlanExhausted {
        /// The organization's plan.
        plan: Plan,
        /// How many agents that allows.
        agents: u32,
    },
    /// The record would not be valid.
    #[error(transparent)]
    Invalid(#[from] InvalidAgent),
    /// The grace of a rotation is longer than any can be.
    #[error("grace: at most {} seconds", LONGEST_GRACE.as_secs())]
    Grace,
    /// The agent has no such secret.
    #[error("there is no such secret")]
    NoSuchSecret,
    /// The agent would be left without a secret.
    #[error("this is the agent's current secret: rotate it instead")]
    CurrentSecret,
    /// The agent was suspended by an administrator.
    #[error("the agent was deactivated by an administrator, and only one can reactivate it")]
    NotByItself,
    /// The record is not at the version that the change was made for.
    #[error("the agent has changed since; read it again")]
    Outdated,
    /// Too many others changed the same record at the same time.
    #[error("the agent is being changed by many at once; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All agents.
#[derive(Debug)]
pub struct Agents {
    store: DynStore,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    by_client: moka::sync::Cache<ClientId, directory::Member>,
    secret_uses: LastUses<SecretId>,
    verifications: Verifications,
    seats: seats::Seats,
    decoy: decoy::Decoy,
    /// The names of this server, for one of which an assertion must be made.
    names: Vec<String>,
    /// What refuses the assertions of agents without a key.
    nobodys_key: PublicKey,
}

impl Agents {
    /// The agents in `store`, of which organizations have as many as `plans` allow. An assertion of who they are is made for
    /// one of `names`.
    pub fn new(
        store: DynStore,
        clock: Arc<dyn Clock>,
        vault: Arc<Vault>,
        names: Vec<String>,
        plans: PlanSettings,
    ) -> Self {
        let nobodys_key = SigningKey::generate(Algorithm::EdDSA).expect("keys can be made");
        let decoy = decoy::Decoy::new(&vault, clock.now());
        Self {
            store,
            clock,
            vault,
            by_client: moka::sync::Cache::builder()
                .max_capacity(CACHED_CLIENTS)
                .weigher(|_, (agent, _): &directory::Member| agent.value.weight())
                .build(),
            secret_uses: LastUses::new(),
            verifications: Verifications::new(),
            seats: seats::Seats::new(plans),
            decoy,
            names,
            nobodys_key: nobodys_key.public_jwk("").into(),
        }
    }

    /// Creates an agent. The secret is returned here and never again.
    ///
    /// # Errors
    /// [`AgentError::Invalid`] names the field that cannot be accepted, [`AgentError::PlanExhausted`] the limit.
    pub async fn create(&self, new: NewAgent, by: &By) -> Result<(Agent, SecretText), AgentError> {
        let _turn = match new.organization_id {
            Some(organization) => self.seats.turn(organization).await,
            None => None,
        };
        for _ in 0..MAX_ATTEMPTS {
            if let Some(created) = self.try_to_create(new.clone(), by).await? {
                return Ok(created);
            }
        }
        Err(AgentError::Contended)
    }

    /// `None` when what it was judged by has changed meanwhile.
    async fn try_to_create(
        &self,
        new: NewAgent,
        by: &By,
    ) -> Result<Option<(Agent, SecretText)>, AgentError> {
        let (organization, team) = self.belonging(new.organization_id, new.team_id).await?;
        let now = self.clock.now();
        let (agent, secret) = Agent::create(new, &self.vault, now)?;
        let record = record_key(agent.home(), agent.id);
        let directory = directory_key(agent.client_id);
        let mut batch = Batch::new(agent.home());
        if let Some(organization) = &organization {
            batch = organizations::unchanged(batch, organization);
            batch = self
                .seats
                .claim(&*self.store, &organization.value, batch)
                .await?;
        }
        if let Some(team) = &team {
            batch = teams::join(batch, team);
        }
        let batch = batch
            .absent(&record)
            .absent(&directory)
            .put(&record, AGENTS.encode(&agent))
            .put(
                &directory,
                CLIENTS.encode(&DirectoryEntry {
                    agent_id: agent.id,
                    organization_id: agent.organization_id,
                }),
            );
        let batch = index::shelve(count_agent(batch, &agent, 1), None, Some(&agent));
        let fact = Fact::agent(Action::AgentCreated, &agent).with("client_id", agent.client_name());
        let batch = event::record(batch, fact, by, now);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(Some((agent, secret))),
            Outcome::Conflict => Ok(None),
        }
    }

    /// The organization and the team that a new agent will belong to.
    async fn belonging(
        &self,
        organization: Option<OrganizationId>,
        team: Option<TeamId>,
    ) -> Result<(Option<StoredOrganization>, Option<Versioned<Team>>), AgentError> {
        let Some(id) = organization else {
            return match team {
                Some(_) => Err(AgentError::NoSuchTeam),
                None => Ok((None, None)),
            };
        };
        let organization = organizations::read(&*self.store, id).await?;
        let organization = organization.ok_or(AgentError::NoSuchOrganization)?;
        let team = match team {
            Some(team) => {
                let team = teams::read(&*self.store, id, team).await?;
                Some(team.ok_or(AgentError::NoSuchTeam)?)
            }
            None => None,
        };
        Ok((Some(organization), team))
    }

    /// The agent named `id`.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn find(&self, id: AgentId) -> Result<StoredAgent, AgentError> {
        let beside_its_identifier = record_key(id.partition(), id);
        if let Some(stored) = AGENTS.get(&*self.store, &beside_its_identifier).await? {
            return Ok(stored);
        }
        let organization = ELSEWHERE.get(&*self.store, &elsewhere_key(id)).await?;
        let organization = organization.ok_or(AgentError::NotFound)?.value;
        AGENTS
            .get(&*self.store, &record_key(organization.partition(), id))
            .await?
            .ok_or(AgentError::NotFound)
    }

    /// Changes an agent, if `expected` is given only at that version.
    ///
    /// # Errors
    /// [`AgentError::Invalid`] names the field that cannot be accepted; the version may be another.
    pub async fn update(
        &self,
        id: AgentId,
        change: &AgentChange,
        expected: Option<Version>,
        by: &By,
    ) -> Result<StoredAgent, AgentError> {
        change.validate()?;
        self.change(id, expected, |agent, batch, now| {
            let before = agent.clone();
            // Whoever suspended itself is now suspended by another (I11).
            let activity = change
                .is_active
                .filter(|is_active| *is_active != agent.is_active || agent.suspended_itself);
            let end = agent.expires_at;
            agent.apply(change.clone(), now);
            // Tokens that were made to live until the end as it was would outlive the agent.
            let batch = match agent.expires_at {
                Some(earlier) if end.is_none_or(|end| earlier < end) => {
                    end_generation(agent, batch, now)
                }
                _ => batch,
            };
            let (batch, action) = match activity {
                Some(true) => (resume(agent, batch), Some(Action::AgentReactivated)),
                Some(false) => (
                    suspend(agent, batch, Suspension::BY_ADMINISTRATOR, now),
                    Some(Action::AgentDeactivated),
                ),
                None => (batch, None),
            };
            Ok((changed(batch, &before, agent, action, by, now), ()))
        })
        .await
        .map(|(stored, ())| stored)
    }

    /// Reads the record, lets `alter` change it and add to the batch, and writes it if nobody was faster.
    async fn change<T>(
        &self,
        id: AgentId,
        expected: Option<Version>,
        alter: impl Fn(&mut Agent, Batch, Timestamp) -> Result<(Batch, T), AgentError>,
    ) -> Result<(StoredAgent, T), AgentError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            if expected.is_some_and(|expected| expected != stored.version) {
                return Err(AgentError::Outdated);
            }
            let mut agent = stored.value.clone();
            let record = record_key(agent.home(), id);
            let batch = Batch::new(agent.home()).at_version(&record, stored.version);
            let (batch, answer) = alter(&mut agent, batch, self.clock.now())?;
            let mut batch = index::shelve(batch, Some(&stored.value), Some(&agent));
            for gone in stored
                .value
                .secrets
                .iter()
                .filter(|old| !agent.secrets.iter().any(|kept| kept.id == old.id))
            {
                batch = batch.delete(&secret_used_key(agent.home(), gone.id));
            }
            let batch = batch.put(&record, AGENTS.encode(&agent));
            if self.store.commit(&batch).await? == Outcome::Committed {
                self.by_client.invalidate(&agent.client_id);
                let version = batch.version();
                return Ok((
                    Versioned {
                        value: agent,
                        version,
                    },
                    answer,
                ));
            }
        }
        Err(AgentError::Contended)
    }
}

/// Adds to `batch`: the agent was changed from what it was `before`, and became active or inactive if `action` says so.
fn changed(
    batch: Batch,
    before: &Agent,
    agent: &Agent,
    action: Option<Action>,
    by: &By,
    now: Timestamp,
) -> Batch {
    let updated = Fact::agent(Action::AgentUpdated, agent).changed(before, agent);
    let batch = event::record(batch, updated, by, now);
    match action {
        Some(action) => event::record(batch, Fact::agent(action, agent), by, now),
        None => batch,
    }
}

fn record_key(home: Partition, id: AgentId) -> Key {
    AGENTS.key(home).with(id)
}

fn elsewhere_key(id: AgentId) -> Key {
    ELSEWHERE.key(id.partition()).with(id)
}

fn directory_key(client_id: ClientId) -> Key {
    CLIENTS.key(client_id.partition()).with(client_id)
}

/// The start of a batch that issues something to the agent: it fails when its record or its organization's is no longer
/// the one judged by.
pub fn issue_to(found: &Found) -> Batch {
    let agent = &found.agent.value;
    let home = agent.home();
    let batch = Batch::new(home).at_version(&record_key(home, agent.id), found.agent.version);
    match &found.organization {
        Some(organization) => organizations::unchanged(batch, organization),
        None => batch,
    }
}

/// Adds to `batch`: there is `n` agent more, or fewer.
fn count_agent(batch: Batch, agent: &Agent, n: i64) -> Batch {
    let batch = stats::count(batch, Stat::Agents, n);
    match (agent.organization_id, agent.team_id) {
        (Some(organization), Some(team)) => teams::count_members(batch, organization, team, n),
        _ => batch,
    }
}
