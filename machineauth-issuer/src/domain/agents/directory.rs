//! Who a client is: from its `client_id` to its record, through a cache that never refuses.

use std::sync::Arc;

use super::{AGENTS, Agents, CLIENTS, DirectoryEntry, directory_key, record_key};
use crate::domain::agent::{self, Agent};
use crate::domain::id::{AgentId, ClientId};
use crate::domain::organizations::{self, StoredOrganization};
use crate::domain::secret::SecretText;
use crate::store::{StoreError, Versioned};

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

    /// The agent that authenticates as `client_id`, where that is at hand.
    pub fn at_hand(&self, client_id: ClientId) -> Option<Arc<StoredAgent>> {
        self.by_client.get(&client_id).map(|(agent, _)| agent)
    }

    /// Refuses an unknown client in the time that it takes to refuse a known one with a wrong secret (I3).
    pub fn refuse_unknown(&self, credentials: &Credentials) -> AuthenticationError {
        if let Ok(decoy) = AGENTS.decode(&self.decoy) {
            // Whatever the outcome: nobody has this agent's secret.
            let _ = decoy.authenticate(&credentials.secret, &self.vault, self.clock.now());
        }
        AuthenticationError::Refused
    }
}
