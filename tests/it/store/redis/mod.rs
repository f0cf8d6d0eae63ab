//! The suite on Redis, and what only a server over a network can suffer.

mod changes;
mod cluster;
mod connecting;
mod faults;
mod pipeline;
mod replicas;
mod sentinel;

use std::time::Duration;

use tokio::time::timeout;

super::conformance::suite!(super::super::fixture::redis);

/// How long a call may take when Redis does not answer: two seconds, and some for a busy machine.
const PROMPT: Duration = Duration::from_millis(2_800);

/// Waits until a reader of a log is woken.
async fn woken(changes: &mut tokio::sync::watch::Receiver<u64>) {
    timeout(Duration::from_secs(5), changes.changed())
        .await
        .expect("the reader is woken")
        .expect("the store lives");
}
