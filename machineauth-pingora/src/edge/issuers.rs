//! Whose tokens are good: from `[[issuer]]` to a verifier, and what is kept of it over a change of the configuration.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use machineauth_core::feed::RevocationFeedBuilder;
use machineauth_core::introspection::{HttpIntrospection, Introspection};
use machineauth_core::verifier::TokenTypes;
use machineauth_core::{
    Clock, Error, HttpKeys, JwksCache, RevocationFeed, RevocationSet, StalePolicy, TokenProfile,
    Verifier,
};

use super::config::{
    ConfigError, IntrospectionToml, IssuerToml, ProfileToml, RevocationsToml, Source, StaleToml,
    TokenTypesToml,
};
use crate::background::{Home, wait_for};

/// One issuer in force.
#[derive(Debug)]
pub(crate) struct Issuer {
    said: Said,
    pub(crate) verifier: Verifier,
    pub(crate) jwks: JwksCache,
    pub(crate) revocations: Option<RevocationSet>,
    /// Taken when it starts.
    waiting: Mutex<Option<RevocationFeedBuilder>>,
    feed: OnceLock<RevocationFeed>,
    started: AtomicBool,
}

/// What the configuration says about it, secrets included: as long as that stays the same, so does the issuer with all that
/// it remembers.
#[derive(PartialEq)]
struct Said {
    toml: IssuerToml,
    secrets: Secrets,
}

#[derive(Default, PartialEq)]
struct Secrets {
    feed: Option<String>,
    introspection: Option<String>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.toml.url)
    }
}

/// What issuers are made with.
pub(crate) struct Workshop<'a> {
    pub(crate) source: &'a Source,
    pub(crate) home: &'a Home,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

