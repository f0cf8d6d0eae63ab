//! The agents of this server: creating, finding, changing and deleting them.

mod directory;
mod import;
mod index;
mod list;
mod seats;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use directory::{
    AuthenticationError, Credentials, Found, Method, Presented, Proven, Source, StoredAgent,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
pub use index::{Order, Place, SORTED_NAME, Shelf};
pub use list::{AgentQuery, is_name_prefix};
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::{Algorithm, SigningKey};
pub use seats::forget_seats;
use serde::{Deserialize, Serialize};

use super::agent::{
    Agent, AgentChange, InvalidAgent, LONGEST_GRACE, NewAgent, NotCancelled, PublicKey,
};
use super::event::{self, Action, By, Fact};
use super::id::{AgentId, ClientId, OrganizationId, SecretId, TeamId};
use super::last_use::{self, LastUses};
use super::organization::Plan;
use super::organizations::{self, StoredOrganization};
use super::plans::PlanSettings;
use super::revocation;
use super::secret::{SecretText, StoredSecret};
use super::stats::{self, Stat};
use super::teams::{self, Team};
use super::usage::Counter;
use super::vault::Vault;
use super::verifications::Verifications;
use crate::store::{
    Batch, DynStore, Key, Outcome, Partition, StoreError, Table, Version, Versioned,
};

const AGENTS: Table<Agent> = Table::new("agent", 1);
/// Says which agent a `client_id` is. Written once with the agent, deleted with it.
const CLIENTS: Table<DirectoryEntry> = Table::new("client", 1);

const SECRET_USED: &str = "secret_used";

/// How many records the cache of clients keeps.
const CACHED_CLIENTS: u64 = 100_000;
/// How often a write is tried again when somebody else's came first.
const MAX_ATTEMPTS: usize = 16;
const SCAN_PAGE: usize = 500;
/// How many records are changed at the same time, when all are.
const CHANGED_AT_ONCE: usize = 64;
/// More than an agent's generation was ever raised: where it was raised after a copy was made, nobody knows how often.
const GENERATIONS_SKIPPED: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct DirectoryEntry {
    agent_id: AgentId,
    #[serde(default)]
    organization_id: Option<OrganizationId>,
}

/// Says to which organization an agent belongs whose identifier falls into another partition than its home.
const ELSEWHERE: Table<OrganizationId> = Table::new("elsewhere", 1);

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
    /// The record of an agent that does not exist.
    decoy: Bytes,
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
        let decoy = AGENTS.encode(&Agent::decoy(&vault, clock.now()));
        Self {
            store,
            clock,
            vault,
            by_client: moka::sync::Cache::new(CACHED_CLIENTS),
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
            batch = teams::unchanged(batch, team);
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
            let activity = change
                .is_active
                .filter(|is_active| *is_active != agent.is_active);
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

    /// Makes a new secret. The one before it works on for the grace of `rotation`; the agent's tokens stay valid, unless
    /// it also ends all of them.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], [`AgentError::Grace`], or the store's failure.
    pub async fn rotate(
        &self,
        id: AgentId,
        rotation: Rotation,
        by: &By,
    ) -> Result<SecretText, AgentError> {
        if rotation.grace > LONGEST_GRACE {
            return Err(AgentError::Grace);
        }
        self.change(id, None, |agent, batch, now| {
            let secret = agent.rotate(&self.vault, now, rotation.grace, by.address);
            let batch = match rotation.revoke_tokens {
                true => end_generation(agent, batch, now),
                false => batch,
            };
            let fact = Fact::agent(Action::AgentCredentialsRotated, agent)
                .with("grace", rotation.grace.as_secs())
                .with("revoke_tokens", rotation.revoke_tokens);
            Ok((event::record(batch, fact, by, now), secret))
        })
        .await
        .map(|(_, secret)| secret)
    }

    /// The live secrets of an agent, each with the time of its last use.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn secrets(
        &self,
        agent: &Agent,
    ) -> Result<Vec<(StoredSecret, Option<Timestamp>)>, StoreError> {
        let now = self.clock.now();
        let live: Vec<_> = agent
            .secrets
            .iter()
            .filter(|secret| secret.is_live(now))
            .cloned()
            .collect();
        let keys: Vec<_> = live
            .iter()
            .map(|secret| secret_used_key(agent.home(), secret.id))
            .collect();
        let uses = self.store.counts(&keys).await?;
        let uses = uses.into_iter().map(last_use::read);
        Ok(live.into_iter().zip(uses).collect())
    }

