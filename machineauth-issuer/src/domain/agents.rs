//! The agents of this server: creating, finding, changing and deleting them.

use std::sync::Arc;

use bytes::Bytes;
use machineauth_core::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

use super::agent::{self, Agent, InvalidAgent, NewAgent};
use super::id::{AgentId, ClientId, OrganizationId};
use super::organizations::{self, StoredOrganization};
use super::revocation;
use super::secret::SecretText;
use super::stats::{self, Stat};
use super::teams::{self, Team};
use super::usage::Counter;
use super::vault::Vault;
use crate::store::{Batch, DynStore, Key, Outcome, Partition, StoreError, Table, Versioned};

const AGENTS: Table<Agent> = Table::new("agent", 1);
/// Says which agent a `client_id` is. Written once with the agent, deleted with it.
const CLIENTS: Table<DirectoryEntry> = Table::new("client", 1);

/// How many records the cache of clients keeps.
const CACHED_CLIENTS: u64 = 100_000;
/// How often a write is tried again when somebody else's came first.
const MAX_ATTEMPTS: usize = 16;
const SCAN_PAGE: usize = 500;

#[derive(Serialize, Deserialize)]
struct DirectoryEntry {
    agent_id: AgentId,
    #[serde(default)]
    organization_id: Option<OrganizationId>,
}

/// Says to which organization an agent belongs whose identifier falls into another partition than its home.
const ELSEWHERE: Table<OrganizationId> = Table::new("elsewhere", 1);

/// An agent's record with the version that a batch can insist on.
pub type StoredAgent = Versioned<Agent>;

/// Where a record may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Possibly outdated. Good enough to judge by when the commit checks the version, never to refuse by.
    Cache,
    /// Read just now.
    Store,
}

/// An agent with its organization, and where the records came from.
#[derive(Debug, Clone)]
pub struct Found {
    /// The agent's record with its version.
    pub agent: Arc<StoredAgent>,
    /// The organization that it belongs to.
    pub organization: Option<Arc<StoredOrganization>>,
    /// Whether a refusal may rest on it.
    pub source: Source,
}

/// What a client presents to authenticate (RFC 6749 §2.3.1).
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who it says it is.
    pub client_id: ClientId,
    /// What proves it.
    pub secret: SecretText,
}

/// How a client presents itself.
#[derive(Debug, Clone)]
pub enum Presented {
    /// Not at all.
    Nothing,
    /// By name only, without proof.
    Name(ClientId),
    /// With a secret, still to be checked.
    Credentials(Credentials),
}

impl Presented {
    /// Who the client says it is.
    pub fn client_id(&self) -> Option<ClientId> {
        match self {
            Self::Nothing => None,
            Self::Name(client_id) | Self::Credentials(Credentials { client_id, .. }) => {
                Some(*client_id)
            }
        }
    }
}

