//! The verifier: is this token good, here and now?
//!
//! [`Verifier::check`] answers without waiting. A token that it has accepted before costs one look-up by the whole
//! token text; what can have changed since (the time, the issuer's keys, what is revoked) is judged anew every time.
//! A token that it has not seen costs a strict parse and a signature.

mod agent;
mod builder;
mod cache;
mod ended;
mod possession;
mod several;
mod stale;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use agent::Agent;
pub use builder::{GREATEST_LEEWAY, TokenTypes, VerifierBuilder};
use cache::VerifiedTokens;
pub use possession::Possession;
pub use stale::StalePolicy;
use stale::{Freshness, GoOn};

use crate::claims::Claims;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::introspection::{Introspector, is_jwt};
use crate::jwks::JwksCache;
use crate::jws::{HeaderMemo, Jws};
use crate::keyset::{KeySet, PublishedKey};
use crate::profile::TokenProfile;
use crate::revocation::RevocationSet;

/// Claims that only an OpenID Connect ID token has (OpenID Connect Core §2, §3.3.2.11).
const ID_TOKEN_CLAIMS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// Verifies the access tokens of one issuer, or [of several](Verifier::any_of), for the audiences that each was
/// configured with. Clones share everything.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>, Arc<[Arc<Inner>]>);

struct Inner {
    issuer: Box<str>,
    audiences: Box<[Box<str>]>,
    any_issuer: bool,
    any_audience: bool,
    any_possession: bool,
    keys: KeySource,
    types: TokenTypes,
    profile: TokenProfile,
    leeway: Duration,
    clock: Arc<dyn Clock>,
    revocations: Option<RevocationSet>,
    /// How many keys were revoked when the issuer was asked for a key last.
    revoked_keys: AtomicUsize,
    freshness: Freshness,
    /// Whom to ask about tokens that are no JWTs.
    introspector: Option<Arc<dyn Introspector>>,
    header: HeaderMemo,
    verified: VerifiedTokens,
}

enum KeySource {
    Fixed(Arc<KeySet>),
    Remote(JwksCache),
}

impl Verifier {
    /// A verifier for tokens that `issuer` issued for `audience`. Both are compared character by character
    /// (RFC 7519 §4.1.1, §4.1.3).
    pub fn builder(issuer: impl Into<String>, audience: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder::new(issuer.into(), audience.into())
    }

    /// What is known to be revoked, of each issuer whose revocations are followed.
    pub fn revocations(&self) -> impl Iterator<Item = &RevocationSet> {
        self.each().filter_map(|one| one.revocations.as_ref())
    }

    /// The agent that `token` speaks for, if the token is good now. Never waits, never does I/O.
    ///
    /// # Errors
    /// Everything that can be wrong with a token, by its [kind](Error::kind). Those that
    /// [`Verifier::can_recover`] names may pass: [`Verifier::verify`] asks the issuer.
    ///
    /// A token that is bound to a key is refused here: see [`Verifier::check_as`].
    pub fn check(&self, token: &str) -> Result<Arc<Agent>, Error> {
        self.check_as(token, &Possession::NOTHING)
    }

    /// As [`Verifier::check`], of a request whose sender has proven to have something. What a token is bound to is asked
    /// for at every check, however well the token is known.
    ///
    /// # Errors
    /// As [`Verifier::check`], and [`ErrorKind::InvalidClaim`] of [`ClaimName::Confirmation`](crate::ClaimName) when it is
    /// not what the token is bound to.
    pub fn check_as(&self, token: &str, possession: &Possession<'_>) -> Result<Arc<Agent>, Error> {
        let verifier = self.chosen(token)?;
        let agent = verifier.check(token)?;
        verifier.confirm(&agent, possession)?;
        Ok(agent)
    }

    /// As [`Verifier::check_as`], of a token that has been accepted before; whatever is to be said of another one, that says.
    pub(crate) fn check_known(
        &self,
        token: &[u8],
        possession: &Possession<'_>,
    ) -> Option<Result<Arc<Agent>, Error>> {
        self.each().find_map(|one| {
            let checked = one.check_known(token)?;
            Some(checked.and_then(|agent| one.confirm(&agent, possession).map(|()| agent)))
        })
    }

    /// As [`Verifier::check`]; when the key is not known, the issuer is asked for its present keys first, and when only the
    /// issuer can read the token, it is asked what it is.
    ///
    /// Everybody who waits for the same thing waits for the same request, for a bounded time.
    ///
    /// # Errors
    /// As [`Verifier::check`].
    pub async fn verify(&self, token: &str) -> Result<Arc<Agent>, Error> {
        self.verify_as(token, &Possession::NOTHING).await
    }

