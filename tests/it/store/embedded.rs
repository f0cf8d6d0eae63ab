//! The suite on the embedded store, and what only a file can suffer.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use machineauth_issuer::store::{
    Batch, DynStore, EmbeddedStore, Incompatibility, Log, LogRead, PARTITIONS, Position, StoreError,
};
use machineauth_tests::store_writer::Ledger;
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::fixture::{bytes, clock, key, partition};

super::conformance::suite!(super::super::fixture::embedded);

const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// I18
#[tokio::test]
async fn every_acknowledged_write_survives_kill_9() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let mut acknowledged = HashSet::new();
    for round in 0..6_u64 {
        let mut writer = start_writer(&path, round);
        let output = BufReader::new(writer.stdout.take().unwrap());
        let killer = tokio::spawn(async move {
            // Not at a special moment: the rounds end in different places of a commit.
            tokio::time::sleep(Duration::from_millis(150 + 37 * round)).await;
            writer.kill().unwrap();
            writer.wait().unwrap();
        });
        let lines = tokio::task::spawn_blocking(move || whole_lines(output))
            .await
            .unwrap();
        killer.await.unwrap();
        assert!(!lines.is_empty(), "the writer was killed under load");
        acknowledged.extend(lines);

        let store = open(&path).await;
        let ledger = Ledger::read(&*store).await.unwrap();
        let lost: Vec<_> = acknowledged.difference(&ledger.rows).collect();
        assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
        assert!(ledger.is_consistent(), "half a batch: {ledger:?}");
    }
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let mut writer = start_writer(&path, 0);
    let mut first = [0; 1];
    writer
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    let refused = EmbeddedStore::open(&path, Arc::new(clock())).await;
    writer.kill().unwrap();
    writer.wait().unwrap();
    let error = refused.unwrap_err();
    assert!(matches!(&error, StoreError::Busy { path: busy } if *busy == path));
    assert!(error.to_string().contains("another process"), "{error}");
    // The lock dies with its process.
    open(&path).await;
}

/// I5
#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(open(&path).await);
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&path).await);
    assert_eq!(mode(), 0o600, "a file that was copied carelessly");
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let batch = Batch::new(partition())
        .put(&key("row"), bytes("value"))
        .add(&key("row"), 3)
        .append(Log::Audit, bytes("event"));
    let store = open(&path).await;
    let _ = store.commit(&batch).await.unwrap();
    let head = store.head(partition(), Log::Audit).await.unwrap();
    store.close().await.unwrap();

    let store = open(&path).await;
    let entry = store.get(&key("row")).await.unwrap().unwrap();
    assert_eq!(entry.value, "value");
    assert_eq!(entry.version, batch.version());
    assert_eq!(store.counts(&[key("row")]).await.unwrap(), [3]);
    assert_eq!(store.head(partition(), Log::Audit).await.unwrap(), head);
    let read = store
        .log(partition(), Log::Audit, &Position::START, 9)
        .await;
    assert_eq!(
        read.unwrap(),
        LogRead::Entries(vec![(head, bytes("event"))])
    );
}

#[tokio::test]
async fn a_file_with_another_number_of_partitions_is_refused() {
    let (_directory, error) = open_after_writing("partitions", 16).await;
    let StoreError::Incompatible { why } = &error else {
        panic!("{error}");
    };
    assert_eq!(*why, Incompatibility::Partitions { found: 16 });
    assert!(
        error
            .to_string()
            .contains(&format!("16 partitions and this program uses {PARTITIONS}"))
    );
}

#[tokio::test]
async fn a_file_of_a_newer_format_is_refused() {
    let (_directory, error) = open_after_writing("format", 99).await;
    let text = error.to_string();
    assert!(matches!(
        error,
        StoreError::Incompatible {
            why: Incompatibility::Format { found: 99, .. }
        }
    ));
    assert!(text.contains("run the version that wrote it"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes.txt");
    let content = "not a store, but somebody's notes\n".repeat(500);
    std::fs::write(&path, &content).unwrap();
    let error = EmbeddedStore::open(&path, Arc::new(clock()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::File { path: file, .. } if *file == path),
        "{error:?}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let path = Path::new("/nonexistent/store.redb");
    let error = EmbeddedStore::open(path, Arc::new(clock()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("/nonexistent/store.redb"),
        "{error}"
    );
}

async fn open(path: &Path) -> DynStore {
    Arc::new(EmbeddedStore::open(path, Arc::new(clock())).await.unwrap())
}

/// Opens a store whose record of itself was changed.
async fn open_after_writing(name: &str, value: u64) -> (TempDir, StoreError) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    drop(open(&path).await);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(ABOUT)
        .unwrap()
        .insert(name, value)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = EmbeddedStore::open(&path, Arc::new(clock())).await;
    (directory, refused.unwrap_err())
}

fn start_writer(path: &Path, round: u64) -> Child {
    Command::new(env!("CARGO_BIN_EXE_store-writer"))
        .arg(path)
        .arg(round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The lines up to the last line break: what comes after it was cut off by the kill.
fn whole_lines(mut output: impl BufRead) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    while output.read_line(&mut line).unwrap_or(0) > 0 {
        if line.ends_with('\n') {
            lines.push(line.trim_end().to_owned());
        }
        line.clear();
    }
    lines
}
