//! An exact copy of a store in one file, and back.
//!
//! The copy is the same whatever the backend, so it also moves a store from one to the other. It holds what the store
//! holds, and is as useless as the store to whoever lacks the server key, which is not in it.
//!
//! A restore revokes everything that was issued before it: what was revoked after the copy was made, nobody knows any
//! more, so no token from before can be trusted (I24).

mod file;
mod restore;

use std::io::Write;

use machineauth_core::clock::Timestamp;

use file::Writer;
pub use file::{Header, NotABackup};
pub use restore::{RestoreError, check, check_empty, end_everything_issued, finish, load};
use serde::{Deserialize, Serialize};

use crate::store::{Key, Log, LogRead, Partition, Piece, Place, Store, StoreError, Table};

/// Says that a restore into this store has begun and not ended.
const UNFINISHED: Table<Unfinished> = Table::new("unfinished_restore", 1);
/// How many pieces are read or written at once.
const PAGE: usize = 500;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Unfinished {
    since: Timestamp,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store is half of another copy.
    #[error(transparent)]
    Unfinished(#[from] UnfinishedRestore),
    /// A log was trimmed while it was read.
    #[error("the store changed while it was copied; try again, or stop the servers first")]
    Changed,
    /// The file cannot be written.
    #[error("it cannot be written")]
    Write(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A restore into this store was interrupted, and nobody knows what is missing.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "a restore into this store was interrupted, and it is not whole: run `restore` again, which begins anew"
)]
pub struct UnfinishedRestore;

/// Refuses a store into which a restore was not finished.
///
/// # Errors
/// [`UnfinishedRestore`] inside, the store's failure outside.
pub async fn check_finished(
    store: &dyn Store,
) -> Result<Result<(), UnfinishedRestore>, StoreError> {
    Ok(match store.get(&unfinished_key()).await? {
        Some(_) => Err(UnfinishedRestore),
        None => Ok(()),
    })
}

/// Copies all of `store` to `out`, a page at a time, and says how many pieces that were.
///
/// # Errors
/// [`BackupError`]; what was written until then is no backup.
pub async fn backup(
    store: &dyn Store,
    made_at: Timestamp,
    out: impl Write + Send,
) -> Result<u64, BackupError> {
    check_finished(store).await??;
    let mut writer = Writer::begin(out, &Header::new(made_at))?;
    // The system's partition comes first: it holds what says whether the server key fits.
    for partition in [Partition::SYSTEM].into_iter().chain(Partition::data()) {
        copy_rows(store, partition, &mut writer).await?;
        for log in Log::ALL {
            copy_log(store, partition, log, &mut writer).await?;
        }
    }
    Ok(writer.end()?)
}

async fn copy_rows(
    store: &dyn Store,
    partition: Partition,
    writer: &mut Writer<impl Write + Send>,
) -> Result<(), BackupError> {
    let mut from = Some(Place::START);
    while let Some(place) = from {
        let (pieces, next) = store.dump(partition, &place, PAGE).await?;
        for piece in &pieces {
            writer.piece(partition, piece)?;
        }
        from = next;
    }
    Ok(())
}

async fn copy_log(
    store: &dyn Store,
    partition: Partition,
    log: Log,
    writer: &mut Writer<impl Write + Send>,
) -> Result<(), BackupError> {
    let mut position = store.tail(partition, log).await?;
    writer.piece(partition, &Piece::Tail { log, position })?;
    loop {
        let LogRead::Entries(entries) = store.log(partition, log, &position, PAGE).await? else {
            return Err(BackupError::Changed);
        };
        let Some((last, _)) = entries.last() else {
            return Ok(());
        };
        position = *last;
        for (position, entry) in entries {
            let piece = Piece::Entry {
                log,
                position,
                entry,
            };
            writer.piece(partition, &piece)?;
        }
    }
}

fn unfinished_key() -> Key {
    UNFINISHED.key(Partition::SYSTEM).with("since")
}
