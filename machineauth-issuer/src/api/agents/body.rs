//! What requests say about agents.

use std::time::Duration;

use machineauth_core::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::api::body::{named, nullable};
use crate::date::Date;
use crate::domain::agent::{self, AgentChange, InvalidAgent, MAX_EXPIRES_IN, NewAgent, PublicKey};
use crate::domain::agents::AgentError;
use crate::domain::json_object::JsonObject;
use crate::error::ApiError;
use crate::openapi::Scopes;

/// The longest public key, in bytes of JSON.
const MAX_PUBLIC_KEY: usize = 16 * 1024;

/// The body of a creation or a change. What is absent is as it was, or as usual.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = AgentChange)]
pub struct AgentBody {
    /// Whom it belongs to; only at creation.
    organization_id: Option<String>,
    /// Its team there; only at creation.
    team_id: Option<String>,
    /// For people. A new agent needs one.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// For people.
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// For people and their programs.
    #[schema(max_items = 50)]
    tags: Option<Vec<String>>,
    /// Any JSON object; not interpreted.
    #[schema(value_type = Option<Object>)]
    metadata: Option<JsonObject>,
    /// The most that its tokens can carry.
    #[schema(value_type = Option<Scopes>)]
    scopes: Option<Vec<String>>,
    /// `active` or `inactive`; the same as `is_active`.
    status: Option<Status>,
    is_active: Option<bool>,
    /// Seconds from now until the agent gets no more tokens.
    #[schema(minimum = 1)]
    expires_in: Option<u64>,
    /// When the agent gets no more tokens; null for never.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Date>)]
    expires_at: Option<Option<Date>>,
    /// How long its access tokens live, in seconds; null for as long as usual.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 604_800)]
    token_lifetime: Option<Option<u64>>,
    /// Whether it gets refresh tokens, where the server issues them.
    refresh_tokens: Option<bool>,
    /// For whom it can ask tokens, beside the server's own audience.
    #[schema(max_items = 20)]
    audiences: Option<Vec<String>>,
    /// Claims that its tokens carry as they are.
    #[schema(value_type = Option<Object>)]
    claims: Option<JsonObject>,
    /// With what it can prove who it is: a public key in PEM, or a JWK; null for its secret only.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Value>)]
    public_key: Option<Option<Box<RawValue>>>,
}

/// Whether an agent is active, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It gets tokens.
    Active,
    /// It does not, and its tokens are refused.
    Inactive,
}

impl Status {
    /// The word for that.
    pub fn of(is_active: bool) -> Self {
        match is_active {
            true => Self::Active,
            false => Self::Inactive,
        }
    }

    /// Whether that is active.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }
}

impl AgentBody {
    /// The agent to create.
    ///
    /// # Errors
    /// Names the field that cannot be understood.
    pub fn into_agent(mut self) -> Result<NewAgent, ApiError> {
        Ok(NewAgent {
            organization_id: named(self.organization_id.take(), AgentError::NoSuchOrganization)?,
            team_id: named(self.team_id.take(), AgentError::NoSuchTeam)?,
            machine: None,
            expires_in: self.expires_in.take().map(Duration::from_secs),
            profile: self.into_profile()?,
        })
    }

    /// The change to make at `now`.
    ///
    /// # Errors
    /// Names the field that cannot be understood, or that never changes.
    pub fn into_change(mut self, now: Timestamp) -> Result<AgentChange, ApiError> {
        if self.organization_id.is_some() || self.team_id.is_some() {
            return Err(ApiError::invalid(
                "organization_id, team_id: an agent stays where it was created",
            ));
        }
        let expires_in = self.expires_in.take();
        if expires_in.is_some_and(|seconds| !(1..=MAX_EXPIRES_IN).contains(&seconds)) {
            return Err(AgentError::from(InvalidAgent::ExpiresIn).into());
        }
        let change = self.into_profile()?;
        let end = expires_in.map(|seconds| Some(now.saturating_add(Duration::from_secs(seconds))));
        Ok(AgentChange {
            expires_at: change.expires_at.or(end),
            ..change
        })
    }

    fn into_profile(self) -> Result<AgentChange, ApiError> {
        let is_active = match (self.status.map(Status::is_active), self.is_active) {
            (Some(one), Some(other)) if one != other => {
                return Err(ApiError::invalid(
                    "status, is_active: they contradict each other",
                ));
            }
            (one, other) => one.or(other),
        };
        Ok(AgentChange {
            name: self.name,
            description: self.description,
            tags: self.tags,
            metadata: self.metadata,
            scopes: self
                .scopes
                .as_deref()
                .map(agent::scopes)
                .transpose()
                .map_err(AgentError::from)?,
            is_active,
            expires_at: self.expires_at.map(|end| end.map(|Date(end)| end)),
            token_lifetime: self
                .token_lifetime
                .map(|lifetime| lifetime.map(Duration::from_secs)),
            refresh_tokens: self.refresh_tokens,
            audiences: self.audiences,
            claims: self.claims,
            public_key: self
                .public_key
                .map(|key| key.as_deref().map(public_key).transpose())
                .transpose()
                .map_err(AgentError::from)?,
        })
    }
}

fn public_key(json: &RawValue) -> Result<PublicKey, InvalidAgent> {
    let text = Some(json.get()).filter(|text| text.len() <= MAX_PUBLIC_KEY);
    let value = text.and_then(|text| serde_json::from_str(text).ok());
    PublicKey::parse(&value.ok_or(InvalidAgent::PublicKey)?)
}

/// The body of an action on an agent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Action)]
pub struct ActionBody {
    /// Only `rotate`, and only where the path names no action.
    pub action: Option<String>,
    /// Whether all of the agent's tokens end for good.
    #[serde(default)]
    pub revoke_tokens: bool,
    /// How long the replaced secret goes on working, in seconds.
    #[serde(default)]
    pub grace: u64,
}
