//! What stands between the network and the handlers: who may call how often, and from where.

pub mod challenge;
pub mod failures;
pub mod gate;
pub mod origins;

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use machineauth_core::clock::Timestamp;
use machineauth_core::quota::{Buckets, Exhausted, Quota, Remaining};
use prometheus_client::metrics::counter::Counter;

use self::failures::{Attempt, Failures};
use crate::domain::secret::SecretText;

/// How the server is protected.
#[derive(Debug, Clone)]
pub struct ProtectionSettings {
    /// Proxies whose word about the client's address and scheme counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests per second of one address; 0 for any number.
    pub rate_per_address: u32,
    /// Authenticated requests per second of one client or API key; 0 for any number.
    pub rate_per_client: u32,
    /// Wrong secrets at once, for one name from one address; 0 for any number.
    pub failure_limit: u32,
    /// Whether requests without TLS are refused.
    pub require_https: bool,
    /// Origins whose pages may call the API (CORS).
    pub allowed_origins: Vec<String>,
}

/// The limits of the server, and how often they were met.
#[derive(Debug)]
pub struct Limits {
    per_address: Option<Buckets>,
    per_client: Option<Buckets>,
    failures: Option<Failures>,
    /// Requests refused because there were too many.
    pub limited: Counter,
    /// Requests refused because of too many wrong secrets.
    pub locked_out: Counter,
}

impl Limits {
    /// The limits that the settings ask for.
    pub fn new(settings: &ProtectionSettings) -> Self {
        Self {
            per_address: Buckets::per_second(settings.rate_per_address),
            per_client: Buckets::per_second(settings.rate_per_client),
            failures: (settings.failure_limit > 0).then(|| Failures::new(settings.failure_limit)),
            limited: Counter::default(),
            locked_out: Counter::default(),
        }
    }

    /// How many requests an address may make, where that is limited.
    pub fn quota_per_address(&self) -> Option<Quota> {
        self.per_address.as_ref().map(Buckets::quota)
    }

    /// Counts a request of an address. Says what remains to it, where there is a limit.
    ///
    /// # Errors
    /// When the address makes too many.
    pub fn admit(&self, address: IpAddr, now: Timestamp) -> Result<Option<Remaining>, Exhausted> {
        match &self.per_address {
            Some(buckets) => self
                .counted(buckets.take(address_block(address), now))
                .map(Some),
            None => Ok(None),
        }
    }

    /// Counts a request of a client, or of an API key.
    ///
    /// # Errors
    /// When the client makes too many.
    pub fn admit_client(&self, client: &str, now: Timestamp) -> Result<(), Exhausted> {
        match &self.per_client {
            Some(buckets) => self.counted(buckets.take(client, now)).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Forgets that a client was admitted a moment ago: it was somebody else.
    pub fn forget_use(&self, client: &str) {
        if let Some(buckets) = &self.per_client {
            buckets.give_back(client);
        }
    }

    /// Lets an address present a secret for a name.
    ///
    /// # Errors
    /// When it has failed too often.
    pub async fn attempt(
        &self,
        address: IpAddr,
        name: &str,
        secret: &SecretText,
        now: Timestamp,
    ) -> Result<Attempt<'_>, Exhausted> {
        let Some(failures) = &self.failures else {
            return Ok(Attempt::uncounted());
        };
        let attempt = failures.attempt(address, name, secret, now).await;
        if attempt.is_err() {
            self.locked_out.inc();
        }
        attempt
    }

    fn counted<T>(&self, taken: Result<T, Exhausted>) -> Result<T, Exhausted> {
        if taken.is_err() {
            self.limited.inc();
        }
        taken
    }
}

/// What is one client's: a whole /64 of IPv6, which one machine can have to itself.
pub fn address_block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}
