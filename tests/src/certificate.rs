//! Certificates that vouch for themselves, and files that hold them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use machineauth_core::clock::Timestamp;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

/// A certificate for loopback with its key.
#[derive(Debug)]
pub struct Pair {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The private key, in PEM.
    pub key: String,
    /// The certificate, as clients see it.
    pub der: CertificateDer<'static>,
}

impl Pair {
    /// A new one, good for longer than anybody tests.
    pub fn new() -> Self {
        Self::until(Timestamp::from_secs(64_060_588_800))
    }

    /// A new one that is good until `end`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn until(end: Timestamp) -> Self {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(end.as_secs());
        let key = KeyPair::generate().expect("a key can be made");
        let made = params
            .self_signed(&key)
            .expect("a certificate can be signed");
        Self {
            certificate: made.pem(),
            key: key.serialize_pem(),
            der: made.der().clone(),
        }
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// The two files that an issuer serves TLS with.
#[derive(Debug)]
pub struct TlsFiles {
    directory: TempDir,
}

impl TlsFiles {
    /// Files that hold `pair`.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn holding(pair: &Pair) -> Self {
        let files = Self {
            directory: tempfile::tempdir().expect("a directory can be made"),
        };
        files.put(&pair.certificate, &pair.key);
        files
    }

    /// Replaces what the files hold, one after the other.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn put(&self, certificate: &str, key: &str) {
        write(&self.certificate(), certificate);
        write(&self.key(), key);
    }

    /// The path of the certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// The path of the key.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the file can be written");
}
