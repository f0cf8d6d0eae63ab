//! What a verifier is made of.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::cache::VerifiedTokens;
use super::stale::{Freshness, StaleHook, StalePolicy};
use super::{Inner, KeySource, Verifier};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind};
use crate::introspection::Introspector;
use crate::jwks::JwksCache;
use crate::jws::{HeaderMemo, is_media_type};
use crate::keyset::KeySet;
use crate::profile::TokenProfile;
use crate::revocation::RevocationSet;

const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
/// The most that a verifier's clock and the issuer's may disagree. Revocations are kept this much longer than the tokens
/// that they hit, so no verifier may allow more.
pub const GREATEST_LEEWAY: Duration = Duration::from_secs(300);
const DEFAULT_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Which `typ` headers name an access token (RFC 8725 §3.11). The types of other JWTs are refused in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenTypes {
    /// `at+jwt`, `JWT`, or none.
    AnyAccessToken,
    /// `at+jwt` only (RFC 9068 §4).
    Rfc9068,
}

impl TokenTypes {
    pub(super) fn accept(self, typ: Option<&str>) -> Result<(), Error> {
        let is = |name: &str| typ.is_some_and(|typ| is_media_type(typ, name));
        let accepted = match self {
            Self::AnyAccessToken => typ.is_none() || is("at+jwt") || is("jwt"),
            Self::Rfc9068 => is("at+jwt"),
        };
        if accepted {
            Ok(())
        } else {
            Err(ErrorKind::InvalidType.into())
        }
    }
}

/// Makes a [`Verifier`]. Issuer and audience are given; so must be keys.
#[must_use]
pub struct VerifierBuilder {
    issuer: String,
    audiences: Vec<String>,
    any_issuer: bool,
    any_audience: bool,
    any_possession: bool,
    keys: Option<Keys>,
    types: TokenTypes,
    profile: TokenProfile,
    leeway: Duration,
    clock: Arc<dyn Clock>,
    revocations: Option<RevocationSet>,
    stale: StalePolicy,
    on_stale: Option<StaleHook>,
    introspector: Option<Arc<dyn Introspector>>,
    cache_bytes: u64,
}

#[derive(Debug)]
enum Keys {
    Fixed(Arc<KeySet>),
    Remote(JwksCache),
}

impl VerifierBuilder {
    pub(super) fn new(issuer: String, audience: String) -> Self {
        Self {
            issuer,
            audiences: vec![audience],
            any_issuer: false,
            any_audience: false,
            any_possession: false,
            keys: None,
            types: TokenTypes::AnyAccessToken,
            profile: TokenProfile::Standard,
            leeway: DEFAULT_LEEWAY,
            clock: Arc::new(SystemClock),
            revocations: None,
            stale: StalePolicy::Serve,
            on_stale: None,
            introspector: None,
            cache_bytes: DEFAULT_CACHE_BYTES,
        }
    }

    /// Uses these keys and never asks for others.
    pub fn keys(mut self, keys: impl Into<Arc<KeySet>>) -> Self {
        self.keys = Some(Keys::Fixed(keys.into()));
        self
    }

    /// Uses the keys that the issuer publishes.
    pub fn jwks(mut self, jwks: JwksCache) -> Self {
        self.keys = Some(Keys::Remote(jwks));
        self
    }

    /// Takes tokens that are meant for `audience` as well: a service that changes its name, or has two.
    pub fn or_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Says where the issuer's tokens have scopes, roles and client ids. The default is [`TokenProfile::Standard`].
    pub fn profile(mut self, profile: TokenProfile) -> Self {
        self.profile = profile;
        self
    }

    /// Says which `typ` headers are accepted. The default is [`TokenTypes::AnyAccessToken`].
    pub fn token_types(mut self, types: TokenTypes) -> Self {
        self.types = types;
        self
    }

    /// Takes tokens whatever issuer they name, as long as one of the keys signed them.
    ///
    /// For an issuer that looks at its own tokens with its own keys, whatever it was called when it signed them. With
    /// keys of anybody else, this lets one issuer speak for another (RFC 8725 §3.8).
    pub fn danger_accept_any_issuer(mut self) -> Self {
        self.any_issuer = true;
        self
    }

