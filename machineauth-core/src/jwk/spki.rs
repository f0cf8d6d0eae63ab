//! Public keys as `SubjectPublicKeyInfo` in PEM (RFC 5280 §4.1.2.7, RFC 7468 §13).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Jwk, Material};
use crate::crypto::Algorithm;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// 1.2.840.113549.1.1.1 (RFC 8017 §A.1)
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1 (RFC 5480 §2.1.1)
const ELLIPTIC_CURVE: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7 (RFC 5480 §2.1.1.1)
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34 (RFC 5480 §2.1.1.1)
const P_384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.101.112 (RFC 8410 §3)
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The key in a PEM document; `None` when it is none that is supported.
pub(super) fn read_pem(text: &str) -> Option<Jwk> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body: String = body.split_ascii_whitespace().collect();
    read_der(&STANDARD.decode(body).ok()?)
}

fn read_der(document: &[u8]) -> Option<Jwk> {
    let mut document = document;
    let mut info = element(SEQUENCE, &mut document)?;
    let mut identifier = element(SEQUENCE, &mut info)?;
    // No bits are left over in a key.
    let key = element(BIT_STRING, &mut info)?.strip_prefix(&[0])?;
    if !document.is_empty() || !info.is_empty() {
        return None;
    }
    let (algorithm, material) = match element(OBJECT_IDENTIFIER, &mut identifier)? {
        RSA => (Algorithm::RS256, rsa(key)?),
        ELLIPTIC_CURVE => {
            let (algorithm, length) = match element(OBJECT_IDENTIFIER, &mut identifier)? {
                P_256 => (Algorithm::ES256, 32),
                P_384 => (Algorithm::ES384, 48),
                _ => return None,
            };
            (algorithm, point(key, length)?)
        }
        ED25519 => (Algorithm::EdDSA, Material::Ed25519 { x: key.to_vec() }),
        _ => return None,
    };
    Some(Jwk {
        kid: None,
        algorithm,
        material,
    })
}

fn rsa(key: &[u8]) -> Option<Material> {
    let mut key = key;
    let mut numbers = element(SEQUENCE, &mut key)?;
    // A sign bit that would be set has a zero before it.
    let mut number = || {
        let number = element(INTEGER, &mut numbers)?;
        Some(number.strip_prefix(&[0]).unwrap_or(number).to_vec())
    };
    Some(Material::Rsa {
        n: number()?,
        e: number()?,
    })
}

/// SEC 1 §2.3.3, uncompressed.
fn point(key: &[u8], length: usize) -> Option<Material> {
    let point = key.strip_prefix(&[0x04])?;
    let (x, y) = point.split_at_checked(length)?;
    (y.len() == length).then(|| Material::EllipticCurve {
        x: x.to_vec(),
        y: y.to_vec(),
    })
}

/// The content of the next element, which must have this tag. Lengths are definite, and below 64 KiB.
fn element<'a>(tag: u8, input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let rest = input.strip_prefix(&[tag])?;
    let (length, rest) = match *rest {
        [length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
        [0x81, length, ref rest @ ..] => (usize::from(length), rest),
        [0x82, high, low, ref rest @ ..] => (usize::from(high) << 8 | usize::from(low), rest),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::SigningKey;

    fn pem(key: &SigningKey) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(key.public_spki()))
    }

    #[test]
    fn a_key_of_each_type_is_read() {
        for algorithm in [
            Algorithm::RS256,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
        ] {
            let key = SigningKey::generate(algorithm).unwrap();
            let read = Jwk::from_public_pem(&pem(&key)).unwrap();
            assert_eq!(read.algorithm(), algorithm);
            assert_eq!(read.thumbprint(), key.public_jwk("").thumbprint());
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let private = STANDARD.encode(&*key.to_pkcs8());
        for text in [
            "",
            BEGIN,
            &format!("{BEGIN}{END}"),
            &format!("{BEGIN}\n%\n{END}"),
            &format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----"),
            &format!("{BEGIN}\n{private}\n{END}"),
        ] {
            assert!(Jwk::from_public_pem(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>(), cut in 0_usize..91, at in 0_usize..91, with: u8) {
            let _ = read_der(&bytes);
            let key = SigningKey::generate(Algorithm::ES256).unwrap();
            let mut good = key.public_spki();
            let at = at % good.len();
            good[at] = with;
            let _ = read_der(&good);
            let _ = read_der(&good[..cut.min(good.len())]);
        }
    }
}
