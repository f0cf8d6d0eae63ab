//! Slow hashes of secrets that people or other systems chose, and that can therefore be guessed.

use std::fmt;
use std::num::NonZeroU32;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use machineauth_core::crypto::{Pbkdf2, random};
use machineauth_core::hex;
use serde::{Deserialize, Serialize};

/// The costliest bcrypt hash that is verified: about a second.
const MAX_BCRYPT_COST: u32 = 14;
/// bcrypt looks at no more of a secret; a longer one would be right with any ending.
const MAX_BCRYPT_SECRET: usize = 72;
/// The most iterations of PBKDF2 that are done: about a second.
const MAX_ITERATIONS: u32 = 2_000_000;
/// The most memory that one verification of an Argon2id hash takes, in KiB: 128 MiB.
const MAX_MEMORY: u32 = 128 * 1024;
/// The most passes of Argon2id over its memory.
const MAX_PASSES: u32 = 10;
/// The longest text that can be one of these hashes, in bytes.
const MAX_TEXT: usize = 512;

/// A slow hash that was made by somebody: bcrypt (`$2a$`, `$2b$`, `$2y$`), PBKDF2 with SHA-256 or SHA-512 (as a PHC
/// string, or as Werkzeug writes it), or Argon2id (as a PHC string). `Debug` never prints it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

/// Why a text is no hash that can be verified. Never says the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPasswordHash {
    /// Another scheme, or no hash at all.
    #[error("not a bcrypt, PBKDF2 (SHA-256 or SHA-512) or Argon2id hash")]
    Unknown,
    /// It begins like a hash of a known scheme and is none.
    #[error("a damaged {0} hash")]
    Damaged(&'static str),
    /// Verifying it would keep everybody else waiting.
    #[error(
        "verifying it costs too much: bcrypt up to cost {MAX_BCRYPT_COST}, PBKDF2 up to {MAX_ITERATIONS} iterations, \
         Argon2id up to {MAX_MEMORY} KiB and {MAX_PASSES} passes"
    )]
    TooCostly,
}

