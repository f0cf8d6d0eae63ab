//! Addresses, credentials, certificates, and servers that are not for us.

use std::sync::Arc;
use std::time::{Duration, Instant};

use machineauth_issuer::store::{
    Incompatibility, InvalidAddress, Log, LogRead, Outcome, PARTITIONS, Place, Position,
    RedisOptions, RedisStore, Store as _, StoreError,
};
use machineauth_tests::redis_server::{RedisServer, TlsFiles};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{PROMPT, woken};
use crate::store::fixture::{append, bytes, clock, connect, key, partition};

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

#[tokio::test]
async fn tls_works_with_a_private_certificate_authority() {
    let directory = TempDir::new().unwrap();
    let tls = certificate(&directory);
    let server = RedisServer::start_with_tls(&tls).await;
    let options = RedisOptions::default().with_ca_file(&tls.certificate);
    let store = RedisStore::connect_with(&server.tls_url(), &options, Arc::new(clock())).await;
    let store = store.unwrap();
    let mut changes = store.changes();
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

/// As docs/operations.md says.
#[tokio::test]
async fn a_user_may_do_what_the_documentation_grants_and_that_is_enough() {
    let documented = include_str!("../../../../docs/operations.md");
    let granted = documented
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER machineauth on >PASSWORD "))
        .expect("the documentation says what a user may do");
    let server = RedisServer::start().await;
    let mut grant = vec!["ACL", "SETUSER", "machineauth", "on", ">correct-horse"];
    grant.extend(granted.split_whitespace());
    server.ask(&grant);
    let url = format!("redis://machineauth:correct-horse@{}", server.address());
    let options = RedisOptions::default();
    let store = RedisStore::connect_with(&url, &options, Arc::new(clock())).await;
    let store = store.unwrap();
    let mut changes = store.changes();
    let written = append("event").put(&key("row"), bytes("value"));
    assert_eq!(store.commit(&written).await.unwrap(), Outcome::Committed);
    woken(&mut changes).await;
    assert_eq!(
        store
            .scan(&partition().key("test"), None, 9)
            .await
            .unwrap()
            .len(),
        1
    );
    let read = store
        .log(partition(), Log::Audit, &Position::START, 9)
        .await;
    assert!(matches!(read.unwrap(), LogRead::Entries(entries) if entries.len() == 1));
    store.dump(partition(), &Place::START, 9).await.unwrap();
    store.trim(partition(), Log::Audit, 1).await.unwrap();
    store.sweep(partition(), 9).await.unwrap();
    store.now().await.unwrap();
    assert!(!store.is_shared().await.unwrap());
    store.erase(partition()).await.unwrap();

    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_connection().unwrap();
    for forbidden in ["FLUSHALL", "KEYS *", "CONFIG GET *", "GET other"] {
        let mut words = forbidden.split(' ');
        let command = words.next().unwrap();
        let mut command = redis::cmd(command);
        command.arg(words.collect::<Vec<_>>());
        let answer: Result<redis::Value, _> = command.query(&mut connection);
        assert!(answer.unwrap_err().to_string().contains("permission"));
    }
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
