//! Opening the configured store, and the key that goes with it.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use machineauth_core::clock::Clock;

use crate::config::{Config, ServerKeySource, StoreUrl};
use crate::domain::vault::{ServerKey, Vault};
use crate::store::{DynStore, EmbeddedStore, RedisStore, Store, StoreError};
use crate::telemetry::Chain;

/// Opens the configured store.
///
/// # Errors
/// Says which store cannot be opened, and why.
pub(super) async fn open(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<DynStore, Box<dyn Error>> {
    let url = &config.store;
    connect(config, clock)
        .await
        .map_err(|error| format!("cannot open the store {url}: {}", Chain(&error)).into())
}

/// As [`open`], with the store's own error.
///
/// # Errors
/// Why the store cannot be opened.
pub(super) async fn connect(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<DynStore, StoreError> {
    Ok(match &config.store {
        StoreUrl::Embedded(path) => Arc::new(EmbeddedStore::open(path, clock).await?),
        StoreUrl::Redis(url) => {
            Arc::new(RedisStore::connect_with(url, &config.redis, clock).await?)
        }
    })
}

/// The key that the store depends on, made beside a new embedded store.
///
/// # Errors
/// When it cannot be read or made.
pub(super) async fn server_key(
    source: &ServerKeySource,
    store: &dyn Store,
) -> Result<ServerKey, Box<dyn Error>> {
    let path = match source {
        ServerKeySource::Given(key) => return Ok(key.clone()),
        ServerKeySource::Generated(path) => path,
    };
    let in_file = |error: &dyn Error| format!("the server key file {}: {error}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(ServerKey::parse(&text).map_err(|error| in_file(&error))?),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(in_file(&error).into()),
        Err(_) if Vault::exists_in(store).await? => Err(format!(
            "the server key file {} is missing, and nothing secret in the store can be read without it: put it back, \
             or set SERVER_KEY",
            path.display()
        )
        .into()),
        Err(_) => Ok(generate_server_key(path).map_err(|error| in_file(&error))?),
    }
}

/// The key that a copy of another store depends on. None is made.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(super) fn existing_server_key(source: &ServerKeySource) -> Result<ServerKey, Box<dyn Error>> {
    let path = match source {
        ServerKeySource::Given(key) => return Ok(key.clone()),
        ServerKeySource::Generated(path) => path,
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "the server key of the store that the backup was made of is needed, in SERVER_KEY, SERVER_KEY_FILE or {}: \
             {error}",
            path.display()
        )
    })?;
    let key = ServerKey::parse(&text);
    Ok(key.map_err(|error| format!("the server key file {}: {error}", path.display()))?)
}

/// Makes the key file beside a new store. Since the store is open, no other process is doing the same.
///
/// The file gets its name only when it is whole and on the disk, and the name is on the disk before anything in the
/// store depends on the key: no crash leaves a store without its key, or half a key.
fn generate_server_key(path: &Path) -> io::Result<ServerKey> {
    let key = ServerKey::generate();
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(key.to_text().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(key)
}
