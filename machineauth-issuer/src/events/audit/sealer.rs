//! The sealer: of all issuers on a store, one signs what was appended to the audit logs, at most a second later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use machineauth_core::clock::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::cursor::partitions;
use super::seal::{MAX_SEGMENT, Seal, seal_key, seals};
use super::segment::Segment;
use crate::domain::lease::Lease;
use crate::domain::sealing::{SealingError, SealingKey};
use crate::domain::vault::Vault;
use crate::store::{
    Batch, DynStore, Log, LogRead, Outcome, Partition, Position, StoreError, Table,
};
use crate::telemetry::Chain;

/// How far each partition's log is sealed.
const SEALED: Table<Sealed> = Table::new("sealed", 1);
/// How often it is looked for new entries when nothing tells of them.
const POLL: Duration = Duration::from_secs(1);
/// How long entries are gathered into one seal.
const GATHER: Duration = Duration::from_millis(250);
/// How often it is tried to become the one that seals.
const APPLY: Duration = Duration::from_secs(2);

/// How far a log is sealed.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// The position of the last sealed entry.
    last: String,
    /// What the next seal says of the last one.
    chained: String,
}

/// Seals the audit logs of a store.
#[derive(Debug)]
pub struct Sealer {
    store: DynStore,
    clock: Arc<dyn Clock>,
    key: SealingKey,
    lease: Lease,
    /// When everything was known to be sealed last, or when this began to seal, in Unix milliseconds; 0 while another issuer
    /// seals.
    complete_at: AtomicU64,
}

impl Sealer {
    /// A sealer with the store's key, made where there is none.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub async fn open(
        store: DynStore,
        vault: &Vault,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SealingError> {
        Ok(Self {
            key: SealingKey::open(&*store, vault, clock.now()).await?,
            lease: Lease::new(Arc::clone(&store), Arc::clone(&clock), "sealer"),
            store,
            clock,
            complete_at: AtomicU64::new(0),
        })
    }

    /// The key that seals.
    pub fn key(&self) -> &SealingKey {
        &self.key
    }

    /// How long ago everything was sealed, as far as this process does it.
    pub fn lag(&self) -> Duration {
        match self.complete_at.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            at => self.clock.now().duration_since(Timestamp::from_millis(at)),
        }
    }

    /// Seals what is appended, forever, while this process has the lease.
    pub async fn run(&self) {
        let mut changes = self.store.changes_in(Log::Audit);
        loop {
            match self.lease.hold().await {
                Ok(true) => {
                    self.begin();
                    if let Err(error) = self.seal_all().await {
                        tracing::warn!(error = %Chain(&error), "the audit trail cannot be sealed; it is tried again");
                        sleep(POLL).await;
                    }
                }
                Ok(false) => {
                    self.complete_at.store(0, Ordering::Relaxed);
                    sleep(APPLY).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "the lease of the sealer cannot be read");
                    sleep(POLL).await;
                    continue;
                }
            }
            // Whether something changed or the time is over: it is looked.
            let _ = timeout(POLL - GATHER, changes.changed()).await;
            sleep(GATHER).await;
        }
    }

    /// From now on it is this process that may lag behind, though it has sealed nothing yet.
    fn begin(&self) {
        let now = self.clock.now().as_millis();
        // Whoever has begun already stays where it is.
        let _ = self
            .complete_at
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Lets another issuer seal.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn release(&self) -> Result<(), StoreError> {
        self.lease.release().await
    }

    /// Seals everything that was appended until now.
    ///
    /// # Errors
    /// The store's failure, or that of signing.
    pub async fn seal_all(&self) -> Result<(), SealingError> {
        let begun = self.clock.now();
        let sealed = join_all(partitions().map(|partition| self.seal(partition))).await;
        sealed.into_iter().collect::<Result<(), _>>()?;
        self.complete_at.store(begun.as_millis(), Ordering::Relaxed);
        Ok(())
    }

    async fn seal(&self, partition: Partition) -> Result<(), SealingError> {
        loop {
            let row = SEALED.key(partition).with("head");
            let sealed = SEALED.get(&*self.store, &row).await?;
            let (batch, after, previous) = match &sealed {
                None => {
                    let tail = self.store.tail(partition, Log::Audit).await?;
                    (Batch::new(partition).absent(&row), tail, String::new())
                }
                Some(sealed) => {
                    let batch = Batch::new(partition).at_version(&row, sealed.version);
                    let Some(after) = self.resumed(partition, &sealed.value).await? else {
                        return Ok(());
                    };
                    (batch, after, sealed.value.chained.clone())
                }
            };
            let read = self
                .store
                .log(partition, Log::Audit, &after, MAX_SEGMENT)
                .await?;
            let LogRead::Entries(entries) = read else {
                // Trimmed or changed at this moment: the next look sees it as it is.
                return Ok(());
            };
            let Some((last, _)) = entries.last() else {
                return Ok(());
            };
            let seal = Seal::over(partition, &entries, previous, self.clock.now(), &self.key)?;
            let sealed = Sealed {
                last: last.to_string(),
                chained: seal.chained(),
            };
            let batch = batch
                .put(&row, SEALED.encode(&sealed))
                .put(&seal_key(partition, seal.first), seals().encode(&seal));
            let batch = match Segment::of(&entries) {
                Some(segment) => {
                    batch.put(&Segment::key(partition, segment.first), segment.encode())
                }
                None => batch,
            };
            match self.store.commit(&batch).await? {
                Outcome::Committed if entries.len() < MAX_SEGMENT => return Ok(()),
                // A conflict means that another issuer sealed: it is looked how far.
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
    }

    /// Where the log goes on after what is sealed. `None` when it ends before that, which is for verification to tell.
    async fn resumed(
        &self,
        partition: Partition,
        sealed: &Sealed,
    ) -> Result<Option<Position>, StoreError> {
        let corrupt = StoreError::Corrupt {
            what: "how far an audit log is sealed",
        };
        let last: Position = sealed.last.parse().map_err(|_| corrupt)?;
        let log = Log::Audit;
        if self.store.log(partition, log, &last, 0).await? != LogRead::Lost {
            return Ok(Some(last));
        }
        tracing::error!(%partition, sequence = last.sequence(), "an audit log is not as it was when it was sealed: verify it");
        let there = self
            .store
            .log_back(partition, log, last.sequence(), 1)
            .await?;
        let there = there.first().map(|(position, _)| *position);
        Ok(there.filter(|position| position.sequence() == last.sequence()))
    }
}
