//! Lost answers, broken connections, dead servers, servers that went back in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use machineauth_issuer::store::{Batch, Log, LogRead, Outcome, Position, RedisStore, Store as _};
use machineauth_tests::fault_proxy::FaultProxy;
use machineauth_tests::redis_server::{Persistence, RedisServer};
use tokio::time::sleep;

use super::PROMPT;
use crate::store::fixture::{append, bytes, clock, connect, key, partition};

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

/// A store that reaches its server through a proxy.
async fn through_proxy() -> (RedisServer, FaultProxy, RedisStore) {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url, Arc::new(clock())).await.unwrap();
    (server, proxy, store)
}
