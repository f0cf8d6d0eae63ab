//! Where Redis is, and whom to trust there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::store::{InvalidAddress, StoreError};

/// How long what was sent may stay unacknowledged by the other machine.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// How to use Redis, besides its URL.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RedisOptions {
    /// A PEM file with the certificate authorities to trust for `rediss://`, instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// How many replicas must have what a batch that [insists on it](crate::store::Batch::on_replicas) wrote before it
    /// counts as committed.
    pub replicas: u32,
}

impl RedisOptions {
    /// Trusts the certificate authorities in this PEM file, instead of the public ones.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> RedisOptions {
        self.ca_file = Some(path.into());
        self
    }

    /// Waits for this many replicas where a batch insists on it.
    #[must_use]
    pub fn with_replicas(mut self, replicas: u32) -> RedisOptions {
        self.replicas = replicas;
        self
    }
}

/// A `host:port`, as URLs and Redis write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Host(String);

impl Host {
    /// From the two parts in which Redis names a server.
    pub(super) fn new(name: &str, port: u16) -> Host {
        if name.contains(':') && !name.starts_with('[') {
            Host(format!("[{name}]:{port}"))
        } else {
            Host(format!("{name}:{port}"))
        }
    }

    /// From the form that redirections have.
    pub(super) fn parse(text: &str) -> Option<Host> {
        let (name, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        (!name.is_empty()).then(|| Host::new(name, port))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is to be asked where the servers are that hold the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody: it is the one that is named.
    Server,
    /// The named Sentinels, for the master of this name.
    Sentinel { master: String },
    /// Any of the named servers of a cluster.
    Cluster,
}

/// A store's URL, taken apart.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) kind: Kind,
    /// Never empty.
    pub(super) hosts: Vec<Host>,
    scheme: &'static str,
    /// User and password with their `@`, as they stand in the URL.
    credentials: String,
    /// What follows the hosts: the database, parameters.
    rest: String,
    authorities: Option<Vec<u8>>,
}

const INVALID: StoreError = StoreError::Address {
    why: InvalidAddress::Url,
};

impl Address {
    /// Reads `redis://`, `redis+sentinel://` and `redis+cluster://` URLs, and the same with `rediss`.
    ///
    /// # Errors
    /// [`StoreError::Address`] when it is none, or the file of certificate authorities cannot be used.
    pub(super) fn parse(url: &str, options: &RedisOptions) -> Result<Address, StoreError> {
        let (scheme, rest) = url.split_once("://").ok_or(INVALID)?;
        let (scheme, layout) = scheme.split_once('+').unwrap_or((scheme, ""));
        let scheme = match scheme {
            "redis" => "redis",
            "rediss" => "rediss",
            _ => return Err(INVALID),
        };
        let authority = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority);
        let (credentials, hosts) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        let (kind, rest) = match layout {
            "" => (Kind::Server, rest),
            "cluster" => (Kind::Cluster, rest),
            "sentinel" => {
                let path = rest.strip_prefix('/').ok_or(INVALID)?;
                let end = path.find(['/', '?']).unwrap_or(path.len());
                let master = path[..end].to_owned();
                (Kind::Sentinel { master }, &path[end..])
            }
            _ => return Err(INVALID),
        };
        let authorities = options.ca_file.as_deref().map(certificate_authorities);
        let address = Address {
            kind,
            hosts: hosts.split(',').map(|host| Host(host.to_owned())).collect(),
            scheme,
            credentials: credentials.to_owned(),
            rest: rest.to_owned(),
            authorities: authorities.transpose()?,
        };
        address.validate()?;
        Ok(address)
    }

    fn validate(&self) -> Result<(), StoreError> {
        let names_a_master = match &self.kind {
            Kind::Sentinel { master } => !master.is_empty(),
            Kind::Server => self.hosts.len() == 1,
            Kind::Cluster => true,
        };
        if !names_a_master {
            return Err(INVALID);
        }
        self.hosts
            .iter()
            .try_for_each(|host| self.client(host, ProtocolVersion::RESP3).map(drop))
    }

