//! Where Redis is, and whom to trust there.

use std::path::{Path, PathBuf};

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::store::{InvalidAddress, StoreError};

/// How to reach Redis, besides its URL.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RedisOptions {
    /// A PEM file with the certificate authorities to trust for `rediss://`, instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

impl RedisOptions {
    /// Trusts the certificate authorities in this PEM file, instead of the public ones.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> RedisOptions {
        self.ca_file = Some(path.into());
        self
    }
}

/// A client for a URL.
pub(super) fn client(
    url: &str,
    options: &RedisOptions,
    protocol: ProtocolVersion,
) -> Result<Client, StoreError> {
    let invalid = |why| StoreError::Address { why };
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err(invalid(InvalidAddress::Url));
    }
    let info = url
        .into_connection_info()
        .map_err(|_| invalid(InvalidAddress::Url))?;
    let settings = info.redis_settings().clone().set_protocol(protocol);
    let info = info.set_redis_settings(settings);
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Client::open(info).map_err(|_| invalid(InvalidAddress::Url));
    }
    // rustls asks the process which cryptography to use, and panics when nobody said so and more than one is
    // compiled in. An application's own choice stands.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authorities = options.ca_file.as_deref().map(certificate_authorities);
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: authorities.transpose()?,
    };
    Client::build_with_tls(info, certificates)
        .map_err(|_| invalid(InvalidAddress::CertificateAuthorities))
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