    /// Takes tokens that are meant for others, too.
    ///
    /// For whoever asks what a token is and not whether to serve its bearer: the issuer's introspection. A resource
    /// server that takes tokens meant for others lets them act with its clients' rights (RFC 9700 §2.3).
    pub fn danger_accept_any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// Takes tokens that are bound to a key, whoever sends them.
    ///
    /// For whoever asks what a token is and not whether to serve its bearer, as above. A resource server that does so
    /// serves whoever stole the token (RFC 9449 §7.2).
    pub fn danger_accept_without_possession(mut self) -> Self {
        self.any_possession = true;
        self
    }

    /// How much the issuer's clock and ours may disagree; at most 5 minutes. The default is 30 seconds.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Uses this clock. The default is the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Refuses what this set says is revoked.
    pub fn revocations(mut self, revocations: RevocationSet) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// What to do when the revocations are stale. The default is [`StalePolicy::Serve`].
    pub fn stale_revocations(mut self, policy: StalePolicy) -> Self {
        self.stale = policy;
        self
    }

    /// Is told `true` when the revocations become stale, by the policy's limit, and `false` when they are fresh again: for
    /// metrics. It is called by the request that finds out, while it waits.
    pub fn on_stale_revocations(mut self, hook: impl Fn(bool) + Send + Sync + 'static) -> Self {
        self.on_stale = Some(Arc::new(hook));
        self
    }

    /// Takes opaque tokens too: whatever is no JWT is asked about, and judged like one by what the answer says.
    pub fn introspection(mut self, introspector: impl Introspector + 'static) -> Self {
        self.introspector = Some(Arc::new(introspector));
        self
    }

    /// How much memory accepted tokens may take, in bytes; 0 verifies every token anew. The default is 64 MiB.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Makes the verifier.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the issuer or the audience is empty, there are no keys, the leeway is
    /// too great, or the policy for stale revocations needs revocations or introspection that are not there.
    pub fn build(self) -> Result<Verifier, Error> {
        let invalid = |what| Err(Error::because(ErrorKind::InvalidConfiguration, what));
        if self.issuer.is_empty() || self.audiences.iter().any(String::is_empty) {
            return invalid("the issuer and the audience must not be empty");
        }
        if self.leeway > GREATEST_LEEWAY {
            return invalid("the leeway is at most 5 minutes");
        }
        if self.stale != StalePolicy::Serve && self.revocations.is_none() {
            return invalid("a policy for stale revocations needs revocations to follow");
        }
        if matches!(self.stale, StalePolicy::Introspect { .. }) && self.introspector.is_none() {
            return invalid("introspecting on stale revocations needs introspection");
        }
        let keys = match self.keys {
            Some(Keys::Fixed(keys)) => KeySource::Fixed(keys),
            Some(Keys::Remote(jwks)) => KeySource::Remote(jwks),
            None => return invalid("keys are missing: give a key set or a JWKS cache"),
        };
        let inner = Inner {
            issuer: self.issuer.into(),
            audiences: self.audiences.into_iter().map(Into::into).collect(),
            any_issuer: self.any_issuer,
            any_audience: self.any_audience,
            any_possession: self.any_possession,
            keys,
            types: self.types,
            profile: self.profile,
            leeway: self.leeway,
            clock: self.clock,
            revocations: self.revocations,
            revoked_keys: AtomicUsize::new(0),
            freshness: Freshness::new(self.stale, self.on_stale),
            introspector: self.introspector,
            header: HeaderMemo::default(),
            verified: VerifiedTokens::new(self.cache_bytes),
        };
        Ok(Verifier(Arc::new(inner), Arc::new([])))
    }
}

impl fmt::Debug for VerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("types", &self.types)
            .field("profile", &self.profile)
            .field("stale", &self.stale)
            .finish_non_exhaustive()
    }
}