/// Why a client was not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Unknown, wrong secret, inactive or expired: which one is nobody's business (I3).
    #[error("invalid client credentials")]
    Refused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// The record would not be valid.
    #[error(transparent)]
    Invalid(#[from] InvalidAgent),
    /// Too many others changed the same record at the same time.
    #[error("the agent is being changed by many at once; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An agent with its organization.
type Member = (Arc<StoredAgent>, Option<Arc<StoredOrganization>>);

/// All agents.
#[derive(Debug)]
pub struct Agents {
    store: DynStore,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    by_client: moka::sync::Cache<ClientId, Member>,
    /// The record of an agent that does not exist.
    decoy: Bytes,
}

impl Agents {
    /// The agents in `store`.
    pub fn new(store: DynStore, clock: Arc<dyn Clock>, vault: Arc<Vault>) -> Self {
        let decoy = AGENTS.encode(&Agent::decoy(&vault, clock.now()));
        Self {
            store,
            clock,
            vault,
            by_client: moka::sync::Cache::new(CACHED_CLIENTS),
            decoy,
        }
    }

    /// Creates an agent. The secret is returned here and never again.
    ///
    /// # Errors
    /// [`AgentError::Invalid`] names the field that cannot be accepted.
    pub async fn create(&self, new: NewAgent) -> Result<(Agent, SecretText), AgentError> {
        let (organization, team) = self.belonging(&new).await?;
        let (agent, secret) = Agent::create(new, &self.vault, self.clock.now())?;
        let record = record_key(agent.home(), agent.id);
        let directory = directory_key(agent.client_id);
        let mut batch = Batch::new(agent.home());
        if let Some(organization) = &organization {
            batch = organizations::unchanged(batch, organization);
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
        let batch = count_agent(batch, &agent, 1);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok((agent, secret)),
            Outcome::Conflict => Err(AgentError::Contended),
        }
    }

    /// The organization and the team that a new agent will belong to.
    async fn belonging(
        &self,
        new: &NewAgent,
    ) -> Result<(Option<StoredOrganization>, Option<Versioned<Team>>), AgentError> {
        let Some(id) = new.organization_id else {
            return match new.team_id {
                Some(_) => Err(AgentError::NoSuchTeam),
                None => Ok((None, None)),
            };
        };
        let organization = organizations::read(&*self.store, id).await?;
        let organization = organization.ok_or(AgentError::NoSuchOrganization)?;
        let team = match new.team_id {
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

    /// The agent that authenticates as `client_id`. `None` is only ever the store's word, never the cache's.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn by_client(
        &self,
        client_id: ClientId,
        source: Source,
    ) -> Result<Option<Found>, StoreError> {
        if source == Source::Cache
            && let Some((agent, organization)) = self.by_client.get(&client_id)
        {
            return Ok(Some(Found {
                agent,
                organization,
                source: Source::Cache,
            }));
        }
        let entry = CLIENTS.get(&*self.store, &directory_key(client_id)).await?;
        let Some((agent, organization)) = self.member(entry.map(|entry| entry.value)).await? else {
            self.by_client.invalidate(&client_id);
            return Ok(None);
        };
        self.by_client
            .insert(client_id, (Arc::clone(&agent), organization.clone()));
        Ok(Some(Found {
            agent,
            organization,
            source: Source::Store,
        }))
    }

    /// The agent that `entry` leads to, with its organization. A deleted organization has no agents.
    async fn member(&self, entry: Option<DirectoryEntry>) -> Result<Option<Member>, StoreError> {
        // An unknown client costs the same two reads as a known one with a wrong secret (I3).
        let entry = entry.unwrap_or_else(|| DirectoryEntry {
            agent_id: AgentId::random(),
            organization_id: None,
        });
        let home = agent::home(entry.agent_id, entry.organization_id);
        let record = record_key(home, entry.agent_id);
        let agent = AGENTS.get(&*self.store, &record);
        let organization = async {
            match entry.organization_id {
                Some(id) => organizations::read(&*self.store, id).await.map(Some),
                None => Ok(None),
            }
        };
        Ok(match futures_util::try_join!(agent, organization)? {
            (None, _) | (_, Some(None)) => None,
            (Some(agent), Some(Some(organization))) => {
                Some((Arc::new(agent), Some(Arc::new(organization))))
            }
            (Some(agent), None) => Some((Arc::new(agent), None)),
        })
    }

    /// The agent that `credentials` belong to, by its record as it stands now.
    ///
    /// # Errors
    /// [`AuthenticationError::Refused`] whatever was wrong with them, or the store's failure.
    pub async fn authenticate(
        &self,
        credentials: &Credentials,
    ) -> Result<Arc<StoredAgent>, AuthenticationError> {
        let found = self.by_client(credentials.client_id, Source::Store).await?;
        let Some(Found { agent, .. }) = found else {
            return Err(self.refuse_unknown(credentials));
        };
        agent
            .value
            .authenticate(&credentials.secret, &self.vault, self.clock.now())
            .map_err(|_| AuthenticationError::Refused)?;
        Ok(agent)
    }

    /// Refuses an unknown client in the time that it takes to refuse a known one with a wrong secret (I3).
    pub fn refuse_unknown(&self, credentials: &Credentials) -> AuthenticationError {
        if let Ok(decoy) = AGENTS.decode(&self.decoy) {
            // Whatever the outcome: nobody has this agent's secret.
            let _ = decoy.authenticate(&credentials.secret, &self.vault, self.clock.now());
        }
        AuthenticationError::Refused
    }

    /// Up to `limit` agents after the agent `after`, partition by partition, ordered by identifier within each.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(
        &self,
        after: Option<AgentId>,
        limit: usize,
    ) -> Result<Vec<Agent>, StoreError> {
        let mut agents = Vec::new();
        let first = after.map(|id| id.partition());
        let mut after = after.map(|id| record_key(id.partition(), id));
        for partition in
            Partition::data().skip_while(|partition| first.is_some_and(|first| *partition != first))
        {
            let prefix = AGENTS.key(partition);
            while agents.len() < limit {
                let page = (limit - agents.len()).min(SCAN_PAGE);
                let rows = AGENTS
                    .scan(&*self.store, &prefix, after.as_ref(), page)
                    .await?;
                let exhausted = rows.len() < page;
                after = rows.last().map(|(key, _)| key.clone());
                agents.extend(rows.into_iter().map(|(_, row)| row.value));
                if exhausted {
                    break;
                }
            }
            after = None;
        }
        Ok(agents)
    }

    /// Replaces the agent's secret. Its tokens stay valid, unless `revoke_tokens` also ends all of them.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn rotate(&self, id: AgentId, revoke_tokens: bool) -> Result<SecretText, AgentError> {
        self.change(id, |agent, batch, now| {
            let secret = agent.replace_secret(&self.vault, now);
            let batch = if revoke_tokens {
                end_generation(agent, batch, now)
            } else {
                batch
            };
            (batch, secret)
        })
        .await
    }

    /// Suspends the agent: while it is inactive it gets no token and its tokens are refused. `revoke_tokens` ends them
    /// for good.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn deactivate(&self, id: AgentId, revoke_tokens: bool) -> Result<(), AgentError> {
        self.change(id, |agent, batch, now| {
            agent.is_active = false;
            agent.updated_at = now;
            let batch = revocation::suspend_agent(batch, id, now);
            let batch = if revoke_tokens {
                end_generation(agent, batch, now)
            } else {
                batch
            };
            (batch, ())
        })
        .await
    }

    /// Resumes the agent: it gets tokens again, and those that nothing else ended are good again.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn reactivate(&self, id: AgentId) -> Result<(), AgentError> {
        self.change(id, |agent, batch, now| {
            agent.is_active = true;
            agent.updated_at = now;
            (revocation::resume_agent(batch, id), ())
        })
        .await
    }

    /// Deletes the agent; all of its tokens die, everywhere.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], or the store's failure.
    pub async fn delete(&self, id: AgentId) -> Result<(), AgentError> {
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
            {
                batch = batch.delete(&key);
            }
            let batch = revocation::revoke_agent(batch, id, u64::MAX, self.clock.now());
            let batch = count_agent(batch, &stored.value, -1);
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
                match self.delete(agent.id).await {
                    Ok(()) | Err(AgentError::NotFound) => deleted += 1,
                    Err(error) => return Err(error),
                }
            }
            if exhausted {
                return Ok(deleted);
            }
        }
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
        alter: impl Fn(&mut Agent, Batch, Timestamp) -> (Batch, T),
    ) -> Result<T, AgentError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.find(id).await?;
            let mut agent = stored.value;
            let record = record_key(agent.home(), id);
            let batch = Batch::new(agent.home()).at_version(&record, stored.version);
            let (batch, answer) = alter(&mut agent, batch, self.clock.now());
            let batch = batch.put(&record, AGENTS.encode(&agent));
            if self.store.commit(&batch).await? == Outcome::Committed {
                self.by_client.invalidate(&agent.client_id);
                return Ok(answer);
            }
        }
        Err(AgentError::Contended)
    }
}

fn end_generation(agent: &mut Agent, batch: Batch, now: Timestamp) -> Batch {
    agent.generation += 1;
    revocation::revoke_agent(batch, agent.id, agent.generation, now)
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