    /// A client for a server of the store.
    pub(super) fn client(
        &self,
        host: &Host,
        protocol: ProtocolVersion,
    ) -> Result<Client, StoreError> {
        self.open(&self.credentials, host, &self.rest, protocol)
    }

    /// A client for a Sentinel: its users and passwords are its own, and it has none of the store's.
    pub(super) fn sentinel(&self, host: &Host) -> Result<Client, StoreError> {
        self.open("", host, "", ProtocolVersion::RESP2)
    }

    fn open(
        &self,
        credentials: &str,
        host: &Host,
        rest: &str,
        protocol: ProtocolVersion,
    ) -> Result<Client, StoreError> {
        let url = format!("{}://{credentials}{host}{rest}", self.scheme);
        let info = url.into_connection_info().map_err(|_| INVALID)?;
        let settings = info.redis_settings().clone().set_protocol(protocol);
        let info = info
            .set_redis_settings(settings)
            .set_tcp_settings(tcp_settings());
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(info).map_err(|_| INVALID);
        }
        // rustls asks the process which cryptography to use, and panics when nobody said so and more than one is
        // compiled in. An application's own choice stands.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: self.authorities.clone(),
        };
        Client::build_with_tls(info, certificates).map_err(|_| StoreError::Address {
            why: InvalidAddress::CertificateAuthorities,
        })
    }
}

/// A command leaves although the one before it is not acknowledged, and a connection ends on which nothing is.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED);
    settings
}

/// Without user, password and parameters.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("kind", &self.kind)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// The file's content, which must be PEM with at least one certificate: trusting nobody would look like an outage.
fn certificate_authorities(path: &Path) -> Result<Vec<u8>, StoreError> {
    let pem = std::fs::read(path).unwrap_or_default();
    let mut certificates = CertificateDer::pem_slice_iter(&pem);
    if matches!(certificates.next(), Some(Ok(_))) {
        Ok(pem)
    } else {
        Err(StoreError::Address {
            why: InvalidAddress::CertificateAuthorities,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Option<(Kind, Vec<String>)> {
        let address = Address::parse(url, &RedisOptions::default()).ok()?;
        let hosts = address.hosts.iter().map(Host::to_string).collect();
        Some((address.kind, hosts))
    }

    fn hosts(hosts: &[&str]) -> Vec<String> {
        hosts.iter().map(|&host| host.to_owned()).collect()
    }

    #[test]
    fn a_url_says_who_is_to_be_asked() {
        let sentinel = |master: &str| Kind::Sentinel {
            master: master.to_owned(),
        };
        for (url, kind, named) in [
            ("redis://localhost", Kind::Server, hosts(&["localhost"])),
            (
                "rediss://u:p%40x@[::1]:6380/2",
                Kind::Server,
                hosts(&["[::1]:6380"]),
            ),
            (
                "redis+cluster://u:p@a:7000,b:7001",
                Kind::Cluster,
                hosts(&["a:7000", "b:7001"]),
            ),
            (
                "redis+sentinel://:p@a:26379,b/mymaster/3",
                sentinel("mymaster"),
                hosts(&["a:26379", "b"]),
            ),
        ] {
            assert_eq!(parse(url), Some((kind, named)), "{url}");
        }
    }

    #[test]
    fn what_names_nobody_to_ask_is_refused() {
        for url in [
            "redis://",
            "redis://a,b",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+cluster://a,",
            "redis+nonsense://a",
            "http://a",
            "a",
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[test]
    fn a_server_that_redis_names_is_one_for_a_url() {
        let parsed = |text| Host::parse(text).map(|host| host.to_string());
        assert_eq!(parsed("127.0.0.1:7000").as_deref(), Some("127.0.0.1:7000"));
        assert_eq!(parsed("::1:7000").as_deref(), Some("[::1]:7000"));
        assert_eq!(parsed(":7000"), None);
        assert_eq!(parsed("a:b"), None);
    }
}
