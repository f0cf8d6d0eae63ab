//! TLS served directly: the certificate in force, and how the next one takes its place.
//!
//! Both files are looked at every second, and at once when the operator asks. By their contents and not by their times,
//! since whoever renews certificates may swap links or restore old times. A pair that does not fit together is half of
//! a replacement or a mistake: the one in force stays, and the log says so once. Connections keep what they began with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::crypto::sha256;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

/// The variable that names the file with the certificate and what vouches for it.
pub const CERT_FILE: &str = "TLS_CERT_FILE";
/// The variable that names the file with the private key.
pub const KEY_FILE: &str = "TLS_KEY_FILE";

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long before its end a certificate should have been replaced.
const NEAR_END: Duration = Duration::from_secs(14 * 86_400);
/// How often the log says that it was not.
const REMINDER: Duration = Duration::from_secs(86_400);
/// The one protocol that the accept loop speaks (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Where certificate and key are, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// Files that cannot be served, by the variable that names the wrong one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {what}")]
pub struct InvalidTls {
    /// [`CERT_FILE`] or [`KEY_FILE`].
    pub variable: &'static str,
    /// What is wrong. Never holds anything of the key.
    pub what: String,
}

/// The certificate that the server shows, kept equal to the files.
#[derive(Debug)]
pub struct Certificates {
    files: TlsFiles,
    served: ArcSwap<Served>,
    asked: Notify,
    /// When the certificate in force ends (RFC 5280 §4.1.2.5), in Unix seconds.
    pub expiry: Gauge,
}

/// A pair in force.
#[derive(Debug)]
struct Served {
    config: Arc<ServerConfig>,
    expires_at: Timestamp,
    digest: Digest,
}

/// Tells one pair of files from another.
type Digest = [[u8; 32]; 2];

/// What the two files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl TlsFiles {
    /// Checks that the files can be served.
    ///
    /// # Errors
    /// Says which of the files is wrong, and why.
    pub fn check(&self) -> Result<(), InvalidTls> {
        Contents::read(self)?.prepare().map(|_| ())
    }
}

impl Certificates {
    /// The certificate in `files`.
    ///
    /// # Errors
    /// Says which of the files is wrong, and why.
    pub fn open(files: TlsFiles) -> Result<Self, InvalidTls> {
        let served = Contents::read(&files)?.prepare()?;
        let expiry = Gauge::default();
        expiry.set(unix_seconds(served.expires_at));
        Ok(Self {
            files,
            served: ArcSwap::from_pointee(served),
            asked: Notify::new(),
            expiry,
        })
    }

    /// Makes connections secure with the certificate in force.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.served.load().config))
    }

    /// Looks at the files at once, and says in the log what came of it.
    pub fn look_now(&self) {
        self.asked.notify_one();
    }

    /// Keeps what is in force equal to the files, forever.
    pub async fn follow(&self, clock: &dyn Clock) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Ok(self.served.load().digest);
        let mut remind_at = Timestamp::from_millis(0);
        loop {
            let is_asked = tokio::select! {
                _ = looks.tick() => false,
                () = self.asked.notified() => true,
            };
            let contents = self.read().await;
            let sight = contents
                .as_ref()
                .map(Contents::digest)
                .map_err(Clone::clone);
            if is_asked || sight != seen {
                seen = sight;
                if self.replace(contents) {
                    remind_at = Timestamp::from_millis(0);
                }
            }
            let now = clock.now();
            if now >= remind_at {
                remind_at = now.saturating_add(REMINDER);
                warn_of_end(self.served.load().expires_at, now);
            }
        }
    }

    async fn read(&self) -> Result<Contents, InvalidTls> {
        let files = self.files.clone();
        // A file system that hangs must not hold up requests.
        tokio::task::spawn_blocking(move || Contents::read(&files))
            .await
            .unwrap_or_else(|error| Err(InvalidTls::certificate(error.to_string())))
    }

    /// Puts `contents` in force if they can be, and says whether they could.
    fn replace(&self, contents: Result<Contents, InvalidTls>) -> bool {
        match contents.and_then(|contents| contents.prepare()) {
            Ok(served) => {
                tracing::info!(
                    expires_at = served.expires_at.as_secs(),
                    "the certificate was read and is in force for new connections"
                );
                self.expiry.set(unix_seconds(served.expires_at));
                self.served.store(Arc::new(served));
                true
            }
            Err(error) => {
                tracing::error!(%error, "the certificate in force stays, since the new one cannot be served");
                false
            }
        }
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, InvalidTls> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        Ok(Self {
            certificate: read(&files.certificate).map_err(InvalidTls::certificate)?,
            key: read(&files.key).map_err(InvalidTls::key)?.into(),
        })
    }

    fn digest(&self) -> Digest {
        [sha256(&self.certificate), sha256(&self.key)]
    }

    /// Makes the pair ready to be served.
    fn prepare(&self) -> Result<Served, InvalidTls> {
        let chain = self.chain()?;
        let expires_at = end_of(&chain[0])?;
        // The library's words about a key file can quote from it.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            InvalidTls::key("holds no whole private key in PEM that is not encrypted")
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = certified(chain, key, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| InvalidTls::certificate(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Sessions live in the client's tickets: any number of clients resumes, and costs no memory.
        config.ticketer = aws_lc_rs::Ticketer::new()
            .map_err(|error| InvalidTls::certificate(error.to_string()))?;
        Ok(Served {
            config: Arc::new(config),
            expires_at,
            digest: self.digest(),
        })
    }

    /// At least one certificate.
    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| InvalidTls::certificate(format!("cannot be read as PEM: {error}")))?;
        match chain.is_empty() {
            true => Err(InvalidTls::certificate("holds no certificate in PEM")),
            false => Ok(chain),
        }
    }
}

impl InvalidTls {
    fn certificate(what: impl Into<String>) -> Self {
        Self {
            variable: CERT_FILE,
            what: what.into(),
        }
    }

    fn key(what: impl Into<String>) -> Self {
        Self {
            variable: KEY_FILE,
            what: what.into(),
        }
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, InvalidTls> {
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| InvalidTls::key("the private key is of no kind that TLS knows"))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => Err(InvalidTls::key(format!(
            "this key is not that of the certificate in {CERT_FILE}"
        ))),
        Err(error) => Err(InvalidTls::certificate(error.to_string())),
    }
}

/// The certificate's `notAfter`.
fn end_of(certificate: &CertificateDer<'_>) -> Result<Timestamp, InvalidTls> {
    let certificate = x509_cert::Certificate::from_der(certificate)
        .map_err(|error| InvalidTls::certificate(format!("is no certificate: {error}")))?;
    let end = certificate.tbs_certificate().validity().not_after;
    Ok(Timestamp::from_secs(end.to_unix_duration().as_secs()))
}

fn unix_seconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_secs()).unwrap_or(i64::MAX)
}

fn warn_of_end(expires_at: Timestamp, now: Timestamp) {
    let left = expires_at.duration_since(now);
    let expires_at = expires_at.as_secs();
    if left.is_zero() {
        tracing::error!(expires_at, "the TLS certificate has expired: replace it");
    } else if left < NEAR_END {
        let days = left.as_secs() / 86_400;
        tracing::warn!(
            expires_at,
            days,
            "the TLS certificate expires soon: replace it"
        );
    }
}
