//! Which events a reader of the trail asks for.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use machineauth_core::clock::Timestamp;

use crate::domain::event::Event;
use crate::domain::id::{AgentId, OrganizationId};

/// Which events are wanted. `None` leaves nothing out.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only what concerns this organization.
    pub organization: Option<OrganizationId>,
    /// Only what concerns this agent, or was done by it.
    pub agent: Option<AgentId>,
    /// Only this action, or with a `*` at the end those that begin so.
    pub action: Option<String>,
    /// Only what came from there.
    pub address: Option<AddressFilter>,
    /// Only from this time on.
    pub from: Option<Timestamp>,
    /// Only until this time, it included.
    pub to: Option<Timestamp>,
    /// Only where this is part of a name or an identifier, whatever its case.
    pub text: Option<String>,
}

/// An address, or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressFilter(IpNet);

impl FromStr for AddressFilter {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<IpNet>() {
            Ok(network) => Ok(Self(network)),
            Err(_) => text.parse::<IpAddr>().map(|address| Self(address.into())),
        }
    }
}

impl Filter {
    /// Whether it leaves out nothing but what concerns others.
    pub(super) fn is_whole(&self) -> bool {
        self.agent.is_none()
            && self.action.is_none()
            && self.address.is_none()
            && self.from.is_none()
            && self.to.is_none()
            && self.text.is_none()
    }

    /// Whether `event` is wanted.
    pub(super) fn takes(&self, event: &Event) -> bool {
        (self.organization.is_none() || event.organization_id == self.organization)
            && (self.agent.is_none() || event.agent_id == self.agent)
            && self.from.is_none_or(|from| from <= event.at)
            && self.to.is_none_or(|to| event.at <= to)
            && self.takes_action(&event.action)
            && self.address.is_none_or(|AddressFilter(network)| {
                event
                    .address
                    .is_some_and(|address| network.contains(&address))
            })
            && self
                .text
                .as_deref()
                .is_none_or(|text| mentions(event, text))
    }

    fn takes_action(&self, action: &str) -> bool {
        match self.action.as_deref() {
            None => true,
            Some(wanted) => match wanted.strip_suffix('*') {
                Some(start) => action.starts_with(start),
                None => action == wanted,
            },
        }
    }
}

fn mentions(event: &Event, text: &str) -> bool {
    let text = text.to_lowercase();
    let has = |part: &str| part.to_lowercase().contains(&text);
    let target = event.target.as_ref();
    has(&event.action)
        || target.is_some_and(|target| has(&target.id))
        || target.is_some_and(|target| target.name.as_deref().is_some_and(has))
        || event.actor.name().as_deref().is_some_and(has)
        || event.request_id.as_deref().is_some_and(has)
        || event
            .details
            .get("name")
            .and_then(|name| name.as_str())
            .is_some_and(has)
}
