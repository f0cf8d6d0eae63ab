//! What the commands share that open the store themselves.

use std::error::Error;
use std::sync::Arc;

use machineauth_core::clock::{Clock, SystemClock};

use super::store;
use crate::app::App;
use crate::config::{Config, StoreUrl};
use crate::domain::vault::{ServerKey, Vault};
use crate::store::{DynStore, MemoryStore, StoreError};
use crate::telemetry::Chain;

/// Whether a command makes a store where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenMissing {
    /// It does.
    Create,
    /// It does as if there were an empty one.
    Pretend,
    /// It would do nothing but that, most likely in a wrong directory.
    Refuse,
}

/// The application on the configured store, without anything that runs beside requests. Whoever opened it closes its
/// store.
///
/// # Errors
/// What keeps it from opening, and where a server holds the store, what to do.
pub(super) async fn open_app(when_missing: WhenMissing) -> Result<App, Box<dyn Error>> {
    let config = Config::from_environment()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open_store(&config, Arc::clone(&clock), when_missing).await?;
    // A store without a data key was never used.
    let (store, server_key) =
        if when_missing == WhenMissing::Pretend && !Vault::exists_in(&*store).await? {
            store.close().await?;
            (memory(&clock), ServerKey::generate())
        } else {
            let server_key = store::server_key(&config.server_key, &*store).await?;
            (store, server_key)
        };
    // Nobody is served, and the certificate may be readable by the server only.
    let config = Config {
        tls: None,
        ..config
    };
    Ok(App::for_command(config, &server_key, clock, store).await?)
}

fn memory(clock: &Arc<dyn Clock>) -> DynStore {
    Arc::new(MemoryStore::new(Arc::clone(clock)))
}

/// The configured store.
///
/// # Errors
/// As [`open_app`].
pub(super) async fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
    when_missing: WhenMissing,
) -> Result<DynStore, Box<dyn Error>> {
    let url = &config.store;
    let is_missing = matches!(url, StoreUrl::Embedded(path) if !path.exists());
    match when_missing {
        WhenMissing::Refuse if is_missing => {
            return Err(format!(
                "there is no store {url}: run this where the server runs, or say with DATABASE_URL where the store is"
            )
            .into());
        }
        WhenMissing::Pretend if is_missing => return Ok(memory(&clock)),
        WhenMissing::Create | WhenMissing::Pretend | WhenMissing::Refuse => {}
    }
    store::connect(config, clock).await.map_err(|error| match error {
        StoreError::Busy { .. } => format!(
            "a server holds the store {url}, and this command opens the store itself: stop the server, run the command \
             again, then start the server"
        )
        .into(),
        error => format!("cannot open the store {url}: {}", Chain(&error)).into(),
    })
}
