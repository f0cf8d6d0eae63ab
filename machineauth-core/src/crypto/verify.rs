use std::fmt;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};

use super::Algorithm;
use crate::error::{Error, ErrorKind};

/// A parsed public key that verifies signatures of one [`Algorithm`]. Made by [`crate::Jwk::verifying_key`].
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl VerifyingKey {
    /// From an RSA modulus and exponent, big-endian without leading zeros (RFC 7518 §6.3.1).
    pub(crate) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, Error> {
        let parameters = rsa_parameters(algorithm)?;
        check_modulus(n)?;
        check_exponent(e)?;
        let key = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(parameters)
            .map_err(|_| invalid_key("not an RSA public key"))?;
        Ok(Self { algorithm, key })
    }

    /// From an affine point, each coordinate at its curve's full length (RFC 7518 §6.2.1).
    pub(crate) fn elliptic_curve(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Result<Self, Error> {
        let (parameters, length) = match algorithm {
            Algorithm::ES256 => (&signature::ECDSA_P256_SHA256_FIXED, 32),
            Algorithm::ES384 => (&signature::ECDSA_P384_SHA384_FIXED, 48),
            _ => {
                return Err(invalid_key(
                    "an elliptic-curve key with the algorithm of another key type",
                ));
            }
        };
        if x.len() != length || y.len() != length {
            return Err(invalid_key(
                "a coordinate of the wrong length for its curve",
            ));
        }
        // SEC 1 §2.3.3, uncompressed. The library refuses a point that is not on the curve.
        let point = [&[0x04], x, y].concat();
        let key = ParsedPublicKey::new(parameters, point)
            .map_err(|_| invalid_key("not a point on its curve"))?;
        Ok(Self { algorithm, key })
    }

    /// From an Ed25519 public key (RFC 8037 §2).
    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, Error> {
        let x: &[u8; 32] = x
            .try_into()
            .map_err(|_| invalid_key("an Ed25519 key is 32 bytes long"))?;
        if is_small_order(x) {
            return Err(invalid_key(
                "an Ed25519 key of small order, under which anybody can sign",
            ));
        }
        let key = ParsedPublicKey::new(&signature::ED25519, x)
            .map_err(|_| invalid_key("not an Ed25519 key"))?;
        Ok(Self {
            algorithm: Algorithm::EdDSA,
            key,
        })
    }

    /// The one algorithm this key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks that `signature` was made over `message` by the owner of this key. ECDSA signatures are the fixed-length
    /// concatenation of r and s (RFC 7518 §3.4), never DER.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSignature`] when it was not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.key
            .verify_sig(message, signature)
            .map_err(|_| Error::new(ErrorKind::InvalidSignature))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Result<&'static RsaParameters, Error> {
    Ok(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => {
            return Err(invalid_key(
                "an RSA key with the algorithm of another key type",
            ));
        }
    })
}

/// Smaller keys can be factored, larger ones make each verification a burden.
fn check_modulus(n: &[u8]) -> Result<(), Error> {
    let (Some(first), Some(last)) = (n.first(), n.last()) else {
        return Err(invalid_key("an RSA key without modulus"));
    };
    if *first == 0 {
        return Err(invalid_key("an RSA modulus with leading zeros"));
    }
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if !(2048..=8192).contains(&bits) {
        return Err(invalid_key("an RSA modulus must have 2048 to 8192 bits"));
    }
    if last % 2 == 0 {
        return Err(invalid_key("an RSA modulus is odd"));
    }
    Ok(())
}

/// With e = 1 every message is its own signature; an even e has no private exponent. The upper bound of 33 bits is the
/// library's: it bounds the work of a verification.
fn check_exponent(e: &[u8]) -> Result<(), Error> {
    if e.first().is_none_or(|first| *first == 0) || e.len() > 5 {
        return Err(invalid_key(
            "an RSA exponent must have 1 to 33 bits without leading zeros",
        ));
    }
    let value = e
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if value < 3 || value % 2 == 0 || value >= 1 << 33 {
        return Err(invalid_key(
            "an RSA exponent must be odd, at least 3 and below 2^33",
        ));
    }
    Ok(())
}