    /// Adds to `batch`, which is in the agent's home: the secret was used.
    pub fn secret_used(&self, batch: Batch, secret: SecretId, now: Timestamp) -> Batch {
        if !self.secret_uses.is_news(secret, now) {
            return batch;
        }
        let key = secret_used_key(batch.partition(), secret);
        last_use::record(batch, &key, now)
    }

    /// Ends a secret that a rotation left alive.
    ///
    /// # Errors
    /// [`AgentError::NoSuchSecret`], [`AgentError::CurrentSecret`], or the store's failure.
    pub async fn cancel_secret(
        &self,
        id: AgentId,
        secret: SecretId,
        by: &By,
    ) -> Result<(), AgentError> {
        self.change(id, None, |agent, batch, now| {
            agent.cancel_secret(secret, now).map_err(|why| match why {
                NotCancelled::NoSuchSecret => AgentError::NoSuchSecret,
                NotCancelled::Current => AgentError::CurrentSecret,
            })?;
            let fact = Fact::agent(Action::AgentSecretRevoked, agent)
                .with("secret_id", secret.to_string());
            Ok((event::record(batch, fact, by, now), ()))
        })
        .await
        .map(|_| ())
    }

    /// Suspends the agent: while it is inactive it gets no token and its tokens are refused.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn deactivate(
        &self,
        id: AgentId,
        suspension: Suspension,
        by: &By,
    ) -> Result<(), AgentError> {
        self.change(id, None, |agent, batch, now| {
            let before = agent.clone();
            let batch = suspend(agent, batch, suspension, now);
            let action = Some(Action::AgentDeactivated);
            Ok((changed(batch, &before, agent, action, by, now), ()))
        })
        .await
        .map(|_| ())
    }

    /// Resumes the agent: it gets tokens again, and those that nothing else ended are good again. On its own word only
    /// when it suspended itself.
    ///
    /// # Errors
    /// [`AgentError::NotByItself`], [`AgentError::NotFound`], or the store's failure.
    pub async fn reactivate(
        &self,
        id: AgentId,
        by_itself: bool,
        by: &By,
    ) -> Result<(), AgentError> {
        self.change(id, None, |agent, batch, now| {
            if by_itself && !agent.is_active && !agent.suspended_itself {
                return Err(AgentError::NotByItself);
            }
            let before = agent.clone();
            agent.updated_at = now;
            let batch = resume(agent, batch);
            let action = Some(Action::AgentReactivated);
            Ok((changed(batch, &before, agent, action, by, now), ()))
        })
        .await
        .map(|_| ())
    }

    /// Deletes the agent; all of its tokens die, everywhere.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn delete(&self, id: AgentId, by: &By) -> Result<(), AgentError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            let home = stored.value.home();
            let record = record_key(home, id);
            let mut batch = Batch::new(home)
                .at_version(&record, stored.version)
                .delete(&record);
            let directions = [directory_key(stored.value.client_id), elsewhere_key(id)];
            let (near, far): (Vec<_>, Vec<_>) = directions
                .into_iter()
                .partition(|key| key.partition() == home);
            for key in near
                .into_iter()
                .chain(Counter::ALL.map(|counter| counter.key(home, id)))
                .chain(
                    stored
                        .value
                        .secrets
                        .iter()
                        .map(|secret| secret_used_key(home, secret.id)),
                )
            {
                batch = batch.delete(&key);
            }
            let now = self.clock.now();
            let batch = revocation::revoke_agent(batch, id, u64::MAX, now);
            let fact = Fact::agent(Action::AgentDeleted, &stored.value);
            let batch = event::record(batch, fact, by, now);
            let batch = count_agent(batch, &stored.value, -1);
            let batch = index::shelve(batch, Some(&stored.value), None);
            if self.store.commit(&batch).await? == Outcome::Committed {
                self.by_client.invalidate(&stored.value.client_id);
                self.forget_directions(&far).await?;
                return Ok(());
            }
        }
        Err(AgentError::Contended)
    }

    /// Deletes up to `limit` agents of a deleted organization, and says how many.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn delete_some_of(
        &self,
        organization: OrganizationId,
        limit: usize,
        by: &By,
    ) -> Result<usize, AgentError> {
        let prefix = AGENTS.key(organization.partition());
        let mut after = None;
        let mut deleted = 0;
        loop {
            let rows = AGENTS
                .scan(&*self.store, &prefix, after.as_ref(), SCAN_PAGE)
                .await?;
            after = rows.last().map(|(key, _)| key.clone());
            let exhausted = rows.len() < SCAN_PAGE;
            let agents = rows.into_iter().map(|(_, row)| row.value);
            for agent in agents.filter(|agent| agent.organization_id == Some(organization)) {
                if deleted == limit {
                    return Ok(deleted);
                }
                match self.delete(agent.id, by).await {
                    Ok(()) | Err(AgentError::NotFound) => deleted += 1,
                    Err(error) => return Err(error),
                }
            }
            if exhausted {
                return Ok(deleted);
            }
        }
    }

    /// Ends all tokens of all agents, everywhere. Says how many agents there are.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn end_all_tokens(&self) -> Result<usize, StoreError> {
        let mut ended = 0;
        for partition in Partition::data() {
            let prefix = AGENTS.key(partition);
            let mut after = None;
            loop {
                let rows = self.store.scan(&prefix, after.as_ref(), SCAN_PAGE).await?;
                let Some((last, _)) = rows.last() else { break };
                after = Some(last.clone());
                ended += rows.len();
                stream::iter(rows)
                    .map(|(record, _)| self.end_tokens_of(record))
                    .buffer_unordered(CHANGED_AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
        }
        Ok(ended)
    }

    async fn end_tokens_of(&self, record: Key) -> Result<(), StoreError> {
        while let Some(stored) = AGENTS.get(&*self.store, &record).await? {
            let mut agent = stored.value;
            agent.generation += GENERATIONS_SKIPPED;
            let batch = Batch::new(record.partition())
                .at_version(&record, stored.version)
                .put(&record, AGENTS.encode(&agent));
            let now = self.clock.now();
            let batch = revocation::revoke_agent(batch, agent.id, agent.generation, now);
            if self.store.commit(&batch).await? == Outcome::Committed {
                self.by_client.invalidate(&agent.client_id);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deletes rows that lead to an agent that is gone. One that a crash leaves behind leads nowhere and harms nobody.
    async fn forget_directions(&self, keys: &[Key]) -> Result<(), StoreError> {
        for key in keys {
            match self
                .store
                .commit(&Batch::new(key.partition()).delete(key))
                .await?
            {
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
        Ok(())
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

/// How a secret is rotated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotation {
    /// How long the secret before goes on working; at most [`LONGEST_GRACE`].
    pub grace: Duration,
    /// Whether the agent's tokens end as well.
    pub revoke_tokens: bool,
}

/// How an agent is deactivated.
#[derive(Debug, Clone, Copy)]
pub struct Suspension {
    /// Whether by itself.
    pub by_itself: bool,
    /// Whether its tokens end for good, not only until it is reactivated.
    pub revoke_tokens: bool,
}

impl Suspension {
    const BY_ADMINISTRATOR: Self = Self {
        by_itself: false,
        revoke_tokens: false,
    };
}

fn suspend(agent: &mut Agent, batch: Batch, suspension: Suspension, now: Timestamp) -> Batch {
    // What an administrator has decided is not weakened by the agent's own word.
    agent.suspended_itself = suspension.by_itself && (agent.is_active || agent.suspended_itself);
    agent.is_active = false;
    agent.updated_at = now;
    let batch = revocation::suspend_agent(batch, agent.id, now);
    match suspension.revoke_tokens {
        true => end_generation(agent, batch, now),
        false => batch,
    }
}

fn resume(agent: &mut Agent, batch: Batch) -> Batch {
    agent.is_active = true;
    agent.suspended_itself = false;
    revocation::resume_agent(batch, agent.id)
}

fn end_generation(agent: &mut Agent, batch: Batch, now: Timestamp) -> Batch {
    agent.generation += 1;
    revocation::revoke_agent(batch, agent.id, agent.generation, now)
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

fn secret_used_key(home: Partition, secret: SecretId) -> Key {
    home.key(SECRET_USED).with(secret)
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
