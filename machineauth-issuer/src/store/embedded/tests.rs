//! The file on a disk that fails and counts.

use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use machineauth_core::clock::{ManualClock, SystemClock, Timestamp};
use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};
use tempfile::TempDir;

use super::EmbeddedStore;
use super::file::DatabaseFile;
use crate::store::{Batch, Key, Log, Outcome, Partition, Position, Store as _, StoreError};

/// A disk that can run full, and that counts how often it was synced.
#[derive(Debug, Clone, Default)]
struct Disk {
    full: Arc<AtomicBool>,
    syncs: Arc<AtomicUsize>,
}

impl Disk {
    fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Builder::new().create_with_backend(OnDisk {
            disk: self.clone(),
            file: FileBackend::new(file)?,
        })
    }

    fn store(&self, directory: &TempDir) -> EmbeddedStore {
        let disk = self.clone();
        let path = directory.path().join("store.redb");
        let file = DatabaseFile::open_with(&path, move |path| disk.open(path)).unwrap();
        let clock = ManualClock::new(Timestamp::from_secs(1));
        EmbeddedStore::over(file, Arc::new(clock)).unwrap()
    }

    fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct OnDisk {
    disk: Disk,
    file: FileBackend,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.check()?;
        self.disk.syncs.fetch_add(1, Ordering::SeqCst);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

/// I15
#[tokio::test]
async fn a_full_disk_is_unavailable_and_heals_by_itself() {
    let (disk, directory) = (Disk::default(), TempDir::new().unwrap());
    let store = disk.store(&directory);
    let before = append("before");
    assert_eq!(store.commit(&before).await.unwrap(), Outcome::Committed);

    disk.set_full(true);
    for _ in 0..3 {
        let error = store.commit(&append("lost")).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
    disk.set_full(false);

    // Nobody has to ask for it: reads come back as well.
    let healed = async {
        while store.get(&key()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), healed)
        .await
        .unwrap();
    assert_eq!(
        store.get(&key()).await.unwrap().unwrap().version,
        before.version()
    );
    assert_eq!(
        store.commit(&append("after")).await.unwrap(),
        Outcome::Committed
    );
}

#[tokio::test]
async fn commits_that_wait_share_a_disk_sync() {
    let (disk, directory) = (Disk::default(), TempDir::new().unwrap());
    let store = Arc::new(disk.store(&directory));
    let before = disk.syncs.load(Ordering::SeqCst);
    let commits: Vec<_> = (0..500)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(&append("event")).await.unwrap() })
        })
        .collect();
    for commit in commits {
        assert_eq!(commit.await.unwrap(), Outcome::Committed);
    }
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(
        (1..=50).contains(&syncs),
        "500 commits took {syncs} disk syncs"
    );
}

#[tokio::test]
async fn one_commit_is_one_disk_sync() {
    let (disk, directory) = (Disk::default(), TempDir::new().unwrap());
    let store = disk.store(&directory);
    let _ = store.commit(&append("first")).await.unwrap();
    let before = disk.syncs.load(Ordering::SeqCst);
    let _ = store.commit(&append("second")).await.unwrap();
    assert_eq!(disk.syncs.load(Ordering::SeqCst) - before, 1);
}

#[tokio::test]
async fn a_conflict_does_not_touch_the_disk() {
    let (disk, directory) = (Disk::default(), TempDir::new().unwrap());
    let store = disk.store(&directory);
    let _ = store.commit(&append("first")).await.unwrap();
    let before = disk.syncs.load(Ordering::SeqCst);
    let batch = append("second").absent(&key());
    assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Conflict);
    assert_eq!(disk.syncs.load(Ordering::SeqCst), before);
    let head = store.head(Partition::SYSTEM, Log::Audit).await.unwrap();
    assert_ne!(head, Position::START);
}

fn key() -> Key {
    Partition::SYSTEM.key("row")
}

fn append(entry: &'static str) -> Batch {
    Batch::new(Partition::SYSTEM)
        .put(&key(), Bytes::from_static(entry.as_bytes()))
        .append(Log::Audit, Bytes::from_static(entry.as_bytes()))
}

/// A kill while the file is made (I9).
#[tokio::test]
async fn a_file_whose_making_was_cut_off_is_made_anew_and_another_one_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let open = || EmbeddedStore::open(&path, Arc::new(SystemClock));
    for unfinished in [&[][..], &[0; 5], &[0; 4096]] {
        std::fs::write(&path, unfinished).unwrap();
        let store = open().await.unwrap();
        assert!(matches!(open().await, Err(StoreError::Busy { .. })));
        drop(store);
        let length = std::fs::metadata(&path).unwrap().len();
        drop(open().await.unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    }
    let foreign = [b"\0SQLite".as_slice(), &[0; 4096]].concat();
    std::fs::write(&path, &foreign).unwrap();
    assert!(matches!(open().await, Err(StoreError::File { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), foreign);
}
