//! Proof of possession (RFC 9449): a token that only its client can use.
//!
//! A bound token names a key (`cnf.jkt`), and each request carries a proof signed with it, for its method, its address and
//! the moment. [`Dpop`] judges proofs:
//!
//! * a proof is of the type `dpop+jwt`, signed with an accepted algorithm by the public key that it carries, which has no
//!   private part (RFC 9449 §4.3);
//! * it is for this method and this address, as a client and a server write the same address differently;
//! * it was made within a minute, or carries a nonce of ours where nonces are wanted (§8);
//! * it is used once: a guard of constant memory remembers what was seen, and when it is full it refuses, and counts.
//!
//! With an access token, a proof also names the token (`ath`), and its key is the one that the token is bound to; that is
//! for [`Verifier::check_as`](crate::Verifier::check_as) to see, at every request.
//!
//! ```
//! use machineauth_core::dpop::{Dpop, Proof, ProofBuilder};
//! use machineauth_core::{Algorithm, SigningKey};
//!
//! # fn main() -> Result<(), machineauth_core::Error> {
//! let dpop = Dpop::builder("https://api.example.com").build()?;
//!
//! // What a client makes for each of its requests.
//! let key = SigningKey::generate(Algorithm::ES256)?;
//! let proof = ProofBuilder::new("GET", "https://api.example.com/artifacts").sign(&key)?;
//!
//! let seen = dpop.verify(&proof, "GET", "/artifacts", None)?;
//! assert_eq!(seen.thumbprint(), key.public_jwk("").thumbprint());
//! dpop.redeem(&seen)?;
//! assert!(dpop.redeem(&seen).is_err(), "it has been used");
//! # Ok(())
//! # }
//! ```

mod make;
mod nonce;
mod proof;
mod replay;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::make::ProofBuilder;
use self::nonce::Nonces;
pub use self::proof::Proof;
use self::replay::{Replays, Seen};
use self::target::Origin;
use crate::base64url;
use crate::clock::{Clock, SystemClock};
use crate::crypto::{self, Algorithm};
use crate::error::{Error, ErrorKind};

/// The header of a proof (RFC 9449 §4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The header that carries a nonce to the client (RFC 9449 §8).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The algorithms that are accepted unless others are named.
const DEFAULT_ALGORITHMS: [Algorithm; 5] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::PS256,
    Algorithm::RS256,
];

/// The SHA-256 thumbprint of a key (RFC 7638), as `cnf.jkt` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub(crate) [u8; 32]);

impl Thumbprint {
    /// Reads the text of a `jkt` (RFC 9449 §6.1).
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode(text)?.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Thumbprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a SHA-256 thumbprint"))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

/// Judges the proofs of one server. Clones share the guard against replays.
#[derive(Clone, Debug)]
pub struct Dpop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origins: Vec<Origin>,
    algorithms: Vec<Algorithm>,
    max_age: Duration,
    clock: Arc<dyn Clock>,
    replays: Replays,
    nonces: Option<Nonces>,
}

impl Dpop {
    /// For a server that its clients call at `origin`, as in `https://api.example.com`: what they write in a proof, whatever
    /// stands between them and the server.
    pub fn builder(origin: impl Into<String>) -> DpopBuilder {
        DpopBuilder {
            origins: vec![origin.into()],
            algorithms: DEFAULT_ALGORITHMS.to_vec(),
            max_age: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
            capacity: 1 << 16,
            nonces: None,
        }
    }

    /// The one proof of a request; `None` when it has none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProof`] when there are several, or it is no text.
    pub fn proof_of(headers: &HeaderMap) -> Result<Option<&str>, Error> {
        let mut proofs = headers.get_all(DPOP).iter();
        let Some(proof) = proofs.next() else {
            return Ok(None);
        };
        if proofs.next().is_some() {
            return Err(invalid("there is more than one DPoP header"));
        }
        let text = proof.to_str().map_err(|_| invalid("it is no JWT"))?;
        Ok(Some(text))
    }

