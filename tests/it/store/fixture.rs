//! A store to test, whatever its kind, and the clock that it goes by.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use machineauth_core::clock::{Clock, ManualClock, Timestamp};
use machineauth_issuer::store::{
    Batch, DynStore, EmbeddedStore, Key, KeyName, Log, LogRead, MemoryStore, Outcome, Partition,
    Position, RedisStore, StoreError,
};
use machineauth_tests::redis_server::RedisServer;
use tempfile::TempDir;

/// A store, its clock, and what must live as long as it.
pub(super) struct Fixture {
    pub(super) store: DynStore,
    pub(super) clock: ManualClock,
    _guard: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

pub(super) async fn memory() -> Fixture {
    let clock = clock();
    Fixture {
        store: Arc::new(MemoryStore::new(Arc::new(clock.clone()))),
        clock,
        _guard: Box::new(()),
    }
}

pub(super) async fn embedded() -> Fixture {
    let clock = clock();
    let directory = TempDir::new().expect("a temporary directory can be made");
    let path = directory.path().join("store.redb");
    let store = EmbeddedStore::open(&path, Arc::new(clock.clone()))
        .await
        .expect("a new file opens");
    Fixture {
        store: Arc::new(store),
        clock,
        _guard: Box::new(directory),
    }
}

pub(super) async fn redis() -> Fixture {
    on(RedisServer::start().await).await
}

pub(super) async fn valkey() -> Fixture {
    on(RedisServer::start_valkey().await).await
}

async fn on(server: RedisServer) -> Fixture {
    let clock = clock();
    let store = connect(&server, &clock).await;
    Fixture {
        store,
        clock,
        _guard: Box::new(server),
    }
}

pub(super) async fn connect(server: &RedisServer, clock: &ManualClock) -> DynStore {
    let store = RedisStore::connect(&server.url(), Arc::new(clock.clone())).await;
    Arc::new(store.expect("a running server is reachable"))
}

pub(super) fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(1_700_000_000))
}

impl Fixture {
    /// The time after `duration`.
    pub(super) fn after(&self, duration: Duration) -> Timestamp {
        self.clock.now().saturating_add(duration)
    }

    pub(super) async fn value(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.store.get(key).await?.map(|entry| entry.value))
    }

    pub(super) async fn count(&self, key: &Key) -> Result<i64, StoreError> {
        let counts = self.store.counts(std::slice::from_ref(key)).await?;
        Ok(counts[0])
    }

    /// Commits what must not conflict.
    pub(super) async fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        assert_eq!(self.store.commit(batch).await?, Outcome::Committed);
        Ok(())
    }

    /// Puts rows and gives back nothing: the values are the paths.
    pub(super) async fn put_all(&self, keys: &[Key]) -> Result<(), StoreError> {
        for group in keys.chunks(100) {
            let batch = group.iter().fold(Batch::new(partition()), |batch, key| {
                batch.put(key, Bytes::copy_from_slice(key.path().as_bytes()))
            });
            self.commit(&batch).await?;
        }
        Ok(())
    }

    pub(super) async fn paths(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let rows = self.store.scan(prefix, after, limit).await?;
        Ok(rows.iter().map(|(key, _)| key.path().to_owned()).collect())
    }

    /// The entries of the audit log after a position, which must be in it.
    pub(super) async fn entries(
        &self,
        after: &Position,
    ) -> Result<Vec<(Position, Bytes)>, StoreError> {
        match self
            .store
            .log(partition(), Log::Audit, after, usize::MAX)
            .await?
        {
            LogRead::Entries(entries) => Ok(entries),
            LogRead::Lost => panic!("{after} is not in the log"),
        }
    }

    /// Appends entries to the audit log, one batch each.
    pub(super) async fn append_all(&self, entries: &[&'static str]) -> Result<(), StoreError> {
        for entry in entries {
            self.commit(&append(entry)).await?;
        }
        Ok(())
    }
}

/// The partition that most tests use.
pub(super) fn partition() -> Partition {
    Partition::of("acme")
}

pub(super) fn key(name: &str) -> Key {
    partition().key("test").with(self::name(name))
}

pub(super) fn name(name: &str) -> KeyName {
    KeyName::try_from(name).expect("the test chose a fit name")
}

pub(super) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) fn append(entry: &'static str) -> Batch {
    Batch::new(partition()).append(Log::Audit, bytes(entry))
}
