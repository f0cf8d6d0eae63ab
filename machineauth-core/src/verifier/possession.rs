//! What a client has, beside its token (RFC 7800).

use serde_json::{Map, Value};

use crate::base64url;
use crate::certificate::ClientCertificate;
use crate::crypto::constant_time_eq;
use crate::dpop::Thumbprint;
use crate::error::{ClaimName, Error, ErrorKind};

/// What the sender of a request has proven to have. A token that is bound to something is good only with that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Possession<'a> {
    key: Option<Thumbprint>,
    certificate: Option<&'a ClientCertificate>,
}

impl<'a> Possession<'a> {
    /// Nothing but the token.
    pub const NOTHING: Self = Self {
        key: None,
        certificate: None,
    };

    /// The key that signed a proof (RFC 9449). The token must be bound to it: the scheme `DPoP` is for no other.
    #[must_use]
    pub fn key(self, key: Thumbprint) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    /// The key of a certificate, shown when the connection was made (RFC 8705).
    #[must_use]
    pub fn certificate(self, certificate: &'a ClientCertificate) -> Self {
        Self {
            certificate: Some(certificate),
            ..self
        }
    }

    /// Whether this is what the token's `cnf` asks for: everything in it, and nothing in it that is not understood.
    pub(super) fn satisfies(&self, confirmation: Option<&Map<String, Value>>) -> Result<(), Error> {
        let Some(confirmation) = confirmation else {
            return match self.key {
                None => Ok(()),
                Some(_) => Err(refused("it is bound to no key, so the scheme is Bearer")),
            };
        };
        let has_key = confirmation.contains_key("jkt");
        if confirmation.is_empty() || self.key.is_some() != has_key {
            return Err(refused(BOUND));
        }
        let met = confirmation
            .iter()
            .all(|(method, value)| match (method.as_str(), value) {
                ("jkt", Value::String(thumbprint)) => {
                    let key = self.key.as_ref().map(Thumbprint::as_bytes);
                    is_encoding_of(thumbprint, key)
                }
                ("x5t#S256", Value::String(thumbprint)) => {
                    let certificate = self.certificate.map(ClientCertificate::thumbprint);
                    is_encoding_of(thumbprint, certificate)
                }
                _ => false,
            });
        if met { Ok(()) } else { Err(refused(BOUND)) }
    }
}

const BOUND: &str = "the token is bound to a key, and possession of the key was not shown";

fn is_encoding_of(text: &str, thumbprint: Option<&[u8; 32]>) -> bool {
    thumbprint
        .is_some_and(|bytes| constant_time_eq(text.as_bytes(), base64url::encode(bytes).as_bytes()))
}

const fn refused(detail: &'static str) -> Error {
    Error::because(ErrorKind::InvalidClaim(ClaimName::Confirmation), detail)
}
