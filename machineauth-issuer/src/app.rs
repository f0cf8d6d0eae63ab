//! The application: one struct that holds everything, made in one function.

mod background;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use machineauth_core::clock::Clock;
use machineauth_core::quota::Exhausted;

pub use self::background::Background;
use crate::backup::{self, UnfinishedRestore};
use crate::config::Config;
use crate::config::variables::Source;
use crate::documents;
use crate::domain::activity::Hours;
use crate::domain::administrators::Administrators;
use crate::domain::agent::Agent;
use crate::domain::agents::Agents;
use crate::domain::api_keys::{self, ApiKey, ApiKeys};
use crate::domain::event::{self, Action, By, Fact, Recorder};
use crate::domain::grants::Grants;
use crate::domain::keys::{KeyError, KeyRings};
use crate::domain::organization::location;
use crate::domain::organizations::Organizations;
use crate::domain::plans::TokenRates;
use crate::domain::proofs::Proofs;
use crate::domain::sealing::SealingError;
use crate::domain::secret::SecretText;
use crate::domain::teams::Teams;
use crate::domain::tokens::Tokens;
use crate::domain::tokens::access::Minter;
use crate::domain::vault::{ServerKey, Vault, VaultError};
use crate::domain::webhooks::{Remembered, Webhooks};
use crate::events::audit::{Sealer, Trail, Verification};
use crate::events::feed::Feed;
use crate::events::webhooks::Delivering;
use crate::events::webhooks::guard::SystemLookup;
use crate::maintenance::Maintenance;
use crate::metrics::Metrics;
use crate::paths;
use crate::protection::{Limits, address_block};
use crate::store::{DynStore, Partition, Store, StoreError};
use crate::tls::{Certificates, InvalidTls};

/// The application. Clones share everything.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

/// What the application consists of.
#[derive(Debug)]
pub struct Inner {
    /// What was configured.
    pub config: Config,
    /// Judges proofs of possession.
    pub dpop: Proofs,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where state is kept.
    pub store: DynStore,
    /// Recognises administrators.
    pub administrators: Administrators,
    /// Our clients.
    pub agents: Arc<Agents>,
    /// The tenants.
    pub organizations: Organizations,
    /// Their teams.
    pub teams: Arc<Teams>,
    /// Their API keys.
    pub api_keys: Arc<ApiKeys>,
    /// Issues tokens.
    pub grants: Grants,
    /// Looks at tokens, and ends them.
    pub tokens: Tokens,
    /// The metadata document.
    pub metadata: Bytes,
    /// The signing keys.
    pub keys: Arc<KeyRings>,
    /// Records what is no change.
    pub recorder: Arc<Recorder>,
    /// Reads what was recorded.
    pub trail: Trail,
    /// Verifies what was recorded.
    pub verification: Arc<Verification>,
    /// What happened hour by hour.
    pub hours: Hours,
    /// Seals what was recorded.
    pub sealer: Arc<Sealer>,
    /// Who may call how often.
    pub limits: Limits,
    /// Who is told what happens.
    pub webhooks: Arc<Webhooks>,
    /// Tells them.
    pub delivering: Arc<Delivering>,
    /// The revocation feed.
    pub feed: Feed,
    /// What this process counts about itself.
    pub metrics: Metrics,
    /// What the server shows where it speaks TLS.
    pub certificates: Option<Arc<Certificates>>,
}

