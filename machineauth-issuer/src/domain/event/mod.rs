//! Events: what happened, to what, by whom.
//!
//! A batch that changes something also appends what happened to its partition's audit log ([`record`]), so there is no
//! change without its event and no event without its change, whatever dies in between. The audit trail and webhooks both
//! read that log.
//!
//! An event never holds a secret (I21): it names things by their identifiers, and has no room for anything else.

mod action;
mod by;
mod recorder;
mod reference;
mod tally;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::action::{Action, Outcome};
pub use self::by::{Actor, By, UserAgent};
pub use self::recorder::{Demand, Recorder, TokenEvents};
pub use self::reference::reference;
use super::agent::Agent;
use super::api_keys::ApiKey;
use super::id::{AdministratorId, AgentId, EventId, OrganizationId, TeamId};
use super::organization::Organization;
use super::teams::Team;
use super::webhooks::Webhook;
use crate::store::{self, Batch, Log, Partition, Store, StoreError};

/// What is recorded, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSettings {
    /// How the use of tokens is recorded.
    pub token_events: TokenEvents,
    /// How long an event is kept. `None`: for as long as there is room.
    pub keep_for: Option<Duration>,
    /// How many events are kept in each partition.
    pub keep_entries: u64,
}

/// The form in which this version writes events.
const SCHEMA: u8 = 1;

/// The detail that says for how many an event stands that sums up a minute.
pub const COUNT: &str = "count";

/// An entry of the audit log.
///
/// Newer versions may add members and actions: a reader takes what it knows, and an action that it does not know by its
/// name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// In which form it was written.
    #[serde(rename = "v")]
    pub schema: u8,
    /// Names it, everywhere and for good.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened: the name of an [`Action`].
    pub action: Cow<'static, str>,
    /// Whether what was tried was done.
    #[serde(default)]
    pub outcome: Outcome,
    /// Who did it.
    #[serde(default)]
    pub actor: Actor,
    /// The address that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What the client says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<UserAgent>,
    /// What the request was called in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Box<str>>,
    /// The tenant that it concerns, which may see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<OrganizationId>,
    /// The team that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<TeamId>,
    /// The agent that it concerns, or that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// What it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// What else is to be said, by action.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `agent`, `organization`, `team`, `api_key`, `signing_key`, `token`, `refresh_family`, `webhook`, `administrator` or
    /// `session`.
    pub kind: Cow<'static, str>,
    /// Which.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What happened, to what. Together with who did it and when, it is an [`Event`].
#[derive(Debug, Clone)]
#[must_use = "what happened is to be recorded"]
pub struct Fact {
    action: Action,
    organization: Option<OrganizationId>,
    team: Option<TeamId>,
    agent: Option<AgentId>,
    target: Option<Target>,
    reason: Option<Cow<'static, str>>,
    details: Map<String, Value>,
}

impl Fact {
    /// What happened to nothing in particular.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            organization: None,
            team: None,
            agent: None,
            target: None,
            reason: None,
            details: Map::new(),
        }
    }

    /// What happened to an agent.
    pub fn agent(action: Action, agent: &Agent) -> Self {
        Self {
            target: Some(Target::new("agent", &agent.id, Some(&agent.name))),
            ..Self::within(action, agent)
        }
    }

    /// What happened to a token of `agent`, or to a family of them; `kind` says which of the two.
    pub fn token(action: Action, agent: &Agent, kind: &'static str, id: &impl ToString) -> Self {
        Self::within(action, agent).on(kind, id)
    }

    fn within(action: Action, agent: &Agent) -> Self {
        Self::new(action).about(agent.id, agent.organization_id, agent.team_id)
    }

    /// Says whom it concerns.
    pub fn about(
        self,
        agent: AgentId,
        organization: Option<OrganizationId>,
        team: Option<TeamId>,
    ) -> Self {
        Self {
            organization,
            team,
            agent: Some(agent),
            ..self
        }
    }

    /// Says what it was done to.
    pub fn on(self, kind: &'static str, id: &impl ToString) -> Self {
        Self {
            target: Some(Target::new(kind, id, None)),
            ..self
        }
    }

    /// What happened to an organization.
    pub fn organization(action: Action, organization: &Organization) -> Self {
        let id = organization.id;
        Self {
            organization: Some(id),
            target: Some(Target::new("organization", &id, Some(&organization.name))),
            ..Self::new(action)
        }
    }

    /// What happened to a team.
    pub fn team(action: Action, team: &Team) -> Self {
        Self {
            organization: Some(team.organization_id),
            team: Some(team.id),
            target: Some(Target::new("team", &team.id, Some(&team.name))),
            ..Self::new(action)
        }
    }

    /// What happened to an API key.
    pub fn api_key(action: Action, key: &ApiKey) -> Self {
        Self {
            organization: Some(key.organization_id),
            team: key.team_id,
            target: Some(Target::new("api_key", &key.id, Some(&key.name))),
            ..Self::new(action)
        }
    }

    /// What happened to an administrator.
    pub fn administrator(action: Action, id: AdministratorId, email: &str) -> Self {
        Self {
            target: Some(Target::new("administrator", &id, Some(email))),
            ..Self::new(action)
        }
    }

    /// What happened to a signing key of an organization, or of the server.
    pub fn signing_key(action: Action, kid: &str, organization: Option<OrganizationId>) -> Self {
        Self {
            organization,
            ..Self::new(action).on("signing_key", &kid)
        }
    }

    /// What happened to a webhook.
    pub fn webhook(action: Action, webhook: &Webhook) -> Self {
        Self {
            organization: webhook.organization_id,
            team: webhook.team_id,
            target: Some(Target::new("webhook", &webhook.id, Some(&webhook.name))),
            ..Self::new(action)
        }
    }

    /// Says one thing more about it. Never a secret.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Says that it was taken over from another server.
    pub fn imported(self) -> Self {
        self.with("imported", true)
    }

    /// Says which of its fields differ from `before`.
    pub fn changed<T: Serialize>(self, before: &T, after: &T) -> Self {
        self.with("changed", changed_members(before, after))
    }

    /// Says why.
    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The event: it happened at `at`, by `by`.
    pub fn happened(self, by: &By, at: Timestamp) -> Event {
        let acting = match by.actor {
            Actor::Agent { id } => Some(id),
            _ => None,
        };
        Event {
            schema: SCHEMA,
            id: EventId::random(),
            at,
            action: self.action.as_str().into(),
            outcome: self.action.outcome(),
            actor: by.actor.clone(),
            address: by.address,
            user_agent: by.user_agent.clone(),
            request_id: by.request_id.clone(),
            organization_id: self.organization,
            team_id: self.team,
            agent_id: self.agent.or(acting),
            target: self.target,
            reason: self.reason,
            details: self.details,
        }
    }
}

