use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::{Algorithm, VerifyingKey};
use crate::error::{Error, ErrorKind};
use crate::jwk::Jwk;

/// A parsed private key that makes signatures of one [`Algorithm`]. Never prints itself.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    EllipticCurve(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// How each algorithm's key pairs are made and used.
enum Scheme {
    Rsa(&'static dyn RsaEncoding),
    EllipticCurve(&'static EcdsaSigningAlgorithm),
    Ed25519,
}

impl SigningKey {
    /// A new random key; RSA keys get 2048 bits. An RSA key takes tens of milliseconds or more of CPU.
    ///
    /// # Errors
    /// [`ErrorKind::CryptographyFailed`] when the library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        Self::generate_sized(algorithm, 2048)
    }

    /// As [`SigningKey::generate`], with `rsa_bits` for an RSA key: 2048, 3072 or 4096.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] for another size, [`ErrorKind::CryptographyFailed`] when the library fails.
    pub fn generate_sized(algorithm: Algorithm, rsa_bits: u16) -> Result<Self, Error> {
        let failed = |_| Error::because(ErrorKind::CryptographyFailed, "generating a key");
        let size = match rsa_bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => {
                return Err(Error::because(
                    ErrorKind::InvalidConfiguration,
                    "an RSA key of 2048, 3072 or 4096 bits is generated",
                ));
            }
        };
        let pair = match scheme(algorithm) {
            Scheme::Rsa(encoding) => {
                Pair::Rsa(RsaKeyPair::generate(size).map_err(failed)?, encoding)
            }
            Scheme::EllipticCurve(curve) => {
                Pair::EllipticCurve(EcdsaKeyPair::generate(curve).map_err(failed)?)
            }
            Scheme::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Ok(Self { algorithm, pair })
    }

    /// Reads an unencrypted PKCS#8 DER document (RFC 5208, RFC 5958).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] when it is none, or its key is not one for `algorithm`, or an RSA key is outside
    /// 2048–8192 bits.
    pub fn from_pkcs8(algorithm: Algorithm, document: &[u8]) -> Result<Self, Error> {
        let invalid = |_| {
            Error::because(
                ErrorKind::InvalidKey,
                "not a PKCS#8 private key for its algorithm",
            )
        };
        let pair = match scheme(algorithm) {
            Scheme::Rsa(encoding) => {
                Pair::Rsa(RsaKeyPair::from_pkcs8(document).map_err(invalid)?, encoding)
            }
            Scheme::EllipticCurve(curve) => {
                Pair::EllipticCurve(EcdsaKeyPair::from_pkcs8(curve, document).map_err(invalid)?)
            }
            Scheme::Ed25519 => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(document).map_err(invalid)?)
            }
        };
        Ok(Self { algorithm, pair })
    }

    /// The key as a PKCS#8 version 1 DER document, for storing it encrypted.
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let encoded = match &self.pair {
            Pair::Rsa(pair, _) => {
                AsDer::<Pkcs8V1Der<'static>>::as_der(pair).map(|der| der.as_ref().to_vec())
            }
            Pair::EllipticCurve(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
        };
        Zeroizing::new(encoded.expect("a parsed private key can be encoded"))
    }

    /// The one algorithm this key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs `message`. ECDSA signatures are the fixed-length concatenation of r and s (RFC 7518 §3.4).
    ///
    /// # Errors
    /// [`ErrorKind::CryptographyFailed`] when the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::because(ErrorKind::CryptographyFailed, "signing");
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pair::EllipticCurve(pair) => Ok(pair
                .sign(&random, message)
                .map_err(failed)?
                .as_ref()
                .to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
        }
    }

    /// The public half, ready for publishing under the name `kid`.
    pub fn public_jwk(&self, kid: &str) -> Jwk {
        match &self.pair {
            Pair::Rsa(pair, _) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                Jwk::rsa(
                    self.algorithm,
                    n.big_endian_without_leading_zero(),
                    e.big_endian_without_leading_zero(),
                    kid,
                )
            }
            Pair::EllipticCurve(pair) => {
                Jwk::elliptic_curve(self.algorithm, pair.public_key().as_ref(), kid)
            }
            Pair::Ed25519(pair) => Jwk::ed25519(pair.public_key().as_ref(), kid),
        }
    }

    /// How many bits the modulus of an RSA key has. `None` for other keys.
    pub fn rsa_bits(&self) -> Option<usize> {
        match &self.pair {
            Pair::Rsa(pair, _) => Some(pair.public_modulus_len() * 8),
            Pair::EllipticCurve(_) | Pair::Ed25519(_) => None,
        }
    }

    /// The public half as a DER document of `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
    pub fn public_spki(&self) -> Vec<u8> {
        let encoded = match &self.pair {
            Pair::Rsa(pair, _) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Pair::EllipticCurve(pair) => pair.public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        encoded
            .expect("a parsed public key can be encoded")
            .as_ref()
            .to_vec()
    }

    /// The public half, ready for verifying.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] when the public half is not acceptable: an imported RSA key with an exponent below 3
    /// or of more than 33 bits.
    pub fn verifying_key(&self) -> Result<VerifyingKey, Error> {
        self.public_jwk("").verifying_key()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn scheme(algorithm: Algorithm) -> Scheme {
    match algorithm {
        Algorithm::RS256 => Scheme::Rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::RS384 => Scheme::Rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::RS512 => Scheme::Rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::PS256 => Scheme::Rsa(&signature::RSA_PSS_SHA256),
        Algorithm::PS384 => Scheme::Rsa(&signature::RSA_PSS_SHA384),
        Algorithm::PS512 => Scheme::Rsa(&signature::RSA_PSS_SHA512),
        Algorithm::ES256 => Scheme::EllipticCurve(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => Scheme::EllipticCurve(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDSA => Scheme::Ed25519,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_what_its_public_half_verifies() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let public = key.verifying_key().unwrap();
            let mut signature = key.sign(b"message").unwrap();
            assert_eq!(public.algorithm(), algorithm);
            assert_eq!(public.verify(b"message", &signature), Ok(()), "{algorithm}");
            assert!(
                public.verify(b"massage", &signature).is_err(),
                "{algorithm}"
            );
            signature[5] ^= 1;
            assert!(
                public.verify(b"message", &signature).is_err(),
                "{algorithm}"
            );
            assert!(public.verify(b"message", &[]).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn a_key_survives_pkcs8() {
        for algorithm in [
            Algorithm::RS256,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
        ] {
            let key = SigningKey::generate(algorithm).unwrap();
            let again = SigningKey::from_pkcs8(algorithm, &key.to_pkcs8()).unwrap();
            assert_eq!(again.public_jwk("k"), key.public_jwk("k"), "{algorithm}");
        }
    }

    #[test]
    fn a_key_of_another_type_or_curve_is_refused() {
        let document = SigningKey::generate(Algorithm::ES256).unwrap().to_pkcs8();
        for other in [Algorithm::ES384, Algorithm::RS256, Algorithm::EdDSA] {
            let error = SigningKey::from_pkcs8(other, &document).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{other}");
        }
    }

    #[test]
    fn debug_shows_only_the_algorithm() {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey { algorithm: EdDSA, .. }");
    }
}
