//! A store behind Sentinels.

use std::sync::Arc;
use std::time::Duration;

use machineauth_issuer::store::{Batch, Outcome, RedisStore, Store as _, StoreError};
use machineauth_tests::redis_sentinel::Sentinel;
use machineauth_tests::redis_server::RedisServer;
use tokio::time::{sleep, timeout};

use super::woken;
use crate::store::fixture::{append, bytes, clock, key, partition};

/// Half a second until the master counts as dead, and some for a busy machine to agree on another one.
const FAILS_OVER_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_store_follows_its_master_through_a_fail_over() {
    let mut master = RedisServer::start().await;
    let replica = RedisServer::start_replica_of(&master).await;
    let sentinel = Sentinel::watching(&master).await;
    sentinel.knows_replicas(1).await;
    let store = RedisStore::connect(&sentinel.url(), Arc::new(clock())).await;
    let store = store.unwrap();
    let before = Batch::new(partition()).put(&key("before"), bytes("value"));
    assert_eq!(store.commit(&before).await.unwrap(), Outcome::Committed);
    // Replication is asynchronous, and not what this is about.
    replica.catches_up_with(&master).await;

    master.kill();
    let goes_on = async {
        while store.commit(&append("after")).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(FAILS_OVER_WITHIN, goes_on)
        .await
        .expect("the replica takes over");
    let found = store.get(&key("before")).await.unwrap().unwrap();
    assert_eq!(found.version, before.version());

    let mut changes = store.changes();
    let hears = async {
        loop {
            changes.mark_unchanged();
            let _ = store.commit(&append("event")).await.unwrap();
            if timeout(Duration::from_millis(300), changes.changed())
                .await
                .is_ok()
            {
                return;
            }
        }
    };
    timeout(FAILS_OVER_WITHIN, hears)
        .await
        .expect("the subscription follows as well");
    let _ = store.commit(&append("event")).await.unwrap();
    woken(&mut changes).await;
}

#[tokio::test]
async fn a_sentinel_that_is_silent_is_passed_over_and_a_name_that_nobody_knows_is_an_outage() {
    let master = RedisServer::start().await;
    let sentinel = Sentinel::watching(&master).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let url = |name| format!("redis+sentinel://{silent},{}/{name}", sentinel.host());
    let found = RedisStore::connect(&url("mymaster"), Arc::new(clock())).await;
    assert_eq!(
        found.unwrap().commit(&append("event")).await.unwrap(),
        Outcome::Committed
    );
    let error = RedisStore::connect(&url("another"), Arc::new(clock())).await;
    assert!(error.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn a_replica_is_no_store() {
    let master = RedisServer::start().await;
    let replica = RedisServer::start_replica_of(&master).await;
    let error = RedisStore::connect(&replica.url(), Arc::new(clock()))
        .await
        .unwrap_err();
    let StoreError::Unavailable { source } = &error else {
        panic!("{error}");
    };
    assert!(
        source.to_string().contains("address of its master"),
        "{source}"
    );
}
