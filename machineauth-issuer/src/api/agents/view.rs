//! Agents as the API shows them. Never a secret, but for the one answer that makes it.

use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Status;
use crate::api::page::Pagination;
use crate::date::Date;
use crate::domain::agent::{Agent, PublicKey};
use crate::domain::id::{AgentId, ClientId, SecretId, TeamId};
use crate::domain::json_object::JsonObject;
use crate::domain::secret::StoredSecret;
use crate::domain::usage::Usage;
use crate::openapi::Scopes;

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
pub struct AgentView {
    id: AgentId,
    /// Empty while the agent belongs to no organization, as the documented clients expect.
    organization_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<TeamId>,
    name: String,
    description: String,
    tags: Vec<String>,
    #[schema(value_type = Object)]
    metadata: JsonObject,
    client_id: ClientId,
    /// The most that its tokens can carry.
    #[schema(value_type = Scopes)]
    scopes: ScopeSet,
    /// The same as `is_active`, in a word.
    status: Status,
    is_active: bool,
    /// How long its access tokens live, in seconds, where that is its own affair.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_lifetime: Option<u64>,
    /// Whether it gets refresh tokens, where the server issues them.
    refresh_tokens: bool,
    /// For whom it can ask tokens, beside the server's own audience.
    audiences: Vec<String>,
    /// Claims that its tokens carry.
    #[schema(value_type = Object)]
    claims: JsonObject,
    /// With what it can prove who it is, as a JWK.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    public_key: Option<PublicKey>,
    created_at: Date,
    updated_at: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Date>,
    token_count: i64,
    refresh_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity_at: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_token_issued_at: Option<Date>,
}

impl AgentView {
    /// The agent, with what it has done.
    pub fn new(agent: Agent, usage: Usage) -> Self {
        Self {
            id: agent.id,
            organization_id: agent
                .organization_id
                .map_or_else(String::new, |id| id.to_string()),
            team_id: agent.team_id,
            name: agent.name,
            description: agent.description,
            tags: agent.tags,
            metadata: agent.metadata,
            client_id: agent.client_id,
            scopes: agent.scopes,
            status: Status::of(agent.is_active),
            is_active: agent.is_active,
            token_lifetime: agent.token_lifetime.map(|lifetime| lifetime.as_secs()),
            refresh_tokens: agent.refresh_tokens,
            audiences: agent.audiences,
            claims: agent.claims,
            public_key: agent.public_key,
            created_at: Date(agent.created_at),
            updated_at: Date(agent.updated_at),
            expires_at: agent.expires_at.map(Date),
            token_count: usage.token_count,
            refresh_count: usage.refresh_count,
            last_activity_at: usage.last_token_issued_at.map(Date),
            last_token_issued_at: usage.last_token_issued_at.map(Date),
        }
    }
}

/// One agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneAgent {
    /// The agent.
    pub agent: AgentView,
}

/// A list of agents, and where it goes on.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentList {
    /// The agents.
    pub agents: Vec<AgentView>,
    /// Where a numbered page stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    /// What leads to the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A new agent with its credentials. The secret is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedAgent {
    /// The agent.
    pub agent: AgentView,
    /// Names the agent in OAuth.
    pub client_id: ClientId,
    /// Proves that it is itself.
    pub client_secret: String,
}

/// A new secret. Shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct RotatedSecret {
    /// Proves that the agent is itself.
    pub client_secret: String,
}

/// What is shown of a live secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientSecret)]
pub struct SecretView {
    id: SecretId,
    created_at: Date,
    /// The end of a rotation's grace; absent for the current secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Date>,
}

impl SecretView {
    /// The secret, with the time of its last use.
    pub fn new(secret: &StoredSecret, last_used_at: Option<Timestamp>) -> Self {
        Self {
            id: secret.id,
            created_at: Date(secret.created_at),
            expires_at: secret.expires_at.map(Date),
            last_used_at: last_used_at.map(Date),
        }
    }
}

/// The live secrets of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretList {
    /// The current one, and the one before it during the grace of a rotation.
    pub secrets: Vec<SecretView>,
}

/// What happened, for people.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    /// In a sentence.
    pub message: &'static str,
}
