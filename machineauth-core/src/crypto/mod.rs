//! Cryptography: the only module that names the library underneath.
//!
//! Keys are parsed once and used many times; parsing an RSA key again for every token costs half as much as the
//! verification itself. A key can do exactly one [`Algorithm`], fixed when it is made, so no token header can talk it
//! into another (RFC 8725 §3.1).

mod algorithm;
mod sign;
mod symmetric;
mod verify;

pub use algorithm::Algorithm;
pub use sign::SigningKey;
pub use symmetric::{
    AeadKey, HmacKey, Pbkdf2, Sha256, constant_time_eq, hkdf_sha256, random, sha256,
};
pub use verify::VerifyingKey;
