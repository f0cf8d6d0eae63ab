use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac, pbkdf2, rand};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

/// The SHA-256 digest of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    first_32(digest::digest(&digest::SHA256, data).as_ref())
}

/// The SHA-256 digest of data that comes in parts.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// The digest of nothing so far.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Takes the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The digest of all parts.
    pub fn finish(self) -> [u8; 32] {
        first_32(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// A key for HMAC-SHA-256 (RFC 2104).
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

impl HmacKey {
    /// A key of any length; 32 random bytes are right.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The authentication code of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        first_32(hmac::sign(&self.0, message).as_ref())
    }

    /// Whether `code` is the authentication code of `message`, in time that does not depend on where they differ.
    pub fn verify(&self, message: &[u8], code: &[u8]) -> bool {
        hmac::verify(&self.0, message, code).is_ok()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

/// A key that seals values: AES-256-GCM with a random nonce, which is safe for up to 2³² values per key
/// (NIST SP 800-38D §8.3).
pub struct AeadKey(RandomizedNonceKey);

impl AeadKey {
    /// A key from 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, secret).expect("AES-256 takes any 32 bytes"))
    }

    /// Encrypts and authenticates `plaintext` for the purpose that `aad` names; the same `aad` opens it again.
    /// The result is nonce, ciphertext and tag: 28 bytes longer than the plaintext.
    pub fn seal(&self, plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
        let mut in_out = plaintext.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(aad), &mut in_out)
            .expect("AES-GCM seals anything below 64 GiB");
        [nonce.as_ref().as_slice(), &in_out].concat()
    }

    /// Opens what [`AeadKey::seal`] returned.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSeal`] when it was sealed with another key or `aad`, or was changed.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let invalid = Error::new(ErrorKind::InvalidSeal);
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(invalid)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| invalid)?;
        let mut in_out = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(aad), &mut in_out)
            .map_err(|_| invalid)?
            .len();
        in_out.truncate(length);
        Ok(in_out)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

/// Derives a key from `secret` for the purpose that `info` names (HKDF-SHA-256 without salt, RFC 5869). The secret must
/// already be random; this is no password hash.
pub fn hkdf_sha256(secret: &[u8], info: &[u8]) -> [u8; 32] {
    let pseudorandom_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let info = [info];
    let mut key = [0; 32];
    pseudorandom_key
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .expect("one digest length is always available");
    key
}

/// What PBKDF2 iterates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pbkdf2 {
    /// HMAC-SHA-256
    Sha256,
    /// HMAC-SHA-512
    Sha512,
}

impl Pbkdf2 {
    /// Whether `derived` is what PBKDF2 makes of `password` (RFC 8018 §5.2). Takes as long as the iterations take, so it
    /// does not belong on a thread that others wait for.
    pub fn verify(
        self,
        iterations: NonZeroU32,
        salt: &[u8],
        password: &[u8],
        derived: &[u8],
    ) -> bool {
        let algorithm = match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        pbkdf2::verify(algorithm, iterations, salt, password, derived).is_ok()
    }
}

/// `N` random bytes from the operating system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the random number generator never fails once the process runs");
    bytes
}

/// Whether `a` and `b` are equal, in time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn first_32(digest: &[u8]) -> [u8; 32] {
    digest.try_into().expect("SHA-256 yields 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn sha_256_of_abc_is_the_published_digest() {
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let mut parts = Sha256::new();
        parts.update(b"a");
        parts.update(b"bc");
        assert_eq!(parts.finish(), sha256(b"abc"));
    }

    /// RFC 4231 §4.3
    #[test]
    fn hmac_gives_the_published_code_and_refuses_any_other() {
        let key = HmacKey::new(b"Jefe");
        let message = b"what do ya want for nothing?";
        let code = key.sign(message);
        assert_eq!(
            hex(&code),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(key.verify(message, &code));
        assert!(!key.verify(message, &code[..31]));
        assert!(!key.verify(b"what", &code));
    }

    /// RFC 5869 §A.3, first 32 bytes: no salt, no info.
    #[test]
    fn hkdf_gives_the_published_key() {
        let key = hkdf_sha256(&[0x0b; 22], b"");
        assert_eq!(
            hex(&key),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
    }

    /// RFC 7914 §11
    #[test]
    fn pbkdf2_recognises_what_was_published_and_nothing_else() {
        let derived = [
            0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f, 0xec, 0x16, 0x91, 0xc2, 0x25, 0x44,
            0xb6, 0x05, 0xf9, 0x41, 0x85, 0x21, 0x6d, 0xde, 0x04, 0x65, 0xe6, 0x8b, 0x9d, 0x57,
            0xc2, 0x0d, 0xac, 0xbc,
        ];
        let once = NonZeroU32::MIN;
        assert!(Pbkdf2::Sha256.verify(once, b"salt", b"passwd", &derived));
        assert!(!Pbkdf2::Sha256.verify(once, b"salt", b"password", &derived));
        assert!(!Pbkdf2::Sha512.verify(once, b"salt", b"passwd", &derived));
    }

    #[test]
    fn a_sealed_value_opens_only_unchanged_and_for_its_purpose() {
        let key = AeadKey::new(&random());
        let sealed = key.seal(b"secret", b"purpose");
        assert_eq!(sealed.len(), 6 + 28);
        assert_eq!(key.open(&sealed, b"purpose").unwrap().as_slice(), b"secret");
        assert!(key.open(&sealed, b"other").is_err());
        assert!(AeadKey::new(&random()).open(&sealed, b"purpose").is_err());
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(
                key.open(&changed, b"purpose").unwrap_err().kind(),
                ErrorKind::InvalidSeal
            );
            assert!(key.open(&sealed[..position], b"purpose").is_err());
        }
    }

    #[test]
    fn sealing_twice_gives_two_different_values() {
        let key = AeadKey::new(&[7; 32]);
        assert_ne!(key.seal(b"same", b""), key.seal(b"same", b""));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(
            format!("{:?} {:?}", HmacKey::new(b"abc"), AeadKey::new(&[1; 32])),
            "HmacKey(..) AeadKey(..)"
        );
    }

    #[test]
    fn constant_time_eq_compares() {
        assert!(constant_time_eq(b"ab", b"ab"));
        assert!(!constant_time_eq(b"ab", b"ac"));
        assert!(!constant_time_eq(b"ab", b"abc"));
    }
}