/// Why the application did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server key does not fit, or the store failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The signing keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The TLS certificate cannot be served.
    #[error(transparent)]
    Tls(#[from] InvalidTls),
    /// The audit trail cannot be sealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The store is half of a copy.
    #[error(transparent)]
    Unfinished(#[from] UnfinishedRestore),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no TLS to send with.
    #[error("webhooks cannot be sent: {0}")]
    Sender(#[from] reqwest::Error),
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Puts the application together, making the data key and the signing key of a new store.
    ///
    /// # Errors
    /// When the store, the server key or a stored key cannot be used.
    pub async fn open(
        config: Config,
        server_key: &ServerKey,
        clock: Arc<dyn Clock>,
        store: DynStore,
    ) -> Result<Self, StartError> {
        let app = Self::for_command(config, server_key, clock, store).await?;
        announce_start(&app.config, &*app.store, &*app.clock).await?;
        Ok(app)
    }

    /// As [`App::open`], for a store that a restore has not finished yet.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn on_restored(
        config: Config,
        server_key: &ServerKey,
        clock: Arc<dyn Clock>,
        store: DynStore,
    ) -> Result<Self, StartError> {
        Self::assemble(config, server_key, clock, store).await
    }

    /// As [`App::open`], for a command that works on the store by itself: no issuer starts, and none is recorded to.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn for_command(
        config: Config,
        server_key: &ServerKey,
        clock: Arc<dyn Clock>,
        store: DynStore,
    ) -> Result<Self, StartError> {
        backup::check_finished(&*store).await??;
        Self::assemble(config, server_key, clock, store).await
    }

    async fn assemble(
        config: Config,
        server_key: &ServerKey,
        clock: Arc<dyn Clock>,
        store: DynStore,
    ) -> Result<Self, StartError> {
        let certificates = config.tls.clone().map(Certificates::open).transpose()?;
        let certificates = certificates.map(Arc::new);
        let vault = Arc::new(
            Vault::open(
                &*store,
                server_key,
                config.previous_server_key.as_ref(),
                &*clock,
            )
            .await?,
        );
        let keys = Arc::new(
            KeyRings::open(
                Arc::clone(&store),
                Arc::clone(&vault),
                Arc::clone(&clock),
                config.keys.clone(),
            )
            .await?,
        );
        let agents = Arc::new(Agents::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&vault),
            names(&config.tokens.issuer),
            config.plans,
        ));
        let teams = Arc::new(Teams {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
        });
        let api_keys = Arc::new(ApiKeys::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&vault),
        ));
        let webhooks = Arc::new(Webhooks {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            vault: Arc::clone(&vault),
            policy: config.webhooks.policy,
            remembered: Remembered::default(),
        });
        let organizations = Organizations {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            agents: Arc::clone(&agents),
            teams: Arc::clone(&teams),
            api_keys: Arc::clone(&api_keys),
            webhooks: Arc::clone(&webhooks),
            keys: Arc::clone(&keys),
            server_location: location(&config.tokens.issuer),
        };
        agents.index_all().await?;
        let limits = Limits::new(&config.protection);
        let metrics = Metrics::new(&limits, certificates.as_deref());
        let recorder = Arc::new(Recorder::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            config.audit.token_events,
        ));
        let delivering = Delivering::new(
            &webhooks,
            &recorder,
            &config.webhooks,
            Arc::new(SystemLookup),
            &config.tokens.issuer,
            metrics.deliveries.clone(),
        )?;
        let dpop = Proofs::new(&config.tokens.issuer, Arc::clone(&clock));
        let sealer = Sealer::open(Arc::clone(&store), &vault, Arc::clone(&clock)).await?;
        let sealer = Arc::new(sealer);
        let trail = Trail::new(Arc::clone(&store), Arc::clone(&agents));
        let verification = Verification::new(
            Arc::clone(&store),
            Arc::clone(&vault),
            Arc::clone(&clock),
            trail.clone(),
        );
        let feed = Feed::open(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&keys)).await?;
        Ok(Self(Arc::new(Inner {
            administrators: Administrators::new(
                Arc::clone(&store),
                Arc::clone(&clock),
                Arc::clone(&vault),
                &config.admin.email,
                &config.admin.password,
            ),
            metadata: documents::metadata(
                &config.tokens.issuer,
                &config.tokens.issuer,
                config.keys.algorithm,
                &dpop.algorithms(),
            ),
            dpop,
            feed,
            certificates,
            webhooks,
            delivering: Arc::new(delivering),
            limits,
            grants: Grants {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                vault: Arc::clone(&vault),
                agents: Arc::clone(&agents),
                keys: Arc::clone(&keys),
                minter: Minter::new(config.tokens.clone(), Arc::clone(&vault)),
                recorder: Arc::clone(&recorder),
                settings: config.grants.clone(),
                rates: TokenRates::new(&config.plans),
            },
            tokens: Tokens {
                store: Arc::clone(&store),
                clock: Arc::clone(&clock),
                vault,
                agents: Arc::clone(&agents),
                keys: Arc::clone(&keys),
                recorder: Arc::clone(&recorder),
            },
            recorder,
            trail,
            verification: Arc::new(verification),
            hours: Hours::default(),
            sealer,
            keys,
            agents,
            organizations,
            teams,
            api_keys,
            config,
            clock,
            store,
            metrics,
        })))
    }

    /// The API key whose text this is, if it works.
    ///
    /// # Errors
    /// When the address has presented too many wrong ones (I6), the key is used too often, or the store fails.
    pub async fn api_key<E: From<Exhausted> + From<StoreError>>(
        &self,
        address: IpAddr,
        text: &SecretText,
    ) -> Result<Option<ApiKey>, E> {
        // All keys have one name: whoever guesses, guesses any of them.
        let now = self.clock.now();
        let count = |action| self.count_stranger(action, address, "api_key", None, None);
        let attempt = self.limits.attempt(address, api_keys::PREFIX, text, now);
        let attempt = attempt
            .await
            .inspect_err(|_| count(Action::LimitLockedOut))?;
        let Some(key) = self.api_keys.authenticate(text).await? else {
            count(Action::AuthenticationFailed);
            attempt.failed();
            return Ok(None);
        };
        attempt.succeeded();
        self.limits
            .admit_client(&key.id.to_string(), now)
            .inspect_err(|_| count(Action::LimitExceeded))?;
        Ok(Some(key))
    }

    /// Counts for the audit trail what somebody caused that nobody knows: see [`Recorder::count_stranger`].
    pub fn count_stranger(
        &self,
        action: Action,
        address: IpAddr,
        method: &'static str,
        name: Option<&str>,
        agent: Option<&Agent>,
    ) {
        let block = address_block(address);
        self.recorder
            .count_stranger(action, block, method, name, agent);
    }

    /// What keeps the store small.
    pub fn maintenance(&self) -> Maintenance<'_> {
        Maintenance {
            store: &*self.store,
            clock: &*self.clock,
            organizations: &self.organizations,
            webhooks: &self.webhooks,
            audit: self.config.audit,
        }
    }
}

/// Records that an issuer starts on the store, and with what that matters to whoever reads the trail.
async fn announce_start(
    config: &Config,
    store: &dyn Store,
    clock: &dyn Clock,
) -> Result<(), StoreError> {
    // Values could be secrets; names are not.
    let set: Vec<_> = config
        .in_force
        .iter()
        .filter(|value| value.source != Source::Default)
        .map(|value| value.variable.name)
        .collect();
    let fact = Fact::new(Action::ServerStarted)
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("issuer", config.tokens.issuer.as_str())
        .with("configured", set);
    event::record_alone(store, Partition::SYSTEM, fact, &By::SYSTEM, clock.now()).await
}

/// For whom clients make assertions of who they are: the server, or the endpoint that they ask (RFC 7523 §3).
fn names(issuer: &str) -> Vec<String> {
    let endpoints = [
        "",
        paths::TOKEN,
        paths::MACHINE_TOKEN,
        paths::REFRESH,
        paths::INTROSPECT,
        paths::REVOKE,
        paths::REVOCATIONS,
    ];
    endpoints.map(|path| format!("{issuer}{path}")).to_vec()
}
