//! Verify access tokens locally.

pub mod base64url;
pub mod claims;
pub mod clock;
pub mod crypto;
pub mod error;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod keyset;
pub mod scope;

pub use claims::{Audience, Claims};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use crypto::{Algorithm, SigningKey, VerifyingKey};
pub use error::{ClaimName, Error, ErrorKind};
pub use jwk::Jwk;
pub use jws::Jws;
pub use keyset::KeySet;
pub use scope::{Scope, ScopeSet};
