//! Verifying the trail: whether every entry is as it was sealed, and none is missing.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::check::Check;
use super::cursor::partitions;
use super::report::Report;
use super::seal::Seal;
use crate::domain::sealing::{SealingError, SealingKey};
use crate::domain::vault::Vault;
use crate::store::{Store, StoreError};

/// Partitions verified at the same time.
const CONCURRENT: usize = 8;

/// Why the trail could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The keys cannot be read.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The program has a fault.
    #[error("the verification panicked; report this with what was logged before")]
    Panicked,
}

impl VerifyError {
    /// Whether trying again will help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Store(error) | Self::Sealing(SealingError::Store(error)) => {
                error.is_unavailable()
            }
            Self::Sealing(_) | Self::Panicked => false,
        }
    }
}

/// How far a verification is. Others may look while it goes on.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// How many entries it has verified.
    pub fn entries(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, entries: u64) {
        self.0.fetch_add(entries, Ordering::Relaxed);
    }
}

/// Verifies the trail in `store`, and that it goes on from the seals that were `exported`.
///
/// # Errors
/// When the store or the keys cannot be read.
pub async fn verify(
    store: &dyn Store,
    vault: &Vault,
    exported: &[Seal],
    progress: &Progress,
) -> Result<Report, VerifyError> {
    let keys = SealingKey::all_public(store, vault).await?;
    let verifications = partitions().map(|partition| {
        let check = Check::of(store, partition, &keys, progress);
        check.run(exported)
    });
    let reports = stream::iter(verifications).buffered(CONCURRENT);
    let reports: Vec<_> = reports.try_collect().await?;
    Ok(Report::of_all(reports))
}
