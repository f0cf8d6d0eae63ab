//! The certificates that listeners show, exchanged while they serve.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::protocols::ALPN;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};

use super::config::{ConfigError, FileName, ListenerTlsToml, Source};

/// What a listener speaks TLS with.
#[derive(Clone, Debug)]
pub(crate) struct ListenerTls {
    certificate: Arc<Certificate>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    http2: bool,
}

/// The certificate in force.
struct Certificate(ArcSwap<CertifiedKey>);

impl ListenerTls {
    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn read(
        source: &Source,
        toml: &ListenerTlsToml,
        span: Range<usize>,
    ) -> Result<Self, ConfigError> {
        let certified = certified(source, toml, span.clone())?;
        let clients = toml.client_ca.as_ref();
        Ok(Self {
            certificate: Arc::new(Certificate(ArcSwap::from_pointee(certified))),
            clients: clients
                .map(|file| client_verifier(source, file, span))
                .transpose()?,
            http2: toml.http2,
        })
    }

    /// Shows what the files hold now, in new connections. Who vouches for clients stays as it was at the start.
    pub(crate) fn take_over(&self, new: &Self) {
        self.certificate.0.store(new.certificate.0.load_full());
    }

    pub(crate) fn settings(&self) -> pingora_error::Result<TlsSettings> {
        let mut settings = TlsSettings::intermediate("", "")?;
        let certificate: Arc<dyn ResolvesServerCert> = Arc::clone(&self.certificate) as _;
        settings.set_cert_resolver(certificate);
        if let Some(clients) = &self.clients {
            settings.set_client_cert_verifier(Arc::clone(clients));
        }
        settings.set_alpn(if self.http2 { ALPN::H2H1 } else { ALPN::H1 });
        Ok(settings)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

fn certified(
    source: &Source,
    toml: &ListenerTlsToml,
    span: Range<usize>,
) -> Result<CertifiedKey, ConfigError> {
    let fault = |message: &str| source.fault(Some(span.clone()), message);
    let pem = source.file(&toml.certificate, span.clone())?;
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain =
        chain.ok_or_else(|| fault("`certificate` names a file without certificates in PEM"))?;
    let pem = source.file(&toml.key, span.clone())?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| fault("`key` names a file without a private key in PEM"))?;
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|_| fault("the private key is of a kind that is not supported"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(_) => Err(fault("the private key does not belong to the certificate")),
    }
}

fn client_verifier(
    source: &Source,
    file: &FileName,
    span: Range<usize>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let pem = source.file(file, span.clone())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        roots
            .add(certificate)
            .map_err(|error| source.fault(Some(span.clone()), format!("`client_ca`: {error}")))?;
    }
    WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .map_err(|error| source.fault(Some(span), format!("`client_ca`: {error}")))
}
