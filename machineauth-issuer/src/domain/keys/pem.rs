//! Keys as PEM text (RFC 7468): private ones come in, public ones go out.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machineauth_core::crypto::{Algorithm, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::KeyError;

/// What a key is taken for when nobody says. The first that fits its kind wins.
const CANDIDATES: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Larger ones make every verification slow, and are refused by many verifiers.
const MAX_RSA_BITS: usize = 4096;
const LINE: usize = 64;

/// Reads an unencrypted PKCS #8 private key (RFC 5958), for `algorithm` or for the usual one of its kind.
///
/// # Errors
/// [`KeyError::NotImportable`] for anything else, [`KeyError::WrongAlgorithm`] when the key is not one for it.
pub fn import(pem: &str, algorithm: Option<Algorithm>) -> Result<SigningKey, KeyError> {
    let document =
        PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotImportable)?;
    let read = |algorithm| SigningKey::from_pkcs8(algorithm, document.secret_pkcs8_der()).ok();
    let key = CANDIDATES
        .into_iter()
        .find_map(read)
        .ok_or(KeyError::NotImportable)?;
    if key.rsa_bits().is_some_and(|bits| bits > MAX_RSA_BITS) || key.verifying_key().is_err() {
        return Err(KeyError::NotImportable);
    }
    match algorithm {
        Some(algorithm) => read(algorithm).ok_or(KeyError::WrongAlgorithm),
        None => Ok(key),
    }
}

/// The public half as `PUBLIC KEY` (RFC 5280 §4.1.2.7), which verifiers that know no key sets take.
pub fn public_pem(key: &SigningKey) -> String {
    let encoded = STANDARD.encode(key.public_spki());
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in encoded.as_bytes().chunks(LINE) {
        let line = std::str::from_utf8(line).expect("base64 is ASCII");
        writeln!(pem, "{line}").expect("writing to a text cannot fail");
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}