    /// As [`Verifier::verify`], of a request whose sender has proven to have something.
    ///
    /// # Errors
    /// As [`Verifier::check_as`].
    pub async fn verify_as(
        &self,
        token: &str,
        possession: &Possession<'_>,
    ) -> Result<Arc<Agent>, Error> {
        let verifier = self.chosen(token)?;
        let agent = verifier.verify(token).await?;
        verifier.confirm(&agent, possession)?;
        Ok(agent)
    }

    /// Whether [`Verifier::verify`] may yet accept a token that [`Verifier::check`] refused with `error`: a key was
    /// missing, or only the issuer can read the token, and there is an issuer to ask. Never, when the keys are fixed and
    /// nobody is to be asked about tokens.
    pub fn can_recover(&self, error: &Error) -> bool {
        self.each().any(|one| one.can_recover(error))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuers", &self.issuers().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl KeySource {
    fn generation(&self, now: Timestamp) -> Result<u64, Error> {
        match self {
            Self::Fixed(_) => Ok(0),
            Self::Remote(jwks) => jwks.generation(now),
        }
    }

    /// Verifies the signature with the key that the token names. Returns that key, and the generation of the key set
    /// it is in.
    fn verify(&self, jws: &Jws<'_>, now: Timestamp) -> Result<(Arc<PublishedKey>, u64), Error> {
        let verify = |set: &KeySet| -> Result<Arc<PublishedKey>, Error> {
            let key = set.published(jws.header().kid(), jws.header().algorithm())?;
            key.verifying.verify(jws.signing_input(), jws.signature())?;
            Ok(Arc::clone(key))
        };
        match self {
            Self::Fixed(set) => Ok((verify(set)?, 0)),
            Self::Remote(jwks) => {
                let keys = jwks.current(now)?;
                Ok((verify(keys.set())?, keys.generation()))
            }
        }
    }
}

impl Inner {
    fn check(&self, token: &str) -> Result<Arc<Agent>, Error> {
        let now = self.clock.now();
        let go_on = self.freshness.judge(self.revocations.as_ref(), now)?;
        let agent = self.check_locally(token, now)?;
        match (go_on, &self.introspector) {
            (GoOn::Confirmed, Some(introspector)) => self.check_opaque(&**introspector, token, now),
            _ => Ok(agent),
        }
    }

    fn check_locally(&self, token: &str, now: Timestamp) -> Result<Arc<Agent>, Error> {
        let Some(agent) = self.known(token.as_bytes(), now) else {
            return self.check_cold(token, now);
        };
        self.recheck(&agent, now)?;
        Ok(agent)
    }

    /// As [`Inner::check`], of a token that is known and about which nobody has to be asked.
    fn check_known(&self, token: &[u8]) -> Option<Result<Arc<Agent>, Error>> {
        let now = self.clock.now();
        let agent = self.known(token, now)?;
        match self.freshness.judge(self.revocations.as_ref(), now) {
            Ok(GoOn::Locally) => Some(self.recheck(&agent, now).map(|()| agent)),
            Ok(GoOn::Confirmed) | Err(_) => None,
        }
    }

    /// The agent of a token that was accepted with the keys that are good now.
    fn known(&self, token: &[u8], now: Timestamp) -> Option<Arc<Agent>> {
        let agent = self.verified.get(token)?;
        let generation = self.keys.generation(now).ok()?;
        (agent.generation() == generation).then_some(agent)
    }

    async fn verify(&self, token: &str) -> Result<Arc<Agent>, Error> {
        let mut checked = self.check(token);
        if let Err(error) = &checked
            && is_about_keys(error)
            && self.ask_for_key(token).await
        {
            checked = self.check(token);
        }
        match (&checked, &self.introspector) {
            (Err(error), Some(introspector))
                if error.kind() == ErrorKind::IntrospectionUnavailable =>
            {
                let agent = introspector.introspect(token).await?;
                self.judge_introspected(agent, self.clock.now())
            }
            _ => checked,
        }
    }

    /// Accepting a bound token as a bearer token would undo the binding (RFC 9449 §7.2, RFC 8705 §3).
    fn confirm(&self, agent: &Agent, possession: &Possession<'_>) -> Result<(), Error> {
        match self.any_possession {
            true => Ok(()),
            false => possession.satisfies(agent.claims().confirmation.as_ref()),
        }
    }

    fn can_recover(&self, error: &Error) -> bool {
        match error.kind() {
            _ if is_about_keys(error) => matches!(self.keys, KeySource::Remote(_)),
            ErrorKind::IntrospectionUnavailable => self.introspector.is_some(),
            _ => false,
        }
    }

