//! Reading where the TLS certificate is.

use super::reader::Reader;
use crate::tls::{CERT_FILE, KEY_FILE, TlsFiles};

impl Reader {
    /// The files to serve TLS with: both or neither, and such that they can be served.
    pub(super) fn tls(&mut self) -> Option<TlsFiles> {
        let (certificate, key) = match (self.take(CERT_FILE), self.take(KEY_FILE)) {
            (None, None) => return None,
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                self.problem(KEY_FILE, "required with TLS_CERT_FILE");
                return None;
            }
            (None, Some(_)) => {
                self.problem(CERT_FILE, "required with TLS_KEY_FILE");
                return None;
            }
        };
        let files = TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        };
        if let Err(invalid) = files.check() {
            self.problem(invalid.variable, &invalid.what);
        }
        Some(files)
    }
}
