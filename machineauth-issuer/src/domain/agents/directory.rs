//! Who a client is: from its `client_id` to its record, through a cache that never refuses.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{AGENTS, Agents, CLIENTS, decoy, directory_key, record_key};
use crate::domain::agent::{self, Agent};
use crate::domain::id::{AgentId, ClientId, OrganizationId};
use crate::domain::organizations::{self, ORGANIZATIONS, StoredOrganization};
use crate::store::{Entry, Key, StoreError, Table, Versioned};

/// An agent's record with the version that a batch can insist on.
pub type StoredAgent = Versioned<Agent>;

/// An agent with its organization.
pub(super) type Member = (Arc<StoredAgent>, Option<Arc<StoredOrganization>>);

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

impl Agents {
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
        let Some((agent, organization)) = self.member(client_id).await? else {
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

    /// Whether `found` is what the store has, so that a refusal may rest on it.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn is_current(&self, found: &Found) -> Result<bool, StoreError> {
        if found.source == Source::Store {
            return Ok(true);
        }
        let client_id = found.agent.value.client_id;
        let stored = self.member(client_id).await?;
        Ok(stored.is_some_and(|(agent, organization)| {
            let version = |stored: &Option<Arc<StoredOrganization>>| {
                stored.as_ref().map(|organization| organization.version)
            };
            agent.version == found.agent.version
                && version(&organization) == version(&found.organization)
        }))
    }

    /// Whether the store has the records of `member`, by their versions alone.
    ///
    /// # Errors
    /// The store's failure.
    pub(super) async fn is_stored(
        &self,
        (agent, organization): &Member,
    ) -> Result<bool, StoreError> {
        let mut keys = vec![record_key(agent.value.home(), agent.value.id)];
        let mut versions = vec![Some(agent.version)];
        if let Some(organization) = organization {
            keys.push(organizations::record_key(organization.value.id));
            versions.push(Some(organization.version));
        }
        let rows = self.store.get_all(&keys).await?;
        let stored = rows.iter().map(|row| row.as_ref().map(|row| row.version));
        Ok(stored.eq(versions))
    }

    /// The agent that the directory of the store has for a client, with its organization. A deleted organization has no
    /// agents.
    ///
    /// Two records are read in any case, by one look: how long it takes does not tell who exists and who belongs to an
    /// organization (I3).
    async fn member(&self, client_id: ClientId) -> Result<Option<Member>, StoreError> {
        let entry = CLIENTS.get(&*self.store, &directory_key(client_id)).await?;
        let (home, record, organization) = match entry {
            Some(Versioned { value: entry, .. }) => {
                let home = agent::home(entry.agent_id, entry.organization_id);
                let organization = entry.organization_id.map(organizations::record_key);
                (home, Some(record_key(home, entry.agent_id)), organization)
            }
            None => {
                CLIENTS.decode(&self.decoy.entry)?;
                (client_id.partition(), None, None)
            }
        };
        let (is_known, is_member) = (record.is_some(), organization.is_some());
        let decoy = decoy::key(home);
        let record = record.unwrap_or_else(|| decoy.clone());
        let organization = organization.unwrap_or_else(|| decoy.clone());
        let rows = self.store.get_all(&[record, organization]).await?;
        let agent = self.sought(&AGENTS, is_known, &decoy, &rows[0]).await?;
        let organization = self
            .sought(&ORGANIZATIONS, is_member, &decoy, &rows[1])
            .await?;
        let has_home = organization.is_some() == is_member;
        let agent = agent.filter(|_| has_home);
        Ok(agent.map(|agent| (Arc::new(agent), organization.map(Arc::new))))
    }

    /// The record in `row`, if it `is_sought`. Otherwise that is the decoy's, from the key `decoy`.
    async fn sought<T: DeserializeOwned>(
        &self,
        table: &Table<T>,
        is_sought: bool,
        decoy: &Key,
        row: &Option<Entry>,
    ) -> Result<Option<Versioned<T>>, StoreError> {
        if !is_sought {
            self.decoy.read(&*self.store, decoy, row.as_ref()).await?;
            return Ok(None);
        }
        row.as_ref().map(|row| table.versioned(row)).transpose()
    }

    /// The agent that authenticates as `client_id`, if it and its organization exist, and the rows at `beside`, which are in
    /// the same partition: all by one look at the store.
    ///
    /// A record at hand that is of the stored version is not read again. Nobody can tell by that who exists (I3): whoever
    /// asks has a token of the agent.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn with_rows(
        &self,
        client_id: ClientId,
        id: AgentId,
        organization: Option<OrganizationId>,
        beside: Vec<Key>,
    ) -> Result<(Option<Arc<StoredAgent>>, Vec<Option<Entry>>), StoreError> {
        let mut keys = vec![record_key(agent::home(id, organization), id)];
        keys.extend(organization.map(organizations::record_key));
        let own = keys.len();
        keys.extend(beside);
        let mut rows = self.store.get_all(&keys).await?;
        let beside = rows.split_off(own);
        // A deleted organization has no agents.
        let Some(rows) = rows.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok((None, beside));
        };
        let at_hand = self.by_client.get(&client_id).map(|(agent, _)| agent);
        let agent = match at_hand {
            Some(agent) if agent.value.id == id && agent.version == rows[0].version => agent,
            _ => Arc::new(AGENTS.versioned(&rows[0])?),
        };
        Ok((Some(agent), beside))
    }

    /// The agent that authenticates as `client_id`, where that is at hand.
    pub fn at_hand(&self, client_id: ClientId) -> Option<Arc<StoredAgent>> {
        self.by_client.get(&client_id).map(|(agent, _)| agent)
    }

    /// Forgets what the cache knows of a client, whose record has changed.
    pub fn forget(&self, client_id: ClientId) {
        self.by_client.invalidate(&client_id);
    }
}
