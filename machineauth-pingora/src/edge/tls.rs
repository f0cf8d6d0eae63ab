//! The certificates that listeners show, exchanged while they serve.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::protocols::ALPN;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, InconsistentKeys, RootCertStore, SignatureScheme,
};

use super::config::{ConfigError, FileName, ListenerTlsToml, Source};

/// What a listener speaks TLS with.
#[derive(Clone, Debug)]
pub(crate) struct ListenerTls {
    certificate: Arc<Certificate>,
    clients: Option<Arc<Clients>>,
    http2: bool,
}

/// The certificate in force.
struct Certificate(ArcSwap<CertifiedKey>);

/// Who vouches for clients at present.
#[derive(Debug)]
struct Clients(ArcSwap<Arc<dyn ClientCertVerifier>>);

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
                .transpose()?
                .map(|verifier| Arc::new(Clients(ArcSwap::from_pointee(verifier)))),
            http2: toml.http2,
        })
    }

    /// Shows what the files hold now, in new connections, and believes who vouches for clients there. Whether clients may show
    /// a certificate at all stays as it was at the start.
    pub(crate) fn take_over(&self, new: &Self) {
        self.certificate.0.store(new.certificate.0.load_full());
        if let (Some(own), Some(new)) = (&self.clients, &new.clients) {
            own.0.store(new.0.load_full());
        }
    }

    pub(crate) fn settings(&self) -> pingora_error::Result<TlsSettings> {
        let mut settings = TlsSettings::intermediate("", "")?;
        let certificate: Arc<dyn ResolvesServerCert> = Arc::clone(&self.certificate) as _;
        settings.set_cert_resolver(certificate);
        if let Some(clients) = &self.clients {
            let clients: Arc<dyn ClientCertVerifier> = Arc::clone(clients) as _;
            settings.set_client_cert_verifier(clients);
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

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.0.load().offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.load().client_auth_mandatory()
    }

    /// None are named: these are lent for as long as this lives, and change before. Clients choose by themselves then.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verifier = self.0.load();
        verifier.verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verifier = self.0.load();
        verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verifier = self.0.load();
        verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().supported_verify_schemes()
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
    let chain = certificates(&pem, "certificate").map_err(|message| fault(&message))?;
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
    let fault = |message: String| source.fault(Some(span.clone()), message);
    let pem = source.file(file, span.clone())?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&pem, "client_ca").map_err(fault)? {
        let added = roots.add(certificate);
        added.map_err(|error| fault(format!("`client_ca`: {error}")))?;
    }
    WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .map_err(|error| fault(format!("`client_ca`: {error}")))
}

/// What is in the file that `key` names: all of it, for one that cannot be read is not merely left out.
pub(crate) fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.ok().filter(|read| !read.is_empty());
    read.ok_or_else(|| format!("`{key}` names a file without certificates in PEM"))
}
