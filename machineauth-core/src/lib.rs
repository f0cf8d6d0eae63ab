//! Verify access tokens locally: no call to the issuer per request, and yet no token outlives its revocation.
//!
//! A [`Verifier`] is made for an issuer and an audience; both must be named. [`Verifier::any_of`] takes several, and a
//! [`TokenProfile`] says where issuers that are not ours put things. It judges a token by its whole text:
//!
//! 1. **Parse, strictly.** [`Jws`] refuses whatever two readers could read differently: duplicate members, padding,
//!    a second spelling of the same bytes, critical extensions, anything beyond 16 KiB.
//! 2. **Find the key.** A [`KeySet`] holds the issuer's keys, parsed once. Each is for exactly one [`Algorithm`], so
//!    the token's header cannot choose; `none` and HMAC do not exist here. A [`JwksCache`] keeps the set current:
//!    everybody who misses a key waits for one fetch, and the last good keys serve while the issuer is away.
//! 3. **Check the signature, then the [`Claims`]**: issuer, audience, times by the injected [`Clock`], that it is an access
//!    token at all, and that whoever sends it has what it is bound to ([`Possession`]: a key by [`dpop`], a certificate).
//! 4. **Ask the [`RevocationSet`]**, which follows the issuer's feed.
//! 5. **Remember it.** The next check of the same text is one look-up, and judges anew what can have changed: expiry,
//!    the issuer's keys, what is revoked.
//!
//! What an agent may do with a good token is for a [`Policy`] to say.
//!
//! ```
//! use std::sync::Arc;
//!
//! use machineauth_core::crypto::Algorithm;
//! use machineauth_core::jws::{Type, sign_compact};
//! use machineauth_core::{ErrorKind, KeySet, ManualClock, Revocation, RevocationSet, SigningKey, Timestamp, Verifier};
//!
//! # fn main() -> Result<(), machineauth_core::Error> {
//! // An issuer, in three lines. Yours publishes its keys: see `JwksCache`.
//! let key = SigningKey::generate(Algorithm::ES256)?;
//! let payload = br#"{"iss":"https://auth.example.com","sub":"agent-7","aud":"https://api.example.com",
//!     "exp":1800003600,"jti":"token-1","scope":"artifacts:read"}"#;
//! let token = sign_compact(&key, Type::AccessToken, "key-1", payload)?;
//!
//! let revocations = RevocationSet::new();
//! let verifier = Verifier::builder("https://auth.example.com", "https://api.example.com")
//!     .keys(KeySet::from_jwks([key.public_jwk("key-1")]))
//!     .clock(Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000))))
//!     .revocations(revocations.clone())
//!     .build()?;
//!
//! let agent = verifier.check(&token)?;
//! assert_eq!(agent.id(), "agent-7");
//! assert!(agent.has_scope("artifacts:read"));
//!
//! revocations.apply(&Revocation::Token { jti: "token-1".into(), until: 1_800_003_600 });
//! let error = verifier.check(&token).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Revoked);
//! # Ok(())
//! # }
//! ```
//!
//! A token that is no JWT is for its issuer to read: [`Introspection`] asks, and remembers. For calling others there is
//! [`client`], for tests of what is built on this crate the feature `test-kit`.
//!
//! With the feature `toml`, policies are read from files. Without the feature `http` (on by default) nothing here opens a
//! connection: bring your own [`jwks::FetchKeys`].

pub mod authenticate;
mod backoff;
pub mod base64url;
pub mod claims;
pub mod clock;
pub mod crypto;
pub mod error;
pub mod hex;
mod json;
pub mod jwk;
pub mod jws;
pub mod keyset;
pub mod scope;
pub mod verifier;

pub mod bearer;
pub mod certificate;
pub mod challenge;
pub mod client;
#[cfg(feature = "http")]
mod discovery;
pub mod dpop;
#[cfg(feature = "http")]
pub mod feed;
#[cfg(feature = "http")]
pub mod fetch;
#[cfg(feature = "http")]
mod follower;
pub mod forwarded;
pub mod introspection;
pub mod jwks;
#[cfg(feature = "http")]
mod outbound;
pub mod policy;
pub mod profile;
pub mod quota;
pub mod refusal;
pub mod resource_metadata;
pub mod revocation;
#[cfg(feature = "http")]
mod sse;
#[cfg(feature = "test-kit")]
pub mod test_kit;

pub use authenticate::Authenticator;
pub use claims::{Audience, Claims};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use crypto::{Algorithm, SigningKey, VerifyingKey};
pub use error::{ClaimName, Error, ErrorKind};
pub use jwk::Jwk;
pub use jws::Jws;
pub use keyset::KeySet;
pub use scope::{Scope, ScopeSet};
pub use verifier::{Agent, Possession, StalePolicy, TokenTypes, Verifier, VerifierBuilder};

pub use bearer::bearer_token;
pub use certificate::ClientCertificate;
pub use challenge::Challenge;
pub use client::TokenSource;
pub use dpop::Dpop;
#[cfg(feature = "http")]
pub use feed::RevocationFeed;
#[cfg(feature = "http")]
pub use fetch::HttpKeys;
pub use introspection::{Introspection, Introspector};
pub use jwks::JwksCache;
pub use policy::{Policy, Rule};
pub use profile::TokenProfile;
pub use refusal::{Protocol, Refusal};
pub use resource_metadata::ResourceMetadata;
pub use revocation::{Revocation, RevocationSet};
