//! Ordered keys, versions, and one atomic batch: all that the service asks of its storage.
//!
//! Everything else (unique names, compare-and-set, replay guards, due queues, families of refresh tokens) is a
//! [`Batch`], written once above this port. Three backends keep the same promises, and one conformance suite holds
//! them to it: [`MemoryStore`] for tests, [`EmbeddedStore`] for one process and one file, [`RedisStore`] for many.
//!
//! ```
//! # use std::sync::Arc;
//! # use machineauth_core::clock::SystemClock;
//! # use machineauth_issuer::store::{Batch, DynStore, MemoryStore, Outcome, Partition};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), machineauth_issuer::store::StoreError> {
//! let store: DynStore = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
//! let partition = Partition::of("acme");
//! let key = partition.key("organization").with("acme");
//!
//! let create = Batch::new(partition).absent(&key).put(&key, "Acme".into());
//! assert_eq!(store.commit(&create).await?, Outcome::Committed);
//!
//! let read = store.get(&key).await?.expect("it was just written");
//! let rename = Batch::new(partition).at_version(&key, read.version).put(&key, "Acme Ltd".into());
//! let late = Batch::new(partition).at_version(&key, read.version).put(&key, "Acme Inc".into());
//! assert_eq!(store.commit(&rename).await?, Outcome::Committed);
//! assert_eq!(store.commit(&late).await?, Outcome::Conflict);
//! # Ok(())
//! # }
//! ```

mod batch;
mod changes;
mod embedded;
mod error;
mod key;
mod log;
mod memory;
mod piece;
mod redis;
mod row;
mod table;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use tokio::sync::watch;

pub use batch::{Batch, Outcome, Version};
pub use embedded::EmbeddedStore;
pub use error::{Incompatibility, InvalidAddress, StoreError};
pub use key::{InvalidKeyName, Key, KeyName, KeyPart, PARTITIONS, Partition};
pub use log::{InvalidPosition, Log, LogRead, Position};
pub use memory::MemoryStore;
pub use piece::{Piece, Pieces, Place};
pub use redis::{RedisOptions, RedisStore};
pub use table::{Table, Versioned};

/// A store of any kind, shared.
pub type DynStore = Arc<dyn Store>;

/// How long a row has been dead before [`Store::sweep`] removes it: a process whose clock runs ahead by less than
/// this deletes nothing that is alive for the others.
pub const SWEEP_MARGIN: Duration = Duration::from_secs(60);

/// The newest layout of stored data that this program knows.
const FORMAT: u64 = 1;

/// A live row.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was put.
    pub value: Bytes,
    /// The version of the batch that put it.
    pub version: Version,
}

/// Shows the size, never the value: it may hold hashed secrets and sealed keys.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} bytes, {:?})", self.value.len(), self.version)
    }
}

/// The storage port. Rows are alive while `now < expires_at` by the injected clock, on every backend.
///
/// # Errors
/// Every call can fail with [`StoreError::Unavailable`], and the caller then fails closed. A failed `commit` may or
/// may not have happened: the caller judges again, or commits the same batch again.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The live row at `key`.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// The live rows at `keys`, all of one partition, in their order: one round trip, and one moment.
    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, StoreError>;

    /// Up to `limit` live rows under `prefix`, ordered by the bytes of their paths, after the key `after`.
    ///
    /// Fewer than `limit` means that there are no more.
    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError>;

    /// Up to `limit` live rows under `prefix`, in the reverse of [`Store::scan`]'s order, before the key `before`.
    ///
    /// Fewer than `limit` means that there are no more.
    async fn scan_back(
        &self,
        prefix: &Key,
        before: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError>;

    /// The counters at `keys`, all of one partition, in their order; 0 where nothing was counted.
    async fn counts(&self, keys: &[Key]) -> Result<Vec<i64>, StoreError>;

    /// Judges all checks of `batch`, then does all of it or nothing.
    ///
    /// When a guarded row already carries the batch's version, the batch happened before and the answer is
    /// [`Outcome::Committed`] without a second effect.
    async fn commit(&self, batch: &Batch) -> Result<Outcome, StoreError>;

    /// Up to `limit` entries of a log after a position.
    ///
    /// A position is in the log when its entry is, with the same version, or when it is the log's [`Store::tail`].
    async fn log(
        &self,
        partition: Partition,
        log: Log,
        after: &Position,
        limit: usize,
    ) -> Result<LogRead, StoreError>;

    /// Up to `limit` entries of a log, newest first, from the one numbered `through` downwards; from the newest one where
    /// none is numbered so high.
    ///
    /// Fewer than `limit` means that there are no more: what was trimmed is not among them.
    async fn log_back(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
        limit: usize,
    ) -> Result<Vec<(Position, Bytes)>, StoreError>;

    /// The position of a log's newest entry; what was appended later comes after it.
    async fn head(&self, partition: Partition, log: Log) -> Result<Position, StoreError>;

    /// The position before a log's oldest entry: where a reader of all that is left begins.
    /// [`Position::START`] while nothing was trimmed.
    async fn tail(&self, partition: Partition, log: Log) -> Result<Position, StoreError>;

    /// Moves whenever some log may have grown, in this process or another. A hint: readers poll as well.
    fn changes(&self) -> watch::Receiver<u64>;

    /// As [`Store::changes`], for one log of all partitions: a reader of revocations sleeps through audit events.
    fn changes_in(&self, log: Log) -> watch::Receiver<u64>;

    /// Removes up to `limit` rows that have been dead for longer than [`SWEEP_MARGIN`], with the counters of the
    /// same keys. Returns how many; fewer than `limit` means that no more are due.
    async fn sweep(&self, partition: Partition, limit: usize) -> Result<usize, StoreError>;

    /// Removes the oldest entries of a log, up to and with the one numbered `through`. Returns how many.
    ///
    /// It is said by number what goes, not how many stay: what is appended meanwhile moves nothing.
    async fn trim(&self, partition: Partition, log: Log, through: u64)
    -> Result<usize, StoreError>;

    /// Some pieces of a partition from a place on, about `limit` at most: its rows, dead ones among them, and its counters.
    /// Its logs are read by [`Store::tail`] and [`Store::log`]. Of what changes meanwhile, a part may be missing.
    async fn dump(
        &self,
        partition: Partition,
        from: &Place,
        limit: usize,
    ) -> Result<Pieces, StoreError>;

    /// Puts pieces of a copy, exactly as they were, into a partition that nobody uses: versions, expiry, positions. A
    /// log's tail comes before its entries, and those in order. Doing it twice is the same as doing it once.
    ///
    /// An entry without the one before it is [`StoreError::Corrupt`].
    async fn load(&self, partition: Partition, pieces: &[Piece]) -> Result<(), StoreError>;

    /// Removes all that a partition holds.
    async fn erase(&self, partition: Partition) -> Result<(), StoreError>;

    /// Whether others have the store open as well, as far as it knows.
    async fn is_shared(&self) -> Result<bool, StoreError>;

    /// The time by the store's own clock; also the probe that says whether the store is there.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Ends background work and waits until what was committed is safe. Later calls fail.
    async fn close(&self) -> Result<(), StoreError>;
}
