//! How much each address and each agent may do.

use std::net::IpAddr;

use ipnet::IpNet;
use machineauth_core::quota::{Buckets, Quota, Remaining};
use machineauth_core::{Agent, Timestamp};
use pingora_http::RequestHeader;

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
    per_address: Option<Buckets>,
    per_agent: Option<Buckets>,
}

impl Limits {
    pub(crate) fn new(per_address: Option<Rate>, per_agent: Option<Rate>) -> Self {
        let buckets = |rate: Option<Rate>| rate.map(|Rate(quota)| Buckets::new(quota));
        Self {
            per_address: buckets(per_address),
            per_agent: buckets(per_agent),
        }
    }

    /// # Errors
    /// [`Problem::TooMany`]
    pub(crate) fn count_address(
        &self,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Counted>, Problem> {
        count(&self.per_address, Limit::Address, network(address), now)
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
        count(&self.per_agent, Limit::Agent, name, now)
    }
}

fn count(
    buckets: &Option<Buckets>,
    limit: Limit,
    subject: impl std::hash::Hash,
    now: Timestamp,
) -> Result<Option<Counted>, Problem> {
    let Some(buckets) = buckets else {
        return Ok(None);
    };
    let quota = buckets.quota();
    match buckets.take(subject, now) {
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

/// Who sent a request, where proxies in front are believed (I7).
pub(crate) fn client_address(peer: IpAddr, trusted: &[IpNet], request: &RequestHeader) -> IpAddr {
    let is_trusted = |address: &IpAddr| {
        let address = address.to_canonical();
        trusted.iter().any(|network| network.contains(&address))
    };
    if !is_trusted(&peer) {
        return peer;
    }
    let mut client = peer;
    let forwarded = request.headers.get_all("x-forwarded-for");
    let lines: Vec<_> = forwarded
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Ok(hop) = hop.trim().parse() else {
            break;
        };
        client = hop;
        if !is_trusted(&hop) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I7
    #[test]
    fn only_proxies_that_are_trusted_are_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let client = |peer: &str, forwarded: &str| {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            request.insert_header("x-forwarded-for", forwarded).unwrap();
            client_address(peer.parse().unwrap(), &trusted, &request).to_string()
        };
        assert_eq!(client("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(client("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(
            client("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.1.1.1"),
            "198.51.100.7"
        );
        assert_eq!(
            client("10.0.0.1", "203.0.113.9, nonsense, 10.1.1.1"),
            "10.1.1.1"
        );
        assert_eq!(client("10.0.0.1", ""), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", "198.51.100.7"), "198.51.100.7");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
