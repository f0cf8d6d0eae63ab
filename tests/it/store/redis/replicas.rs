//! What is acknowledged only when replicas have it.

use std::sync::Arc;

use machineauth_issuer::store::{Batch, Outcome, RedisOptions, RedisStore, Store as _};
use machineauth_tests::fault_proxy::FaultProxy;
use machineauth_tests::redis_server::RedisServer;

use crate::store::fixture::{bytes, clock, key, partition};

/// How often a write is tried around a fail-over.
const WRITES: usize = 8;

#[tokio::test]
async fn what_insists_on_replicas_waits_for_them_and_nothing_else_does() {
    let (_master, replica, store) = with_a_replica(1).await;
    let revocation = |name| put(name).on_replicas();
    let committed = store.commit(&revocation("a")).await.unwrap();
    assert_eq!(committed, Outcome::Committed);

    replica.set_frozen(true);
    let (plain, insisting) = (put("b"), revocation("c"));
    let (plain, insisted) = tokio::join!(store.commit(&plain), store.commit(&insisting));
    assert_eq!(plain.unwrap(), Outcome::Committed);
    let error = insisted.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    // The same batch again finds itself written, and still nobody else has it.
    assert!(store.commit(&insisting).await.unwrap_err().is_unavailable());

    replica.set_frozen(false);
    assert_eq!(store.commit(&insisting).await.unwrap(), Outcome::Committed);
}

#[tokio::test]
async fn a_store_that_was_not_told_to_wait_does_not() {
    let (_master, replica, store) = with_a_replica(0).await;
    replica.set_frozen(true);
    let committed = store.commit(&put("a").on_replicas()).await.unwrap();
    assert_eq!(committed, Outcome::Committed);
    replica.set_frozen(false);
}

/// A master that is cut off from its replica goes on, is lost, and the replica takes over: with the option, nothing that
/// was acknowledged is lost; without it, what the replica did not hear of is.
#[tokio::test]
async fn nothing_acknowledged_is_lost_at_a_fail_over_where_replicas_are_waited_for() {
    assert_eq!(lost_at_a_fail_over(1).await, 0);
    assert_eq!(lost_at_a_fail_over(0).await, WRITES / 2);
}

/// Half of the writes come before the replica is cut off, half after that. How many of those that were acknowledged are
/// not there when it has taken over.
async fn lost_at_a_fail_over(replicas: u32) -> usize {
    let mut master = RedisServer::start().await;
    let between = FaultProxy::start(master.address()).await;
    let replica = RedisServer::start_replica_by(between.address(), &master).await;
    let store = connect(&master, replicas).await;
    let mut acknowledged = Vec::new();
    for n in 0..WRITES {
        if n == WRITES / 2 {
            replica.catches_up_with(&master).await;
            between.set_silent(true);
        }
        let name = format!("write-{n}");
        if store.commit(&put(&name).on_replicas()).await.is_ok() {
            acknowledged.push(name);
        }
    }
    master.kill();
    replica.ask(&["REPLICAOF", "NO", "ONE"]);
    let survivor = RedisStore::connect(&replica.url(), Arc::new(clock())).await;
    let survivor = survivor.unwrap();
    let mut lost = 0;
    for name in &acknowledged {
        lost += usize::from(survivor.get(&key(name)).await.unwrap().is_none());
    }
    lost
}

async fn with_a_replica(replicas: u32) -> (RedisServer, RedisServer, RedisStore) {
    let master = RedisServer::start().await;
    let replica = RedisServer::start_replica_of(&master).await;
    let store = connect(&master, replicas).await;
    (master, replica, store)
}

async fn connect(master: &RedisServer, replicas: u32) -> RedisStore {
    let options = RedisOptions::default().with_replicas(replicas);
    let store = RedisStore::connect_with(&master.url(), &options, Arc::new(clock())).await;
    store.unwrap()
}

/// A batch that can be recognised when it comes again.
fn put(name: &str) -> Batch {
    let row = key(name);
    Batch::new(partition())
        .absent(&row)
        .put(&row, bytes("value"))
}
