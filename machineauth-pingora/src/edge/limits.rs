//! How much each address and each agent may do.

use std::net::IpAddr;

use ipnet::IpNet;
use machineauth_core::quota::{Buckets, Quota, Remaining};
use machineauth_core::{Agent, Timestamp};

use super::answers::{Limit, Problem, UsedUp};
use super::config::Rate;

/// A request that counts, and what remains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) limit: Limit,
    pub(crate) quota: Quota,
    pub(crate) remaining: Remaining,
}

/// The limits of one route, or of all.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    per_address: Option<Limited>,
    per_agent: Option<Limited>,
}

/// What one limit has counted.
#[derive(Debug)]
struct Limited {
    limit: Limit,
    buckets: Buckets,
}

impl Limits {
    pub(crate) fn of_all_routes(per_address: Option<Rate>, per_agent: Option<Rate>) -> Self {
        Self {
            per_address: Limited::new(Limit::Address, per_address),
            per_agent: Limited::new(Limit::Agent, per_agent),
        }
    }

    pub(crate) fn of_one_route(per_address: Option<Rate>, per_agent: Option<Rate>) -> Self {
        Self {
            per_address: Limited::new(Limit::RouteAddress, per_address),
            per_agent: Limited::new(Limit::RouteAgent, per_agent),
        }
    }

    /// # Errors
    /// [`Problem::TooMany`]
    pub(crate) fn count_address(
        &self,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Counted>, Problem> {
        count(self.per_address.as_ref(), network(address), now)
    }

    /// # Errors
    /// [`Problem::TooMany`]
    pub(crate) fn count_agent(
        &self,
        agent: &Agent,
        now: Timestamp,
    ) -> Result<Option<Counted>, Problem> {
        // The issuer belongs to the name: another issuer's agent of the same name is somebody else.
        let name = (agent.claims().issuer.as_str(), agent.id());
        count(self.per_agent.as_ref(), name, now)
    }
}

impl Limited {
    fn new(limit: Limit, rate: Option<Rate>) -> Option<Self> {
        let Rate(quota) = rate?;
        let buckets = Buckets::new(quota);
        Some(Self { limit, buckets })
    }
}

fn count(
    limited: Option<&Limited>,
    subject: impl std::hash::Hash,
    now: Timestamp,
) -> Result<Option<Counted>, Problem> {
    let Some(limited) = limited else {
        return Ok(None);
    };
    let (limit, quota) = (limited.limit, limited.buckets.quota());
    match limited.buckets.take(subject, now) {
        Ok(remaining) => Ok(Some(Counted {
            limit,
            quota,
            remaining,
        })),
        Err(exhausted) => Err(Problem::TooMany(UsedUp {
            limit,
            quota,
            exhausted,
        })),
    }
}

/// Whoever has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) & (u128::MAX << 64),
    }
}

/// Whether an address is that of a proxy in front which is believed.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
