//! Where deliveries may go: an operator's server must not be made to call its own network (I16).
//!
//! Addresses are judged after names are resolved, and the connection goes to the address that was judged, so a name that
//! means another address a moment later gains nothing. What stands in the URL as an address is judged as well, since no
//! resolver is asked about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Finds the addresses of a host.
#[async_trait]
pub trait Lookup: Send + Sync + fmt::Debug {
    /// All addresses of the host called `name`.
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the system's resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Judges where deliveries may go.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Networks that are open on purpose.
    pub allowed: Arc<[IpNet]>,
    /// Finds addresses.
    pub lookup: Arc<dyn Lookup>,
}

/// The address is none that deliveries may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked;

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is not public; WEBHOOK_ALLOWED_NETWORKS opens networks on purpose")
    }
}

impl Error for Blocked {}

impl Guard {
    /// Judges the address that stands in a URL, if one does.
    ///
    /// # Errors
    /// [`Blocked`]
    pub fn judge(&self, url: &Url) -> Result<(), Blocked> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(Blocked),
        };
        match self.admits(address) {
            true => Ok(()),
            false => Err(Blocked),
        }
    }

    fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || self
                .allowed
                .iter()
                .any(|network| network.contains(&address))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.lookup.addresses(name.as_str()).await?;
            let admitted: Vec<_> = found
                .into_iter()
                .filter(|address| guard.admits(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            match admitted.is_empty() {
                true => Err(Blocked.into()),
                false => Ok(Box::new(admitted.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether everybody can reach the address, so that reaching it gains nobody anything (RFC 6890, and the IANA registries
/// of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [(Ipv4Addr, u8); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
    ];
    let bits = u32::from(address);
    !SPECIAL
        .iter()
        .any(|(network, length)| (bits ^ u32::from(*network)) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = u128::from(address);
    let within = |network: u128, length: u32| (bits ^ network) >> (128 - length) == 0;
    let v4_at =
        |shift: u32| Ipv4Addr::from(u32::try_from(bits >> shift & 0xffff_ffff).unwrap_or(0));
    // An IPv4 address in disguise is as public as it is without: NAT64 (RFC 6052), 6to4 (RFC 3056).
    if within(0x0064_ff9b << 96, 96) {
        return is_public_v4(v4_at(0));
    }
    if within(0x2002 << 112, 16) {
        return is_public_v4(v4_at(80));
    }
    // Protocol assignments, Teredo among them; documentation, twice.
    let is_special =
        within(0x2001 << 112, 23) || within(0x2001_0db8 << 96, 32) || within(0x3fff << 112, 20);
    // Global unicast addresses are all in 2000::/3.
    within(0x2000 << 112, 3) && !is_special
}

#[cfg(test)]
mod tests;
