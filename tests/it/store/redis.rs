//! The suite on Redis, and what only a server over a network can suffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use machineauth_issuer::store::{
    Batch, Incompatibility, InvalidAddress, Log, LogRead, Outcome, PARTITIONS, Position,
    RedisOptions, RedisStore, Store as _, StoreError,
};
use machineauth_tests::fault_proxy::FaultProxy;
use machineauth_tests::redis_server::{Persistence, RedisServer, TlsFiles};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::fixture::{append, bytes, clock, connect, key, partition};

super::conformance::suite!(super::super::fixture::redis);

/// How long a call may take when Redis does not answer: two seconds, and some for a busy machine.
const PROMPT: Duration = Duration::from_millis(2_800);

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_sent_again_and_happens_once() {
    let (_server, proxy, store) = through_proxy().await;
    let (row, counter) = (key("row"), key("counter"));
    let batch = Batch::new(partition())
        .absent(&row)
        .put(&row, bytes("value"))
        .add(&counter, 1)
        .append(Log::Audit, bytes("event"));
    proxy.swallow_the_answer_to(b"EVALSHA");
    assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
    assert!(proxy.has_swallowed());
    assert_eq!(store.counts(&[counter]).await.unwrap(), [1]);
    let log = store
        .log(partition(), Log::Audit, &Position::START, 9)
        .await;
    assert!(matches!(log.unwrap(), LogRead::Entries(entries) if entries.len() == 1));
}

#[tokio::test]
async fn a_commit_that_cannot_be_recognised_is_never_sent_again() {
    let (_server, proxy, store) = through_proxy().await;
    let (row, counter) = (key("row"), key("counter"));
    let put = Batch::new(partition()).put(&row, bytes("value"));
    let _ = store.commit(&put).await.unwrap();
    // As a token is issued: it guards records that it does not write.
    let issue = Batch::new(partition())
        .at_version(&row, put.version())
        .add(&counter, 1)
        .append(Log::Audit, bytes("issued"));
    proxy.swallow_the_answer_to(b"EVALSHA");
    let error = store.commit(&issue).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(proxy.has_swallowed());
    assert_eq!(
        store.counts(&[counter]).await.unwrap(),
        [1],
        "it reached the server once"
    );
}

#[tokio::test]
async fn a_connection_that_broke_while_idle_costs_nothing() {
    let (_server, proxy, store) = through_proxy().await;
    for _ in 0..5 {
        proxy.cut();
        sleep(Duration::from_millis(30)).await;
        let outcome = store.commit(&append("event")).await;
        assert_eq!(outcome.unwrap(), Outcome::Committed);
    }
    let head = store.head(partition(), Log::Audit).await.unwrap();
    assert_eq!(head.sequence(), 5);
}

/// I15
#[tokio::test]
async fn a_killed_redis_is_unavailable_until_it_is_back() {
    let mut server = RedisServer::start_with(Persistence::Always).await;
    let store = connect(&server, &clock()).await;
    let batch = Batch::new(partition()).put(&key("row"), bytes("value"));
    let _ = store.commit(&batch).await.unwrap();

    server.kill();
    for _ in 0..3 {
        let started = Instant::now();
        assert!(store.get(&key("row")).await.unwrap_err().is_unavailable());
        assert!(
            store
                .commit(&append("event"))
                .await
                .unwrap_err()
                .is_unavailable()
        );
        assert!(store.now().await.unwrap_err().is_unavailable());
        assert!(
            started.elapsed() < PROMPT,
            "a refused connection is told at once"
        );
    }

    server.start_again().await;
    sleep(Duration::from_millis(100)).await;
    let entry = store.get(&key("row")).await.unwrap().unwrap();
    assert_eq!(entry.version, batch.version());
    assert_eq!(
        store.commit(&append("event")).await.unwrap(),
        Outcome::Committed
    );
}