impl Workshop<'_> {
    /// The issuer that `toml` describes: one of `before` where nothing has changed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn issuer(
        &self,
        toml: &IssuerToml,
        span: Range<usize>,
        before: &[Arc<Issuer>],
    ) -> Result<Arc<Issuer>, ConfigError> {
        let said = Said {
            toml: toml.clone(),
            secrets: self.secrets(toml, span.clone())?,
        };
        if let Some(known) = before.iter().find(|issuer| issuer.said == said) {
            return Ok(Arc::clone(known));
        }
        let known = before.iter().find(|issuer| issuer.url() == toml.url);
        let made = self.make(said, known.map(|issuer| &**issuer));
        made.map(Arc::new)
            .map_err(|error| self.source.fault(Some(span), error.to_string()))
    }

    fn secrets(&self, toml: &IssuerToml, span: Range<usize>) -> Result<Secrets, ConfigError> {
        let mut secrets = Secrets::default();
        if let Some(revocations) = &toml.revocations {
            let file = match revocations {
                RevocationsToml {
                    client_id: Some(_),
                    client_secret_file: Some(file),
                    api_key_file: None,
                    ..
                }
                | RevocationsToml {
                    client_id: None,
                    client_secret_file: None,
                    api_key_file: Some(file),
                    ..
                } => Some(file),
                RevocationsToml {
                    client_id: None,
                    client_secret_file: None,
                    api_key_file: None,
                    ..
                } => None,
                _ => {
                    let message = "revocations are followed with `client_id` and `client_secret_file`, \
                                   or with `api_key_file`, or without credentials";
                    return Err(self.source.fault(Some(span), message));
                }
            };
            secrets.feed = file
                .map(|file| self.source.secret(file, span.clone()))
                .transpose()?;
        }
        if let Some(introspection) = &toml.introspection {
            let secret = self
                .source
                .secret(&introspection.client_secret_file, span)?;
            secrets.introspection = Some(secret);
        }
        Ok(secrets)
    }

    /// What is known of the issuer is kept: until a changed one has been reached, what was revoked stays so.
    fn make(&self, said: Said, known: Option<&Issuer>) -> Result<Issuer, Error> {
        let Said { toml, secrets } = &said;
        let jwks = match known.filter(|known| known.said.toml.has_keys_of(toml)) {
            Some(known) => known.jwks.clone(),
            None => self.jwks(toml)?,
        };
        let mut audiences = toml.audience.iter();
        let first = audiences.next().cloned().unwrap_or_default();
        let mut builder = Verifier::builder(&toml.url, first)
            .jwks(jwks.clone())
            .clock(Arc::clone(self.clock))
            .profile(toml.profile.into())
            .token_types(toml.token_types.into());
        for audience in audiences {
            builder = builder.or_audience(audience);
        }
        if let Some(leeway) = toml.leeway {
            builder = builder.leeway(leeway.0);
        }
        let mut feed = None;
        let mut revocations = None;
        if let Some(toml_revocations) = &toml.revocations {
            let known = known.and_then(|known| known.revocations.clone());
            let set = known.unwrap_or_default();
            feed = Some(self.feed(toml, toml_revocations, secrets, set.clone())?);
            builder = builder
                .revocations(set.clone())
                .stale_revocations(stale(toml_revocations));
            revocations = Some(set);
        }
        if let (Some(introspection), Some(secret)) = (&toml.introspection, &secrets.introspection) {
            builder = builder.introspection(self.introspection(toml, introspection, secret)?);
        }
        Ok(Issuer {
            verifier: builder.build()?,
            jwks,
            revocations,
            waiting: Mutex::new(feed),
            feed: OnceLock::new(),
            started: AtomicBool::new(false),
            said,
        })
    }

    fn jwks(&self, toml: &IssuerToml) -> Result<JwksCache, Error> {
        let keys = match (&toml.jwks, toml.danger_allow_plain_http) {
            (Some(url), false) => HttpKeys::at(url)?,
            (Some(url), true) => HttpKeys::danger_at_over_plain_http(url)?,
            (None, false) => HttpKeys::discover(&toml.url)?,
            (None, true) => HttpKeys::danger_discover_over_plain_http(&toml.url)?,
        };
        let mut cache = JwksCache::builder(self.home.keys(keys)).clock(Arc::clone(self.clock));
        if let Some(file) = &toml.keys_file {
            cache = cache.snapshot_file(self.source.path_of(file));
        }
        cache.build()
    }

    fn feed(
        &self,
        toml: &IssuerToml,
        revocations: &RevocationsToml,
        secrets: &Secrets,
        set: RevocationSet,
    ) -> Result<RevocationFeedBuilder, Error> {
        let feed = RevocationFeed::of(&toml.url, set).clock(Arc::clone(self.clock));
        let feed = match toml.danger_allow_plain_http {
            true => feed.danger_allow_plain_http(),
            false => feed,
        };
        let feed = match (&revocations.client_id, &secrets.feed) {
            (Some(client_id), Some(secret)) => feed.client_credentials(client_id, secret),
            (None, Some(key)) => feed.api_key(key),
            (_, None) => feed,
        };
        feed.check().map(|()| feed)
    }

    fn introspection(
        &self,
        toml: &IssuerToml,
        introspection: &IntrospectionToml,
        secret: &str,
    ) -> Result<Introspection, Error> {
        let client_id = &introspection.client_id;
        let asking = match (&introspection.endpoint, toml.danger_allow_plain_http) {
            (Some(url), false) => HttpIntrospection::at(url, client_id, secret)?,
            (Some(url), true) => {
                HttpIntrospection::danger_at_over_plain_http(url, client_id, secret)?
            }
            (None, false) => HttpIntrospection::discover(&toml.url, client_id, secret)?,
            (None, true) => {
                HttpIntrospection::danger_discover_over_plain_http(&toml.url, client_id, secret)?
            }
        };
        let asking = self.home.introspection(asking);
        let mut builder = Introspection::builder(&toml.url, asking).clock(Arc::clone(self.clock));
        if let Some(max_age) = introspection.max_age {
            builder = builder.max_age(max_age.0);
        }
        builder.build()
    }
}

