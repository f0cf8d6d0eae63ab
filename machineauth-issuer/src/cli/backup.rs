//! `machineauth-issuer backup` and `restore`: an exact copy of the store in one file, and back.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use machineauth_core::clock::{Clock, SystemClock};

use super::destination::Destination;
use super::offline::{self, WhenMissing};
use super::store;
use crate::app::App;
use crate::backup;
use crate::config::{Config, ServerKeySource};
use crate::domain::vault::Vault;
use crate::telemetry::Chain;

/// How a backup is restored.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Deletes what is in the store.
    pub(super) replace: bool,
    /// Lets what was issued before go on being good.
    pub(super) keep_tokens: bool,
}

/// Copies the store into `file`, or to standard output where that is `-`.
///
/// # Errors
/// When there is no copy, and then there is no file either.
pub(super) async fn backup(file: &Path) -> Result<(), Box<dyn Error>> {
    let config = Config::from_environment()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = offline::open_store(&config, Arc::clone(&clock), WhenMissing::Refuse).await?;
    if !Vault::exists_in(&*store).await? {
        return Err(format!(
            "the store {} was never used: there is nothing to copy",
            config.store
        )
        .into());
    }
    if store.is_shared().await? {
        eprintln!(
            "warning: others use the store at this moment; of what they change meanwhile, a part may be missing"
        );
    }
    let mut out = Destination::of(Some(file))?;
    let name = out.to_string();
    let copied = backup::backup(&*store, clock.now(), &mut out).await;
    store.close().await?;
    let pieces = copied.map_err(|error| format!("{name}: {}", Chain(&error)))?;
    out.finish()?;
    let key = match &config.server_key {
        ServerKeySource::Given(_) => "SERVER_KEY".to_owned(),
        ServerKeySource::Generated(path) => path.display().to_string(),
    };
    eprintln!(
        "{pieces} records are in {name}. The server key is not: without it nothing can be restored. Keep a copy of {key} in \
         another place"
    );
    Ok(())
}

/// Puts the copy in `file` into the store.
///
/// # Errors
/// When nothing was restored, or not everything; the store then says so until another restore.
pub(super) async fn restore(file: &Path, how: How) -> Result<(), Box<dyn Error>> {
    let config = Config::from_environment()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let server_key = store::existing_server_key(&config.server_key)?;
    let in_file = |error: &dyn Error| format!("{}: {}", file.display(), Chain(error));
    let open = || {
        File::open(file)
            .map(BufReader::new)
            .map_err(|error| in_file(&error))
    };
    let keys = [Some(&server_key), config.previous_server_key.as_ref()];
    let header =
        backup::check(open()?, &keys.into_iter().flatten()).map_err(|error| in_file(&error))?;
    let store = offline::open_store(&config, Arc::clone(&clock), WhenMissing::Create).await?;
    if store.is_shared().await? {
        return Err(format!(
            "others use the store {}: stop all servers on it, run this again, then start them",
            config.store
        )
        .into());
    }
    if !how.replace {
        backup::check_empty(&*store).await?;
    }
    let pieces = backup::load(&*store, open()?, clock.now())
        .await
        .map_err(|error| in_file(&error))?;
    let config = Config {
        tls: None,
        ..config
    };
    let app = App::on_restored(config, &server_key, clock, store).await?;
    let ended = match how.keep_tokens {
        true => None,
        false => Some(backup::end_everything_issued(&app).await?),
    };
    backup::finish(&app, &header, how.keep_tokens).await?;
    app.store.close().await?;
    eprintln!("{pieces} records were restored.");
    match ended {
        Some((agents, keys)) => eprintln!(
            "Everything issued before has ended: {keys} signing keys were revoked and replaced, the tokens of {agents} \
             agents and the sessions of administrators are refused. Secrets and API keys work as they did."
        ),
        None => eprintln!(
            "Tokens that were issued before are good, also those that were revoked after the backup was made."
        ),
    }
    Ok(())
}