/// I24
#[tokio::test]
async fn nothing_matches_by_accident_after_a_restore_from_a_backup() {
    let mut server = RedisServer::start_with(Persistence::Always).await;
    let store = connect(&server, &clock()).await;
    let row = key("row");
    let old = Batch::new(partition())
        .put(&row, bytes("old"))
        .append(Log::Audit, bytes("old"));
    let _ = store.commit(&old).await.unwrap();
    server.kill();
    let backup = server.snapshot();
    server.start_again().await;
    sleep(Duration::from_millis(100)).await;

    let new = Batch::new(partition())
        .at_version(&row, old.version())
        .put(&row, bytes("new"))
        .append(Log::Audit, bytes("new"));
    assert_eq!(store.commit(&new).await.unwrap(), Outcome::Committed);
    let ahead = store.head(partition(), Log::Audit).await.unwrap();

    server.kill();
    server.restore(&backup);
    server.start_again().await;
    sleep(Duration::from_millis(100)).await;

    assert_eq!(store.get(&row).await.unwrap().unwrap().value, "old");
    let stale = Batch::new(partition())
        .at_version(&row, new.version())
        .put(&row, bytes("stale"));
    assert_eq!(store.commit(&stale).await.unwrap(), Outcome::Conflict);
    let read = || store.log(partition(), Log::Audit, &ahead, 9);
    assert_eq!(read().await.unwrap(), LogRead::Lost, "beyond the end");

    // The history takes another turn, and the log gets as long as it was.
    let _ = store.commit(&append("another")).await.unwrap();
    let head = store.head(partition(), Log::Audit).await.unwrap();
    assert_eq!(head.sequence(), ahead.sequence());
    assert_eq!(
        read().await.unwrap(),
        LogRead::Lost,
        "the same number, another entry"
    );
}

#[tokio::test]
async fn a_change_wakes_readers_in_other_processes() {
    let server = RedisServer::start().await;
    let (writer, reader) = (
        connect(&server, &clock()).await,
        connect(&server, &clock()).await,
    );
    let mut changes = reader.changes();
    let mut revocations = reader.changes_in(Log::Revocations);
    sleep(Duration::from_millis(200)).await;
    changes.mark_unchanged();
    revocations.mark_unchanged();

    let _ = writer.commit(&append("event")).await.unwrap();
    woken(&mut changes).await;
    assert!(!revocations.has_changed().unwrap());

    let revoke = Batch::new(partition()).append(Log::Revocations, bytes("revoked"));
    let started = Instant::now();
    let _ = writer.commit(&revoke).await.unwrap();
    woken(&mut revocations).await;
    assert!(
        started.elapsed() < Duration::from_millis(200),
        "a revocation is news"
    );
}

#[tokio::test]
async fn the_last_event_of_a_burst_wakes_readers_too() {
    let server = RedisServer::start().await;
    let (writer, reader) = (
        connect(&server, &clock()).await,
        connect(&server, &clock()).await,
    );
    let mut changes = reader.changes_in(Log::Audit);
    sleep(Duration::from_millis(200)).await;
    for _ in 0..50 {
        let _ = writer.commit(&append("event")).await.unwrap();
    }
    // Reads as a reader does: whenever it is woken, until it has seen all.
    let mut seen = Position::START;
    while seen.sequence() < 50 {
        woken(&mut changes).await;
        seen = reader.head(partition(), Log::Audit).await.unwrap();
    }
}

#[tokio::test]
async fn a_broken_subscription_is_made_again() {
    let server = RedisServer::start().await;
    let (writer, reader) = (
        connect(&server, &clock()).await,
        connect(&server, &clock()).await,
    );
    let mut changes = reader.changes_in(Log::Revocations);
    sleep(Duration::from_millis(200)).await;
    let client = redis::Client::open(server.url()).unwrap();
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("pubsub")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    changes.mark_unchanged();
    // Made again, it says that something may have been missed.
    woken(&mut changes).await;
    let revoke = Batch::new(partition()).append(Log::Revocations, bytes("revoked"));
    let _ = writer.commit(&revoke).await.unwrap();
    woken(&mut changes).await;
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let server = RedisServer::start().await;
    let store = connect(&server, &clock()).await;
    let client = redis::Client::open(server.url()).unwrap();
    redis::cmd("SCRIPT")
        .arg("FLUSH")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    assert_eq!(
        store.commit(&append("event")).await.unwrap(),
        Outcome::Committed
    );
    let head = store.head(partition(), Log::Audit).await.unwrap();
    assert_eq!(head.sequence(), 1);
}