/// Starts following the issuers on the present runtime, and waits for the keys and revocations of those that are new, but no
/// longer than `patience`.
pub(crate) async fn start(issuers: &[Arc<Issuer>], patience: Duration) {
    let fresh: Vec<_> = issuers.iter().filter(|issuer| issuer.start()).collect();
    let keys = fresh.iter().map(|issuer| &issuer.jwks);
    let missing: Vec<_> = keys.filter(|keys| !keys.health().usable).collect();
    let feeds: Vec<_> = fresh.iter().filter_map(|issuer| issuer.feed()).collect();
    wait_for(missing, feeds, patience).await;
}

impl Issuer {
    pub(crate) fn url(&self) -> &str {
        &self.said.toml.url
    }

    /// Follows the revocations, on the present runtime. Returns whether it does so only now.
    fn start(&self) -> bool {
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match waiting.map(RevocationFeedBuilder::start) {
            Some(Ok(feed)) => drop(self.feed.set(feed)),
            Some(Err(error)) => {
                tracing::error!(issuer = self.url(), %error, "the revocations cannot be followed");
            }
            None => {}
        }
        !self.started.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn feed(&self) -> Option<&RevocationFeed> {
        self.feed.get()
    }

    /// How long ago the revocations were known to be complete; `None` when they never were, or are not followed.
    pub(crate) fn staleness(&self, clock: &dyn Clock) -> Option<Duration> {
        self.revocations.as_ref()?.staleness(clock.now())
    }
}

fn stale(toml: &RevocationsToml) -> StalePolicy {
    let after = toml.after.0;
    match toml.stale {
        StaleToml::Serve => StalePolicy::ServeAndReport { after },
        StaleToml::Introspect => StalePolicy::Introspect { after },
        StaleToml::Refuse => StalePolicy::Refuse { after },
    }
}

impl From<ProfileToml> for TokenProfile {
    fn from(toml: ProfileToml) -> Self {
        match toml {
            ProfileToml::Standard => Self::Standard,
            ProfileToml::Auth0 => Self::Auth0,
            ProfileToml::Keycloak => Self::Keycloak,
            ProfileToml::EntraId => Self::EntraId,
            ProfileToml::Okta => Self::Okta,
            ProfileToml::Cognito => Self::Cognito,
        }
    }
}

impl From<TokenTypesToml> for TokenTypes {
    fn from(toml: TokenTypesToml) -> Self {
        match toml {
            TokenTypesToml::Any => Self::AnyAccessToken,
            TokenTypesToml::Rfc9068 => Self::Rfc9068,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Nobody listens there.
    const AWAY: &str = "http://127.0.0.1:1";

    fn away() -> Arc<Issuer> {
        let toml = format!("url = \"{AWAY}\"\naudience = \"api\"");
        let jwks = JwksCache::new(HttpKeys::discover(AWAY).unwrap());
        let revocations = RevocationSet::new();
        let verifier = Verifier::builder(AWAY, "api").jwks(jwks.clone());
        let verifier = verifier.revocations(revocations.clone());
        let feed = RevocationFeed::of(AWAY, revocations.clone());
        Arc::new(Issuer {
            said: Said {
                toml: toml::from_str(&toml).unwrap(),
                secrets: Secrets::default(),
            },
            verifier: verifier.build().unwrap(),
            jwks,
            revocations: Some(revocations),
            waiting: Mutex::new(Some(feed)),
            feed: OnceLock::new(),
            started: AtomicBool::new(false),
        })
    }

    #[tokio::test]
    async fn nobody_waits_again_for_an_issuer_that_is_known_to_be_away() {
        let issuers = [away()];
        start(&issuers, Duration::from_millis(1)).await;
        let again = start(&issuers, Duration::from_secs(3600));
        let again = timeout(Duration::from_secs(20), again).await;
        assert!(again.is_ok());
        assert!(issuers[0].feed().is_some());
    }
}