enum Scheme<'a> {
    Bcrypt,
    Pbkdf2 {
        over: Pbkdf2,
        iterations: NonZeroU32,
        salt: Vec<u8>,
        derived: Vec<u8>,
    },
    Argon2id(&'a str),
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// Says why it is none that can be verified.
    pub fn parse(text: &str) -> Result<Self, InvalidPasswordHash> {
        Scheme::of(text).map(|_| Self(text.to_owned()))
    }

    /// The hash under which a password is kept from now on: Argon2id with 19 MiB and two passes, as OWASP's cheat sheet
    /// on password storage recommends. Takes some 20 ms.
    pub fn of(password: &str) -> Self {
        let params = Params::new(19 * 1024, 2, 1, None).expect("these are valid parameters");
        let hash: phc::PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_with_salt(password.as_bytes(), &random::<16>())
            .expect("any password and sixteen bytes of salt can be hashed");
        Self(hash.to_string())
    }

    /// Whether it is the hash of `secret`. Slow: never call it on a thread that others wait for.
    pub fn verify(&self, secret: &str) -> bool {
        match Scheme::of(&self.0) {
            Ok(Scheme::Bcrypt) => {
                secret.len() <= MAX_BCRYPT_SECRET
                    && matches!(bcrypt::verify(secret, &self.0), Ok(true))
            }
            Ok(Scheme::Pbkdf2 {
                over,
                iterations,
                salt,
                derived,
            }) => over.verify(iterations, &salt, secret.as_bytes(), &derived),
            Ok(Scheme::Argon2id(text)) => Argon2::default()
                .verify_password(secret.as_bytes(), text)
                .is_ok(),
            Err(_) => false,
        }
    }

    /// The text of the hash, to be stored or to be hashed again, never to be shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = InvalidPasswordHash;

    fn try_from(text: String) -> Result<Self, InvalidPasswordHash> {
        Scheme::of(&text)?;
        Ok(Self(text))
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl<'a> Scheme<'a> {
    fn of(text: &'a str) -> Result<Self, InvalidPasswordHash> {
        let begins_with_any = |beginnings: &[&str]| {
            beginnings
                .iter()
                .any(|beginning| text.starts_with(beginning))
        };
        if text.len() > MAX_TEXT {
            Err(InvalidPasswordHash::Unknown)
        } else if begins_with_any(&["$2a$", "$2b$", "$2y$"]) {
            Self::bcrypt(text)
        } else if text.starts_with("$argon2id$") {
            Self::argon2id(text)
        } else if text.starts_with("$pbkdf2-sha") {
            Self::pbkdf2(text)
        } else if text.starts_with("pbkdf2:sha") {
            Self::werkzeug(text).ok_or(InvalidPasswordHash::Damaged("PBKDF2"))?
        } else {
            Err(InvalidPasswordHash::Unknown)
        }
    }

    fn bcrypt(text: &str) -> Result<Self, InvalidPasswordHash> {
        let parts: bcrypt::HashParts = text
            .parse()
            .map_err(|_| InvalidPasswordHash::Damaged("bcrypt"))?;
        match parts.get_cost() {
            ..=MAX_BCRYPT_COST => Ok(Self::Bcrypt),
            _ => Err(InvalidPasswordHash::TooCostly),
        }
    }

    fn argon2id(text: &'a str) -> Result<Self, InvalidPasswordHash> {
        let damaged = InvalidPasswordHash::Damaged("Argon2id");
        let hash = phc::PasswordHash::new(text).map_err(|_| damaged)?;
        let params = Params::try_from(&hash).map_err(|_| damaged)?;
        let version = hash.version.map(Version::try_from).transpose();
        if hash.salt.is_none() || hash.hash.is_none() || version.is_err() {
            Err(damaged)
        } else if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES {
            Err(InvalidPasswordHash::TooCostly)
        } else {
            Ok(Self::Argon2id(text))
        }
    }

    /// `$pbkdf2-sha256$i=600000,l=32$salt$hash`
    fn pbkdf2(text: &str) -> Result<Self, InvalidPasswordHash> {
        let damaged = InvalidPasswordHash::Damaged("PBKDF2");
        let hash = phc::PasswordHash::new(text).map_err(|_| damaged)?;
        let over = match hash.algorithm.as_str() {
            "pbkdf2-sha256" => Pbkdf2::Sha256,
            "pbkdf2-sha512" => Pbkdf2::Sha512,
            _ => return Err(InvalidPasswordHash::Unknown),
        };
        let iterations = hash.params.get_decimal("i").ok_or(damaged)?;
        let (salt, derived) = hash.salt.zip(hash.hash).ok_or(damaged)?;
        Self::iterated(over, iterations, salt.to_vec(), derived.as_bytes().to_vec())
    }

    /// `pbkdf2:sha256:600000$salt$hash`: the salt as it is, the hash in hexadecimal. `None` when it is damaged.
    fn werkzeug(text: &str) -> Option<Result<Self, InvalidPasswordHash>> {
        let (method, rest) = text.split_once('$')?;
        let (salt, derived) = rest.split_once('$')?;
        let (over, iterations) = method.strip_prefix("pbkdf2:")?.split_once(':')?;
        let over = match over {
            "sha256" => Pbkdf2::Sha256,
            "sha512" => Pbkdf2::Sha512,
            _ => return Some(Err(InvalidPasswordHash::Unknown)),
        };
        let derived = hex::decode(derived).filter(|derived| derived.len() >= 16)?;
        Some(Self::iterated(
            over,
            iterations.parse().ok()?,
            salt.as_bytes().to_vec(),
            derived,
        ))
    }

    fn iterated(
        over: Pbkdf2,
        iterations: u32,
        salt: Vec<u8>,
        derived: Vec<u8>,
    ) -> Result<Self, InvalidPasswordHash> {
        let iterations =
            NonZeroU32::new(iterations).ok_or(InvalidPasswordHash::Damaged("PBKDF2"))?;
        if iterations.get() > MAX_ITERATIONS {
            return Err(InvalidPasswordHash::TooCostly);
        }
        Ok(Self::Pbkdf2 {
            over,
            iterations,
            salt,
            derived,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by Python's hashlib: 1000 iterations over "correct horse", 32 bytes.
    const WERKZEUG: &str =
        "pbkdf2:sha256:1000$NaCl$cba50afb9ece1b6c899d921b4b7139139f7d2258b02086c1764c441575c66253";
    const PHC: &str =
        "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHQ$qQDPSZa3Ormyy9oK1Pu0ZLLwP2Svzmx3yu8OvDdq/J0";

    #[test]
    fn a_hash_of_each_scheme_knows_its_secret() {
        let bcrypt = |version| {
            let parts = bcrypt::hash_with_salt("correct horse", 4, [7; 16]).unwrap();
            PasswordHash::parse(&parts.format_for_version(version)).unwrap()
        };
        for hash in [
            bcrypt(bcrypt::Version::TwoA),
            bcrypt(bcrypt::Version::TwoB),
            bcrypt(bcrypt::Version::TwoY),
            PasswordHash::parse(WERKZEUG).unwrap(),
            PasswordHash::parse(PHC).unwrap(),
            PasswordHash::of("correct horse"),
        ] {
            assert!(hash.verify("correct horse"), "{}", hash.as_str());
            for wrong in ["", "correct", "correct horse ", "Correct horse"] {
                assert!(!hash.verify(wrong), "{}", hash.as_str());
            }
            let stored = serde_json::to_string(&hash).unwrap();
            assert_eq!(serde_json::from_str::<PasswordHash>(&stored).unwrap(), hash);
            assert!(!format!("{hash:?}").contains(hash.as_str()));
        }
    }

    #[test]
    fn a_secret_that_bcrypt_would_cut_is_not_right() {
        let secret = "x".repeat(72);
        let parts = bcrypt::hash_with_salt(&secret, 4, [7; 16]).unwrap();
        let hash = PasswordHash::parse(&parts.to_string()).unwrap();
        assert!(hash.verify(&secret));
        assert!(!hash.verify(&format!("{secret}y")));
    }

    #[test]
    fn what_is_no_hash_says_why() {
        use InvalidPasswordHash::{Damaged, TooCostly, Unknown};
        let digits = "ab".repeat(32);
        let hash = |cost| {
            bcrypt::hash_with_salt("x", cost, [7; 16])
                .unwrap()
                .to_string()
        };
        for (text, why) in [
            ("", Unknown),
            ("plain", Unknown),
            ("$2x$10$abc", Unknown),
            ("$2a$10$short", Damaged("bcrypt")),
            (&hash(4).replace("$04$", "$15$"), TooCostly),
            (
                "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
                Unknown,
            ),
            ("$argon2id$v=19$m=19456", Damaged("Argon2id")),
            (
                "$argon2id$v=19$m=1048576,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
                TooCostly,
            ),
            ("$pbkdf2-sha256$l=32$c2FsdHNhbHQ", Damaged("PBKDF2")),
            ("pbkdf2:sha256$salt$abcd", Damaged("PBKDF2")),
            ("pbkdf2:sha256:0$salt$abcd", Damaged("PBKDF2")),
            (&format!("pbkdf2:sha256:9000000$salt${digits}"), TooCostly),
            (&format!("pbkdf2:sha1:1000$salt${digits}"), Unknown),
            ("scrypt:32768:8:1$salt$abcd", Unknown),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(why), "{text}");
        }
    }

    proptest! {
        /// I22
        #[test]
        fn no_text_makes_the_parser_panic(
            beginning in prop::sample::select(vec!["", "$2a$", "$argon2id$", "$pbkdf2-sha256$", "pbkdf2:sha256:"]),
            rest: String,
        ) {
            let _ = PasswordHash::parse(&format!("{beginning}{rest}"));
        }
    }
}