#[tokio::test]
async fn a_store_with_another_number_of_partitions_is_refused() {
    let error = connect_after_writing("partitions", 16).await;
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
async fn a_store_of_a_newer_format_is_refused() {
    let error = connect_after_writing("format", 99).await;
    let text = error.to_string();
    assert!(matches!(
        error,
        StoreError::Incompatible {
            why: Incompatibility::Format { found: 99, .. }
        }
    ));
    assert!(text.contains("run the version that wrote it"), "{text}");
}

/// I15
#[tokio::test]
async fn a_redis_that_never_answers_is_unavailable_promptly() {
    // Connections are accepted by the kernel, and that is all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    let error = RedisStore::connect(&url, Arc::new(clock()))
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_unavailable_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let started = Instant::now();
    let error = RedisStore::connect(&url, Arc::new(clock()))
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(started.elapsed() < Duration::from_millis(500));
}

/// I15
#[tokio::test]
async fn a_redis_that_falls_silent_is_unavailable_promptly_and_heals() {
    let (_server, proxy, store) = through_proxy().await;
    let recognisable = Batch::new(partition())
        .absent(&key("row"))
        .put(&key("row"), bytes("value"))
        .add(&key("counter"), 1);
    proxy.set_silent(true);
    let started = Instant::now();
    let (row, event) = (key("row"), append("event"));
    let (read, committed, resent) = tokio::join!(
        store.get(&row),
        store.commit(&event),
        store.commit(&recognisable),
    );
    assert!(read.unwrap_err().is_unavailable());
    assert!(committed.unwrap_err().is_unavailable());
    assert!(resent.unwrap_err().is_unavailable());
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());

    proxy.set_silent(false);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(
        store.commit(&recognisable).await.unwrap(),
        Outcome::Committed
    );
    assert_eq!(store.counts(&[key("counter")]).await.unwrap(), [1]);
}

#[tokio::test]
async fn tls_works_with_a_private_certificate_authority() {
    let directory = TempDir::new().unwrap();
    let tls = certificate(&directory);
    let server = RedisServer::start_with_tls(&tls).await;
    let options = RedisOptions::default().with_ca_file(&tls.certificate);
    let store = RedisStore::connect_with(&server.tls_url(), &options, Arc::new(clock())).await;
    let store = store.unwrap();
    let mut changes = store.changes();
    sleep(Duration::from_millis(200)).await;
    changes.mark_unchanged();
    assert_eq!(
        store.commit(&append("event")).await.unwrap(),
        Outcome::Committed
    );
    woken(&mut changes).await;
}

#[tokio::test]
async fn tls_refuses_a_certificate_of_unknown_origin() {
    let directory = TempDir::new().unwrap();
    let server = RedisServer::start_with_tls(&certificate(&directory)).await;
    let error = RedisStore::connect(&server.tls_url(), Arc::new(clock()))
        .await
        .unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test]
async fn a_file_without_certificates_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, "").unwrap();
    for path in [path.as_path(), &directory.path().join("missing.pem")] {
        let options = RedisOptions::default().with_ca_file(path);
        let error =
            RedisStore::connect_with("rediss://localhost", &options, Arc::new(clock())).await;
        assert!(matches!(
            error.unwrap_err(),
            StoreError::Address {
                why: InvalidAddress::CertificateAuthorities
            }
        ));
    }
}

#[tokio::test]
async fn credentials_in_the_url_are_used_and_never_shown() {
    let server = RedisServer::start_with_password("correct-horse").await;
    let with = |password: &str| format!("redis://:{password}@{}", server.address());
    let store = RedisStore::connect(&with("correct-horse"), Arc::new(clock()))
        .await
        .unwrap();
    assert_eq!(
        store.commit(&append("event")).await.unwrap(),
        Outcome::Committed
    );
    assert!(!format!("{store:?}").contains("correct-horse"));
    let error = RedisStore::connect(&with("battery-staple"), Arc::new(clock()))
        .await
        .unwrap_err();
    assert!(error.is_unavailable());
    assert!(!format!("{error} {error:?}").contains("battery-staple"));
}

#[tokio::test]
async fn an_address_that_is_no_redis_url_is_refused_without_repeating_it() {
    for url in [
        "",
        "localhost",
        "postgres://u:secret@db/x",
        "redis://u:secret@[/x",
        "unix:///x",
    ] {
        let error = RedisStore::connect(url, Arc::new(clock()))
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            StoreError::Address {
                why: InvalidAddress::Url
            }
        ));
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}

/// A store that reaches its server through a proxy.
async fn through_proxy() -> (RedisServer, FaultProxy, RedisStore) {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url, Arc::new(clock())).await.unwrap();
    (server, proxy, store)
}

/// Connects to a store whose record of itself was changed.
async fn connect_after_writing(field: &str, value: u64) -> StoreError {
    let server = RedisServer::start().await;
    drop(connect(&server, &clock()).await);
    let client = redis::Client::open(server.url()).unwrap();
    redis::cmd("HSET")
        .arg("{ma:sys}:format")
        .arg(field)
        .arg(value)
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    RedisStore::connect(&server.url(), Arc::new(clock()))
        .await
        .unwrap_err()
}

async fn woken(changes: &mut tokio::sync::watch::Receiver<u64>) {
    timeout(Duration::from_secs(5), changes.changed())
        .await
        .expect("the reader is woken")
        .expect("the store lives");
}

/// A certificate for `localhost` that vouches for itself.
fn certificate(directory: &TempDir) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: directory.path().join("certificate.pem"),
        key: directory.path().join("key.pem"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}
