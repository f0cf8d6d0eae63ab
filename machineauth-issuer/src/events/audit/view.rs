//! An event as it is shown outside: the documented members, and ours.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Entry;
use crate::date::Date;
use crate::domain::event::{Outcome, Target};
use crate::domain::id::{AgentId, EventId, OrganizationId, TeamId};

/// An event as it is shown outside.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryView {
    pub(super) id: EventId,
    /// The agent that it concerns, or that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_id: Option<AgentId>,
    /// What happened.
    pub(super) action: String,
    /// Where it came from; empty where that is not known.
    pub(super) ip_address: String,
    /// What the client says it is; empty where it said nothing.
    pub(super) user_agent: String,
    pub(super) created_at: Date,
    /// The organization that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) organization_id: Option<OrganizationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) team_id: Option<TeamId>,
    pub(super) actor: ActorView,
    /// What it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<TargetView>,
    pub(super) outcome: Outcome,
    /// Why, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// What the request is called in logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
    /// What else is to be said, by action.
    #[schema(value_type = Object)]
    pub(super) details: Map<String, Value>,
    /// Which of the store's logs it is in, and its number there.
    pub(super) partition: String,
    pub(super) sequence: u64,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActorView {
    /// `administrator`, `api_key`, `agent`, `cli`, `system` or `anonymous`.
    pub(super) kind: &'static str,
    /// Which: an address, or an identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

/// What it was done to.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetView {
    /// `agent`, `organization`, `team`, `api_key`, `signing_key`, `token`, `refresh_family` or `webhook`.
    pub(super) kind: String,
    /// Which.
    pub(super) id: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
}

impl From<Target> for TargetView {
    fn from(target: Target) -> Self {
        Self {
            kind: target.kind.into_owned(),
            id: target.id,
            name: target.name,
        }
    }
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        let event = entry.event;
        Self {
            id: event.id,
            agent_id: event.agent_id,
            action: event.action.into_owned(),
            ip_address: event
                .address
                .map_or_else(String::new, |address| address.to_string()),
            user_agent: event.user_agent.map_or_else(String::new, String::from),
            created_at: Date(event.at),
            organization_id: event.organization_id,
            team_id: event.team_id,
            actor: ActorView {
                kind: event.actor.kind(),
                id: event.actor.name(),
            },
            target: event.target.map(TargetView::from),
            outcome: event.outcome,
            reason: event.reason.map(String::from),
            request_id: event.request_id.map(String::from),
            details: event.details,
            partition: entry.partition.to_string(),
            sequence: entry.sequence,
        }
    }
}
