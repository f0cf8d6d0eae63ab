//! Readers in one process hear of what another appends.

use std::time::{Duration, Instant};

use machineauth_issuer::store::{Batch, Log, Position};
use machineauth_tests::redis_server::RedisServer;

use super::woken;
use crate::store::fixture::{append, bytes, clock, connect, partition};

#[tokio::test]
async fn a_change_wakes_readers_in_other_processes() {
    let server = RedisServer::start().await;
    let (writer, reader) = (
        connect(&server, &clock()).await,
        connect(&server, &clock()).await,
    );
    let mut changes = reader.changes();
    let mut revocations = reader.changes_in(Log::Revocations);

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
