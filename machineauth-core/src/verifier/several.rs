//! Several issuers behind one verifier.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use super::{Inner, Verifier};
use crate::error::{Error, ErrorKind};
use crate::jws::Jws;

impl Verifier {
    /// A verifier for the tokens of all of these, which shares everything with them.
    ///
    /// A token chooses among them by its `iss`, compared character by character; nobody who is not configured is ever
    /// asked, and no key vouches for another issuer.
    ///
    /// ```
    /// use machineauth_core::{KeySet, TokenProfile, Verifier};
    ///
    /// # fn main() -> Result<(), machineauth_core::Error> {
    /// # let (our_keys, their_keys) = (KeySet::default(), KeySet::default());
    /// let ours = Verifier::builder("https://auth.example.com", "https://api.example.com").keys(our_keys).build()?;
    /// let partners = Verifier::builder("https://id.partner.example/realms/machines", "https://api.example.com")
    ///     .profile(TokenProfile::Keycloak)
    ///     .keys(their_keys) // or `.jwks(JwksCache::new(HttpKeys::discover(…)?))`
    ///     .build()?;
    /// let verifier = Verifier::any_of([ours, partners])?;
    /// assert_eq!(verifier.issuers().count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when there is none, when two are for the same issuer, when one of several
    /// [accepts any issuer](super::VerifierBuilder::danger_accept_any_issuer), or when two take
    /// [opaque tokens](super::VerifierBuilder::introspection), which do not say whose they are.
    pub fn any_of(verifiers: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        let verifiers: Vec<Self> = verifiers.into_iter().collect();
        let all: Vec<_> = verifiers.iter().flat_map(Self::each).cloned().collect();
        let invalid = |what| Err(Error::because(ErrorKind::InvalidConfiguration, what));
        let Some((first, others)) = all.split_first() else {
            return invalid("there is no verifier to choose from");
        };
        if !others.is_empty() && all.iter().any(|one| one.any_issuer) {
            return invalid("one of several verifiers cannot accept any issuer");
        }
        let mut issuers: Vec<_> = all.iter().map(|one| &one.issuer).collect();
        issuers.sort_unstable();
        if issuers.windows(2).any(|pair| pair[0] == pair[1]) {
            return invalid("two verifiers are for the same issuer");
        }
        if all.iter().filter(|one| one.introspector.is_some()).count() > 1 {
            return invalid("two verifiers take opaque tokens, which do not say whose they are");
        }
        Ok(Self(Arc::clone(first), others.into()))
    }

    /// Who may have issued a token.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.each().map(|one| &*one.issuer)
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &Arc<Inner>> {
        std::iter::once(&self.0).chain(&*self.1)
    }

    /// Who is to judge `token`, which nobody may have verified. What it says about its issuer only chooses among the
    /// configured ones; the one who is chosen reads it again.
    pub(super) fn chosen(&self, token: &str) -> Result<&Inner, Error> {
        if self.1.is_empty() {
            return Ok(&self.0);
        }
        if let Some(known) = self
            .each()
            .find(|one| one.verified.get(token.as_bytes()).is_some())
        {
            return Ok(known);
        }
        let Ok(jws) = Jws::parse_with(token, &self.0.header) else {
            // An opaque token, or nothing at all: one of them says which.
            let opaque = self.each().find(|one| one.introspector.is_some());
            return Ok(opaque.unwrap_or(&self.0));
        };
        let named: Named<'_> = serde_json::from_slice(jws.payload())
            .map_err(|_| Error::because(ErrorKind::MalformedToken, "it names no issuer"))?;
        self.of_issuer(&named.iss)
    }

    pub(super) fn of_issuer(&self, issuer: &str) -> Result<&Inner, Error> {
        if self.1.is_empty() {
            // It is said elsewhere whether this one looks at the issuer at all.
            return Ok(&self.0);
        }
        let named = self.each().find(|one| *one.issuer == *issuer);
        Ok(named.ok_or(ErrorKind::WrongIssuer)?)
    }
}

/// The issuer that an unverified token names.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
}
