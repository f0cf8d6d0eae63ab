//! From a file back into a store.

use std::io::Read;

use machineauth_core::clock::Timestamp;

use super::file::{Header, NotABackup, Reader};
use super::{PAGE, UNFINISHED, Unfinished, unfinished_key};
use crate::app::{App, StartError};
use crate::domain::administrators;
use crate::domain::event::{self, Action, By, Fact};
use crate::domain::keys::KeyError;
use crate::domain::vault::{ServerKey, Vault};
use crate::store::{Batch, Log, Outcome, Partition, Piece, Place, Position, Store, StoreError};

/// Pieces that are put back at once weigh no more, in bytes.
const WEIGHT: usize = 1 << 20;

/// Why nothing was restored, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is none that can be restored. Nothing was written.
    #[error(transparent)]
    File(#[from] NotABackup),
    /// The server key is not the one that the copied store was opened with. Nothing was written.
    #[error(
        "the server key is not the one that this backup depends on: set SERVER_KEY or SERVER_KEY_FILE to the key of the \
         store that it was made of"
    )]
    WrongServerKey,
    /// The file holds no key that anything could be opened with. Nothing was written.
    #[error("it is a backup of a store that was never used: there is nothing to restore")]
    Empty,
    /// There is something in the store. Nothing was written.
    #[error("the store is not empty: --replace deletes what is in it, for good")]
    NotEmpty,
    /// The restored keys cannot be replaced.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The restored store does not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks the whole file: that it is what was written, and that one of the server keys belongs to it.
///
/// # Errors
/// [`RestoreError::File`], [`RestoreError::WrongServerKey`], [`RestoreError::Empty`]
pub fn check<'a>(
    file: impl Read,
    server_keys: &(impl Iterator<Item = &'a ServerKey> + Clone),
) -> Result<Header, RestoreError> {
    let mut reader = Reader::open(file)?;
    let mut fits = None;
    while let Some((partition, piece)) = reader.next()? {
        let Piece::Row { path, value, .. } = piece else {
            continue;
        };
        let opened = |key| Vault::opens(partition, &path, &value, key);
        for opened in server_keys.clone().filter_map(opened) {
            fits = Some(fits == Some(true) || opened?);
        }
    }
    match fits {
        Some(true) => Ok(reader.header().clone()),
        Some(false) => Err(RestoreError::WrongServerKey),
        None => Err(RestoreError::Empty),
    }
}

/// Refuses a store in which something is, unless that is half of an earlier restore.
///
/// # Errors
/// [`RestoreError::NotEmpty`]
pub async fn check_empty(store: &dyn Store) -> Result<(), RestoreError> {
    if super::check_finished(store).await?.is_err() {
        return Ok(());
    }
    for partition in [Partition::SYSTEM].into_iter().chain(Partition::data()) {
        let (pieces, next) = store.dump(partition, &Place::START, 1).await?;
        let has_counters = match next {
            Some(place) if pieces.is_empty() => {
                !store.dump(partition, &place, 1).await?.0.is_empty()
            }
            _ => false,
        };
        let mut has_logs = false;
        for log in Log::ALL {
            has_logs |= store.head(partition, log).await? != Position::START;
        }
        if !pieces.is_empty() || has_counters || has_logs {
            return Err(RestoreError::NotEmpty);
        }
    }
    Ok(())
}

/// Puts everything in `file`, which was checked, into `store`, from which all else is deleted. Until
/// [`finish`] the store says that it is not whole.
///
/// # Errors
/// [`RestoreError`]
pub async fn load(
    store: &dyn Store,
    file: impl Read + Send,
    now: Timestamp,
) -> Result<u64, RestoreError> {
    mark(store, now).await?;
    // The system's partition goes last, and the mark with it: whatever is left then is a whole, empty store.
    for partition in Partition::data().chain([Partition::SYSTEM]) {
        store.erase(partition).await?;
    }
    mark(store, now).await?;
    let mut reader = Reader::open(file)?;
    let mut batch = Vec::new();
    let mut weight = 0;
    let mut of = Partition::SYSTEM;
    let mut pieces = 0;
    while let Some((partition, piece)) = reader.next()? {
        if partition != of || batch.len() == PAGE || weight > WEIGHT {
            store.load(of, &batch).await?;
            batch.clear();
            weight = 0;
        }
        of = partition;
        weight += piece.weight();
        batch.push(piece);
        pieces += 1;
    }
    store.load(of, &batch).await?;
    Ok(pieces)
}

/// Revokes everything that was issued before now: no token that anybody holds is good afterwards. Secrets and API keys are.
///
/// # Errors
/// [`RestoreError`]
pub async fn end_everything_issued(app: &App) -> Result<(usize, usize), RestoreError> {
    administrators::end_all_sessions(&*app.store).await?;
    let keys = app.keys.replace_all(&By::SYSTEM).await?;
    let agents = app.agents.end_all_tokens().await?;
    Ok((agents, keys))
}

/// Says that the store is whole, and what happened to it.
///
/// # Errors
/// The store's failure.
pub async fn finish(app: &App, header: &Header, keeps_tokens: bool) -> Result<(), StoreError> {
    let fact = Fact::new(Action::StoreRestored)
        .with("made_at", header.made_at.as_secs())
        .with("tokens_kept", keeps_tokens);
    let batch = Batch::new(Partition::SYSTEM).delete(&unfinished_key());
    let batch = event::record(batch, fact, &By::CLI, app.clock.now());
    match app.store.commit(&batch).await? {
        Outcome::Committed | Outcome::Conflict => Ok(()),
    }
}

async fn mark(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    let mark = UNFINISHED.encode(&Unfinished { since: now });
    let batch = Batch::new(Partition::SYSTEM).put(&unfinished_key(), mark);
    match store.commit(&batch).await? {
        Outcome::Committed | Outcome::Conflict => Ok(()),
    }
}