    /// Judges a proof for a request with this method and path, and for `token` where the request carries one (RFC 9449
    /// §4.3). It has not been redeemed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProof`], or [`ErrorKind::UseDpopNonce`] when a nonce is wanted and the proof has none that is
    /// good now.
    pub fn verify(
        &self,
        proof: &str,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> Result<Proof, Error> {
        let inner = &*self.0;
        let now = inner.clock.now();
        let (content, thumbprint) = proof::open(proof, &inner.algorithms)?;
        if content.method != method {
            return Err(invalid("it is for another method"));
        }
        if !inner
            .origins
            .iter()
            .any(|origin| origin.matches(&content.uri, path))
        {
            return Err(invalid("it is for another address"));
        }
        match (token, &content.token_hash) {
            (None, _) => {}
            (Some(token), Some(hash)) if is_hash_of(hash, token) => {}
            (Some(_), _) => return Err(invalid("it is not for this access token")),
        }
        if let Some(nonces) = &inner.nonces
            && !content
                .nonce
                .as_deref()
                .is_some_and(|nonce| nonces.accept(nonce, now))
        {
            return Err(ErrorKind::UseDpopNonce.into());
        }
        if content.issued_at > now.saturating_add(inner.max_age) {
            return Err(invalid("it was made in the future"));
        }
        // Redeemable until then: the guard remembers it as long.
        let until = content.issued_at.saturating_add(inner.max_age);
        if now >= until {
            return Err(invalid("it is too old"));
        }
        Ok(Proof::new(thumbprint, &content.id, until))
    }

    /// Uses a proof up. To be done last, when everything else about the request is good: then nobody fills the guard who
    /// has no token.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProof`] when it was used before, [`ErrorKind::ReplayGuardFull`] when nobody can tell.
    pub fn redeem(&self, proof: &Proof) -> Result<(), Error> {
        let now = self.0.clock.now();
        unused(self.0.replays.insert(proof.key(), proof.until(), now))
    }

    /// Whether a proof can be used up: for whoever does something that cannot be undone before [`Dpop::redeem`], which alone
    /// keeps two of the same apart.
    ///
    /// # Errors
    /// As [`Dpop::redeem`].
    pub fn check_unused(&self, proof: &Proof) -> Result<(), Error> {
        unused(self.0.replays.look(proof.key(), self.0.clock.now()))
    }

    /// How many proofs were refused because the guard was full, since the start.
    pub fn refused_when_full(&self) -> u64 {
        self.0.replays.refused_when_full()
    }

    /// The nonce that clients should use now, where nonces are wanted.
    pub fn nonce(&self) -> Option<HeaderValue> {
        let nonces = self.0.nonces.as_ref()?;
        Some(nonces.current(self.0.clock.now()))
    }

    /// The names of the accepted algorithms, separated by spaces, as in a challenge (RFC 9449 §7.1).
    pub fn algorithms(&self) -> String {
        let names: Vec<_> = self.0.algorithms.iter().map(|name| name.as_str()).collect();
        names.join(" ")
    }
}

fn unused(seen: Seen) -> Result<(), Error> {
    match seen {
        Seen::Never => Ok(()),
        Seen::Before => Err(invalid("it was used before")),
        Seen::Unknown => Err(ErrorKind::ReplayGuardFull.into()),
    }
}

/// RFC 9449 §4.2
fn is_hash_of(hash: &str, token: &str) -> bool {
    crypto::constant_time_eq(
        hash.as_bytes(),
        base64url::encode(crypto::sha256(token.as_bytes())).as_bytes(),
    )
}

/// Says how proofs are judged.
#[derive(Debug)]
#[must_use]
pub struct DpopBuilder {
    origins: Vec<String>,
    algorithms: Vec<Algorithm>,
    max_age: Duration,
    clock: Arc<dyn Clock>,
    capacity: usize,
    nonces: Option<[u8; 32]>,
}

impl DpopBuilder {
    /// Another origin at which clients call this server.
    pub fn also_at(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// The algorithms that proofs may be signed with. Default: ES256, ES384, EdDSA, PS256 and RS256.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How old a proof may be, and how far in the future it may be made. Default 60 s.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How many proofs are remembered, each for as long as it could be used again. Default 65,536, which are 1.5 MiB and
    /// enough for some 400 requests per second. When the guard is full, requests get 503.
    pub fn replay_capacity(mut self, proofs: usize) -> Self {
        self.capacity = proofs;
        self
    }

    /// Demands nonces (RFC 9449 §8), so that no proof can be made beforehand. Servers that stand for each other share the
    /// secret. A nonce is good for five to ten minutes.
    pub fn require_nonces(mut self, secret: [u8; 32]) -> Self {
        self.nonces = Some(secret);
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when an origin is no scheme and host, no algorithm is accepted, or a proof could
    /// be older than an hour.
    pub fn build(self) -> Result<Dpop, Error> {
        let invalid = |what| Error::because(ErrorKind::InvalidConfiguration, what);
        let origins = self.origins.iter().map(|text| Origin::parse(text));
        let origins: Option<Vec<_>> = origins.collect();
        if self.algorithms.is_empty() {
            return Err(invalid("no algorithm for proofs is accepted"));
        }
        if self.max_age > Duration::from_secs(3600) || self.max_age.is_zero() {
            return Err(invalid(
                "a proof is good for more than nothing and at most an hour",
            ));
        }
        Ok(Dpop(Arc::new(Inner {
            origins: origins.ok_or(invalid("an origin reads like `https://api.example.com`"))?,
            algorithms: self.algorithms,
            max_age: self.max_age,
            clock: self.clock,
            replays: Replays::new(self.capacity),
            nonces: self.nonces.map(|secret| Nonces::new(&secret)),
        })))
    }
}

const fn invalid(detail: &'static str) -> Error {
    Error::because(ErrorKind::InvalidProof, detail)
}

#[cfg(test)]
mod tests;
