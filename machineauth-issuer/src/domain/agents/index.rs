//! The order in which agents are listed, kept as rows beside their records.
//!
//! An agent stands on several *shelves*: that of all agents, of its organization, of its team. On each shelf, active and
//! inactive agents stand apart, once ordered by name and once by creation. A list is a merge of the rows it asks for, so
//! what a page costs does not depend on how many agents there are. The rows change in the batches that change agents.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;

use crate::domain::agent::Agent;
use crate::domain::id::{AgentId, OrganizationId, TeamId};
use crate::store::{Batch, Key, KeyName, Partition};

const ORDER: &str = "agent_order";
const COUNT: &str = "agent_count";

/// How much of a name decides on its place, in bytes; agents whose names begin alike follow each other in any order.
pub const SORTED_NAME: usize = 60;

/// Agents that can be listed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// All agents of the server.
    All,
    /// Those of an organization.
    Organization(OrganizationId),
    /// Those of a team in an organization.
    Team(OrganizationId, TeamId),
    /// The machine clients of an organization.
    Machines(OrganizationId),
}

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The name, whatever its case.
    Name,
    /// The time of creation.
    Created,
}

/// Where an agent stands in a list: what a list is continued after.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    sort_key: KeyName,
    agent: AgentId,
}

/// A text that is no place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsePlaceError;

impl Shelf {
    /// The shelves that an agent stands on.
    fn of(agent: &Agent) -> impl Iterator<Item = Self> {
        let organization = agent.organization_id;
        let team = organization.zip(agent.team_id);
        std::iter::once(Self::All)
            .chain(organization.map(Self::Organization))
            .chain(team.map(|(organization, team)| Self::Team(organization, team)))
            .chain(
                organization
                    .filter(|_| agent.machine.is_some())
                    .map(Self::Machines),
            )
    }

    /// The partitions that hold part of the shelf.
    pub(super) fn partitions(self) -> Vec<Partition> {
        match self {
            Self::All => Partition::data().collect(),
            Self::Organization(organization)
            | Self::Team(organization, _)
            | Self::Machines(organization) => {
                vec![organization.partition()]
            }
        }
    }

    fn under(self, key: &Key) -> Key {
        match self {
            Self::All => key.with("all"),
            Self::Organization(organization) => key.with(organization),
            Self::Team(_, team) => key.with(team),
            Self::Machines(organization) => key.with("machines").with(organization),
        }
    }

    /// The key above the rows of agents in `order`.
    pub(super) fn rows(self, partition: Partition, is_active: bool, order: Order) -> Key {
        let order = match order {
            Order::Name => "name",
            Order::Created => "created",
        };
        self.under(&partition.key(ORDER))
            .with(activity(is_active))
            .with(order)
    }

    /// The counter of agents.
    pub(super) fn count(self, partition: Partition, is_active: bool) -> Key {
        self.under(&partition.key(COUNT)).with(activity(is_active))
    }
}

impl Order {
    fn sort_key(self, agent: &Agent) -> KeyName {
        match self {
            Self::Name => name_key(&agent.name),
            Self::Created => created_key(agent.created_at),
        }
    }
}

impl Place {
    /// Where the row at `key` stands.
    pub(super) fn of(key: &Key) -> Option<Self> {
        let mut parts = key.path().rsplit('/');
        let agent = parts.next()?.parse().ok()?;
        let sort_key = KeyName::try_from(parts.next()?).ok()?;
        Some(Self { sort_key, agent })
    }

    /// The agent that stands there.
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    pub(super) fn sort_key(&self) -> &KeyName {
        &self.sort_key
    }

    /// The row at this place, among those under `rows`.
    pub(super) fn key(&self, rows: &Key) -> Key {
        rows.with(&self.sort_key).with(self.agent)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sort_key, self.agent)
    }
}

impl FromStr for Place {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, ParsePlaceError> {
        let (sort_key, agent) = text.rsplit_once('.').ok_or(ParsePlaceError)?;
        Ok(Self {
            sort_key: KeyName::try_from(sort_key).map_err(|_| ParsePlaceError)?,
            agent: agent.parse().map_err(|_| ParsePlaceError)?,
        })
    }
}

/// Adds to `batch`: the rows and counters that were right for `before` are right for `after`.
pub(super) fn shelve(mut batch: Batch, before: Option<&Agent>, after: Option<&Agent>) -> Batch {
    let (old, new) = (
        before.map_or(Vec::new(), rows),
        after.map_or(Vec::new(), rows),
    );
    for row in old.iter().filter(|row| !new.contains(row)) {
        batch = batch.delete(row);
    }
    for row in new.iter().filter(|row| !old.contains(row)) {
        batch = batch.put(row, Bytes::new());
    }
    let (old, new) = (
        before.map_or(Vec::new(), counters),
        after.map_or(Vec::new(), counters),
    );
    for counter in old.iter().filter(|counter| !new.contains(counter)) {
        batch = batch.add(counter, -1);
    }
    for counter in new.iter().filter(|counter| !old.contains(counter)) {
        batch = batch.add(counter, 1);
    }
    batch
}

/// The rows of an agent.
pub(super) fn rows(agent: &Agent) -> Vec<Key> {
    Shelf::of(agent)
        .flat_map(|shelf| {
            [Order::Name, Order::Created].map(|order| {
                shelf
                    .rows(agent.home(), agent.is_active, order)
                    .with(order.sort_key(agent))
                    .with(agent.id)
            })
        })
        .collect()
}

fn counters(agent: &Agent) -> Vec<Key> {
    Shelf::of(agent)
        .map(|shelf| shelf.count(agent.home(), agent.is_active))
        .collect()
}

fn activity(is_active: bool) -> &'static str {
    if is_active { "active" } else { "inactive" }
}

/// The beginning of the name, whatever its case, in hexadecimal: the order of texts is that of their bytes.
pub(super) fn name_key(name: &str) -> KeyName {
    let hex: String = name
        .to_lowercase()
        .bytes()
        .take(SORTED_NAME)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // A name is never empty; the key of a prefix may be.
    KeyName::try_from(if hex.is_empty() { "0" } else { hex.as_str() })
        .expect("hexadecimal digits are a valid key name")
}

fn created_key(at: Timestamp) -> KeyName {
    KeyName::try_from(format!("{:020}", at.as_millis()).as_str())
        .expect("digits are a valid key name")
}
