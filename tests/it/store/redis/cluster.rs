//! A store in a cluster: partitions spread over its servers, and slots and servers that change under way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::SystemClock;
use machineauth_issuer::store::{Batch, Key, Log, Outcome, Partition, RedisStore, Store as _};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::redis_cluster::RedisCluster;
use machineauth_tests::redis_server::RedisServer;
use tokio::time::{sleep, timeout};

use super::woken;
use crate::store::fixture::{bytes, clock, name};

/// A second until a server counts as dead, and some for a busy machine to agree on another one.
const FAILS_OVER_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn partitions_are_spread_and_announcements_reach_everybody() {
    let cluster = RedisCluster::start().await;
    let (writer, reader) = (connect(&cluster).await, connect(&cluster).await);
    let mut revocations = reader.changes_in(Log::Revocations);
    for partition in Partition::data() {
        let batch = Batch::new(partition)
            .put(&row(partition), bytes("value"))
            .append(Log::Revocations, bytes("revoked"));
        assert_eq!(writer.commit(&batch).await.unwrap(), Outcome::Committed);
        woken(&mut revocations).await;
        let found = reader.get(&row(partition)).await.unwrap().unwrap();
        assert_eq!(found.version, batch.version());
    }
    for master in &cluster.masters {
        let keys = master.ask(&["DBSIZE"]);
        assert_ne!(keys, "int(0)", "each server has a part of it");
    }
    assert!(writer.is_shared().await.unwrap());
    reader.close().await.unwrap();
    drop(reader);
    let alone = async {
        while writer.is_shared().await.unwrap() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), alone)
        .await
        .expect("who has closed the store no longer shares it");
}

/// Slots move from server to server while tokens are issued. Every token that was issued counts, and nothing else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_issued_while_slots_move() {
    let cluster = RedisCluster::start().await;
    let store = RedisStore::connect(&cluster.url(), Arc::new(SystemClock)).await;
    let issuer = Issuer::builder()
        .store(Arc::new(store.unwrap()))
        .start()
        .await;
    let mut agents = Vec::new();
    for _ in 0..6 {
        agents.push(issuer.agent(&["read"]).await);
    }
    let moving = async {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            for slot in slots_of(&cluster.masters[from]) {
                cluster
                    .move_slot(slot, from, to, Duration::from_millis(2))
                    .await;
            }
        }
    };
    let issuing = async {
        let mut issued = 0_u64;
        loop {
            for agent in &agents {
                let answer = issuer.token_answer(agent).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                issued += 1;
            }
            tokio::task::yield_now().await;
            if issued > 6_000 {
                return issued;
            }
        }
    };
    let issued = tokio::select! {
        ((), issued) = async { tokio::join!(moving, issuing) } => issued,
        () = sleep(Duration::from_secs(120)) => panic!("it takes too long"),
    };
    let stats = issuer.admin(reqwest::Method::GET, "/api/stats", None).await;
    assert_eq!(stats.json()["tokens_issued"], issued, "{}", stats.text);
}

/// A server dies and its replica takes over: what it held is unavailable for a moment, and everything else is not.
#[tokio::test]
async fn a_replica_takes_over_for_a_server_that_died() {
    let mut cluster = RedisCluster::start().await;
    let replica = cluster.replica_of(0).await;
    let store = connect(&cluster).await;
    let mut held = Vec::new();
    for partition in Partition::data() {
        let batch = Batch::new(partition).put(&row(partition), bytes("value"));
        assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
        held.push((partition, batch.version()));
    }
    // Replication is asynchronous, and not what this is about.
    replica.catches_up_with(&cluster.masters[0]).await;
    cluster.masters[0].kill();
    let heals = async {
        for (partition, version) in held {
            let found = loop {
                match store.get(&row(partition)).await {
                    Ok(found) => break found.unwrap(),
                    Err(error) => assert!(error.is_unavailable(), "{error}"),
                }
            };
            assert_eq!(found.version, version);
        }
    };
    timeout(FAILS_OVER_WITHIN, heals)
        .await
        .expect("the replica takes over");
}

async fn connect(cluster: &RedisCluster) -> RedisStore {
    let store = RedisStore::connect(&cluster.url(), Arc::new(clock())).await;
    store.expect("a formed cluster is reachable")
}

fn row(partition: Partition) -> Key {
    partition.key("test").with(name("row"))
}

/// The slots of a server in which there is something.
fn slots_of(server: &RedisServer) -> Vec<u16> {
    let keys: Vec<String> = server.query(&["KEYS", "*"]);
    let slots: BTreeSet<u16> = keys
        .iter()
        .map(|key| server.query(&["CLUSTER", "KEYSLOT", key]))
        .collect();
    slots.into_iter().collect()
}