    /// Whether there is somebody to ask for the key of this token; then it has happened.
    async fn ask_for_key(&self, token: &str) -> bool {
        let KeySource::Remote(jwks) = &self.keys else {
            return false;
        };
        let Ok(jws) = Jws::parse_with(token, &self.header) else {
            return false;
        };
        if self.keys_were_revoked() {
            jwks.end_cool_down();
        }
        match jws.header().kid() {
            Some(kid) => jwks.refresh_for(kid).await,
            None => jwks.refresh().await,
        }
        true
    }

    /// Whether the issuer has revoked a key since this was asked last. No stranger can cause that, and a key that is revoked
    /// while it signs has a successor that signs at once.
    fn keys_were_revoked(&self) -> bool {
        let revoked = self
            .revocations
            .as_ref()
            .map_or(0, RevocationSet::revoked_keys);
        self.revoked_keys.swap(revoked, Ordering::AcqRel) != revoked
    }

    /// What can have changed since the token was accepted (V17).
    fn recheck(&self, agent: &Agent, now: Timestamp) -> Result<(), Error> {
        if self.has_expired(agent.claims(), now) {
            return Err(ErrorKind::Expired.into());
        }
        let Some(revocations) = &self.revocations else {
            return Ok(());
        };
        // The epoch is read before the look-up: a change in between moves it, and the next check looks again.
        let epoch = revocations.epoch();
        if agent.judged_at_epoch(epoch) {
            return Ok(());
        }
        if revocations.hit(agent.claims(), agent.kid()) {
            return Err(ErrorKind::Revoked.into());
        }
        agent.note_epoch(epoch);
        Ok(())
    }

    fn check_cold(&self, token: &str, now: Timestamp) -> Result<Arc<Agent>, Error> {
        let jws = match (Jws::parse_with(token, &self.header), &self.introspector) {
            (Err(error), Some(introspector))
                if error.kind() == ErrorKind::MalformedToken && !is_jwt(token) =>
            {
                return self.check_opaque(&**introspector, token, now);
            }
            (jws, _) => jws?,
        };
        self.types.accept(jws.header().typ())?;
        let (key, generation) = self.keys.verify(&jws, now)?;
        let claims = self.profile.read(jws.payload())?;
        self.judge(&claims, now)?;
        let epoch = self.revocations.as_ref().map_or(0, RevocationSet::epoch);
        let agent = Agent::new(claims, key, generation, epoch);
        if self
            .revocations
            .as_ref()
            .is_some_and(|revocations| revocations.hit(agent.claims(), agent.kid()))
        {
            return Err(ErrorKind::Revoked.into());
        }
        let agent = Arc::new(agent);
        self.header.remember(&jws);
        self.verified.insert(token, &agent);
        Ok(agent)
    }

    /// A token that only its issuer can read, by what the issuer said of it.
    fn check_opaque(
        &self,
        introspector: &dyn Introspector,
        token: &str,
        now: Timestamp,
    ) -> Result<Arc<Agent>, Error> {
        match introspector.known(token) {
            Some(verdict) => self.judge_introspected(verdict?, now),
            None => Err(ErrorKind::IntrospectionUnavailable.into()),
        }
    }

    fn judge_introspected(&self, agent: Arc<Agent>, now: Timestamp) -> Result<Arc<Agent>, Error> {
        self.judge(agent.claims(), now)?;
        self.recheck(&agent, now)?;
        Ok(agent)
    }

    fn judge(&self, claims: &Claims, now: Timestamp) -> Result<(), Error> {
        if !self.any_issuer && *claims.issuer != *self.issuer {
            return Err(ErrorKind::WrongIssuer.into());
        }
        if !self.any_audience && !self.is_meant_for_us(claims) {
            return Err(ErrorKind::WrongAudience.into());
        }
        if ID_TOKEN_CLAIMS
            .iter()
            .any(|claim| claims.extra.contains_key(*claim))
        {
            return Err(Error::because(ErrorKind::InvalidType, "it is an ID token"));
        }
        if self.has_expired(claims, now) {
            return Err(ErrorKind::Expired.into());
        }
        let latest = now.saturating_add(self.leeway).as_secs();
        match claims.not_before.max(claims.issued_at) {
            Some(start) if start > latest => Err(ErrorKind::NotYetValid.into()),
            _ => Ok(()),
        }
    }

    fn has_expired(&self, claims: &Claims, now: Timestamp) -> bool {
        now >= Timestamp::from_secs(claims.expires_at).saturating_add(self.leeway)
    }

    fn is_meant_for_us(&self, claims: &Claims) -> bool {
        let mut ours = self.audiences.iter();
        ours.any(|audience| claims.audience.contains(audience))
    }
}

fn is_about_keys(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnknownKey | ErrorKind::KeysUnavailable
    )
}
