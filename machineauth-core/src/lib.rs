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
pub mod verifier;

pub mod bearer;
pub mod challenge;
#[cfg(feature = "http")]
pub mod feed;
#[cfg(feature = "http")]
pub mod fetch;
#[cfg(feature = "http")]
mod follower;
pub mod jwks;
#[cfg(feature = "http")]
mod outbound;
pub mod revocation;
#[cfg(feature = "http")]
mod sse;

pub use claims::{Audience, Claims};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use crypto::{Algorithm, SigningKey, VerifyingKey};
pub use error::{ClaimName, Error, ErrorKind};
pub use jwk::Jwk;
pub use jws::Jws;
pub use keyset::KeySet;
pub use scope::{Scope, ScopeSet};
pub use verifier::{Agent, StalePolicy, TokenTypes, Verifier, VerifierBuilder};

pub use bearer::bearer_token;
pub use challenge::Challenge;
#[cfg(feature = "http")]
pub use feed::RevocationFeed;
#[cfg(feature = "http")]
pub use fetch::HttpKeys;
pub use jwks::JwksCache;
pub use revocation::{Revocation, RevocationSet};