impl Target {
    fn new(kind: &'static str, id: &impl ToString, name: Option<&str>) -> Self {
        Self {
            kind: kind.into(),
            id: id.to_string(),
            name: name.map(str::to_owned),
        }
    }
}

impl Event {
    /// The event in an entry of an audit log.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for bytes that are none.
    pub fn decode(entry: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(entry).map_err(|_| StoreError::Corrupt {
            what: "an entry of an audit log that is no event",
        })
    }

    /// Whether it stands for several, of which it says how many.
    pub fn is_sum(&self) -> bool {
        self.details.contains_key(COUNT)
    }

    /// The bytes of an entry of an audit log.
    pub fn encode(&self) -> Bytes {
        let entry = serde_json::to_vec(self).expect("an event is plain data");
        Bytes::from(entry)
    }

    /// Adds to `batch`: this happened.
    pub fn append(&self, batch: Batch) -> Batch {
        batch.append(Log::Audit, self.encode())
    }
}

/// Adds to `batch`, which makes it true: `fact` happened at `at`, by `by`.
pub fn record(batch: Batch, fact: Fact, by: &By, at: Timestamp) -> Batch {
    fact.happened(by, at).append(batch)
}

/// Records what changes nothing in the store.
///
/// # Errors
/// The store's failure.
pub async fn record_alone(
    store: &dyn Store,
    partition: Partition,
    fact: Fact,
    by: &By,
    at: Timestamp,
) -> Result<(), StoreError> {
    let batch = record(Batch::new(partition), fact, by, at);
    match store.commit(&batch).await? {
        store::Outcome::Committed | store::Outcome::Conflict => Ok(()),
    }
}

/// The members of a record whose values differ, but for the time of the change itself.
fn changed_members<T: Serialize>(before: &T, after: &T) -> Vec<String> {
    let members = |record: &T| match serde_json::to_value(record) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let before = members(before);
    members(after)
        .into_iter()
        .filter(|(name, value)| name != "updated_at" && before.get(name) != Some(value))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_its_bytes() {
        let by = By {
            address: Some("192.0.2.1".parse().unwrap()),
            user_agent: UserAgent::clean(b"curl/8"),
            request_id: Some("r".into()),
            ..By::SYSTEM.known_as(Actor::Administrator {
                email: "a@b".into(),
            })
        };
        let fact = Fact::signing_key(Action::SigningKeyRotated, "k", None)
            .with("successor", "l")
            .because("it was due");
        let event = fact.happened(&by, Timestamp::from_secs(1));
        assert_eq!(Event::decode(&event.encode()).unwrap(), event);
    }

    #[test]
    fn an_event_of_a_newer_version_is_read_as_far_as_it_is_known() {
        let newer = br#"{"v":9,"id":"3f1c2f0e-6a55-4b43-9a5c-0a4bb07c8f10","at":5,"action":"moon.landed","outcome":"partial",
            "actor":{"kind":"robot","wheels":6},"target":{"kind":"crater","id":"c","depth":3},"weather":{"wind":1}}"#;
        let event = Event::decode(newer).unwrap();
        assert_eq!(event.action, "moon.landed");
        assert_eq!((event.outcome, event.actor), (Outcome::Other, Actor::Other));
        assert_eq!(event.target.unwrap().id, "c");
        assert_eq!(Action::find("moon.landed"), None);
    }

    #[test]
    fn what_is_no_event_is_corrupt() {
        for bytes in [&b""[..], b"{}", b"[]", b"\xff"] {
            assert!(matches!(
                Event::decode(bytes),
                Err(StoreError::Corrupt { .. })
            ));
        }
    }

    #[test]
    fn every_action_has_a_name_of_its_own() {
        for action in Action::ALL {
            assert_eq!(Action::find(action.as_str()), Some(*action));
        }
    }

    proptest::proptest! {
        /// I22
        #[test]
        fn a_user_agent_is_short_and_printable(said: Vec<u8>) {
            if let Some(cleaned) = UserAgent::clean(&said) {
                assert!((1..=200).contains(&cleaned.as_str().len()));
                assert!(cleaned.as_str().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
