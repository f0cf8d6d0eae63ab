//! The certificate that a client showed when it connected (RFC 8705).

use std::fmt;

use crate::crypto::sha256;

/// The certificate of a mutual-TLS connection. Whoever ends TLS puts it into each request's extensions; a token that is
/// bound to a certificate (`cnf.x5t#S256`, RFC 8705 §3.1) is then good only with the right one.
///
/// Take it from the connection itself. A header that a proxy sets is only as good as the certainty that nobody else can
/// set it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate {
    thumbprint: [u8; 32],
}

impl ClientCertificate {
    /// From the certificate's DER encoding: the first of the chain that the client sent.
    pub fn from_der(der: &[u8]) -> Self {
        Self {
            thumbprint: sha256(der),
        }
    }

    /// From the SHA-256 digest of its DER encoding, where the TLS library has made that already.
    pub fn from_thumbprint(thumbprint: [u8; 32]) -> Self {
        Self { thumbprint }
    }

    /// The SHA-256 digest of its DER encoding.
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(..)")
    }
}