/// The points of order 1, 2, 4 and 8 in every encoding, canonical or not, with the sign bit cleared. Under such a key
/// some signatures are valid for any message.
fn is_small_order(x: &[u8; 32]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *x;
    y[31] &= 0x7f;
    // y = 0 and y = 1 (orders 4 and 1), then y = p - 1 (order 2) and the second spellings p and p + 1 of 0 and 1.
    let near_zero = y[0] <= 1 && y[1..].iter().all(|byte| *byte == 0);
    let near_p =
        (0xec..=0xee).contains(&y[0]) && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    near_zero || near_p || ORDER_8.contains(&y)
}

const fn invalid_key(detail: &'static str) -> Error {
    Error::because(ErrorKind::InvalidKey, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V9
    #[test]
    fn rsa_moduli_outside_2048_to_8192_bits_are_refused() {
        for (bytes, fits) in [
            (64, false),
            (128, false),
            (255, false),
            (256, true),
            (1024, true),
            (1025, false),
            (2048, false),
        ] {
            let result = VerifyingKey::rsa(Algorithm::RS256, &vec![0xff; bytes], &[1, 0, 1]);
            assert_eq!(result.is_ok(), fits, "{bytes} bytes");
        }
        let bits_2047 = [&[0x7f][..], &[0xff; 255]].concat();
        assert!(VerifyingKey::rsa(Algorithm::RS256, &bits_2047, &[1, 0, 1]).is_err());
        assert!(VerifyingKey::rsa(Algorithm::RS256, &[], &[1, 0, 1]).is_err());
    }

    /// V9
    #[test]
    fn rsa_exponents_that_are_even_tiny_or_huge_are_refused() {
        let n = [0xff; 256];
        for e in [
            &[][..],
            &[0],
            &[1],
            &[2],
            &[0, 3],
            &[1, 0, 0],
            &[2, 0, 0, 0, 1],
            &[1; 6],
            &[0xff; 256],
        ] {
            assert!(VerifyingKey::rsa(Algorithm::PS256, &n, e).is_err(), "{e:?}");
        }
        for e in [&[3][..], &[1, 0, 1], &[1, 0, 0, 0, 1]] {
            assert!(VerifyingKey::rsa(Algorithm::PS256, &n, e).is_ok(), "{e:?}");
        }
    }

    /// V13
    #[test]
    fn ed25519_keys_of_small_order_are_refused_in_every_encoding() {
        let mut encodings = vec![[0; 32], [0; 32]];
        encodings[1][0] = 1;
        for low in [0xec, 0xed, 0xee] {
            let mut y = [0xff; 32];
            (y[0], y[31]) = (low, 0x7f);
            encodings.push(y);
        }
        for mut y in encodings {
            assert!(VerifyingKey::ed25519(&y).is_err(), "{y:02x?}");
            y[31] |= 0x80;
            assert!(VerifyingKey::ed25519(&y).is_err(), "{y:02x?}");
        }
        assert!(VerifyingKey::ed25519(&[0; 31]).is_err());
    }

    /// V9
    #[test]
    fn points_off_the_curve_or_of_another_curve_are_refused() {
        assert!(VerifyingKey::elliptic_curve(Algorithm::ES256, &[1; 32], &[1; 32]).is_err());
        assert!(VerifyingKey::elliptic_curve(Algorithm::ES256, &[0; 32], &[0; 32]).is_err());
        assert!(VerifyingKey::elliptic_curve(Algorithm::ES384, &[1; 32], &[1; 32]).is_err());
        assert!(VerifyingKey::elliptic_curve(Algorithm::RS256, &[1; 32], &[1; 32]).is_err());
        assert!(VerifyingKey::rsa(Algorithm::ES256, &[0xff; 256], &[1, 0, 1]).is_err());
    }
}
