//! One listener: first the past, then what is new.

use std::convert::Infallible;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use tokio::sync::{broadcast, mpsc};

use super::{FeedEvent, News};
use crate::domain::revocation::REVOKED;
use crate::store::{DynStore, Partition};
use crate::telemetry::Chain;

/// Rows in one chunk of a snapshot.
const PAGE: usize = 500;

/// How a listener begins.
pub(super) enum Start {
    /// Where it left off.
    Resumed {
        missed: Vec<Bytes>,
        id: String,
        at: Timestamp,
    },
    /// With everything that is revoked; the logs were at `id` before.
    Snapshot { id: String, at: Timestamp },
}

/// The listener is gone, or what it should hear cannot be read. Either way its stream ends.
struct Ended;

pub(super) struct Listener {
    pub(super) events: mpsc::Sender<FeedEvent>,
    pub(super) store: DynStore,
}

impl Listener {
    pub(super) async fn run(self, start: Start, news: broadcast::Receiver<News>) {
        let past = match start {
            Start::Resumed { missed, id, at } => self.resume(missed, &id, at).await,
            Start::Snapshot { id, at } => self.snapshot(&id, at).await,
        };
        if past.is_ok() {
            let Err(Ended) = self.relay(news).await;
        }
    }

    async fn resume(&self, missed: Vec<Bytes>, id: &str, at: Timestamp) -> Result<(), Ended> {
        for entry in missed {
            self.send(FeedEvent::Revocation(entry)).await?;
        }
        self.send(FeedEvent::Heartbeat { at, id: id.into() }).await
    }

    async fn snapshot(&self, id: &str, at: Timestamp) -> Result<(), Ended> {
        // One chunk is always sent, since it is what begins a snapshot.
        self.send(FeedEvent::Snapshot(Vec::new())).await?;
        for partition in Partition::data() {
            let prefix = REVOKED.key(partition);
            let mut after = None;
            loop {
                let page = REVOKED
                    .scan(&*self.store, &prefix, after.as_ref(), PAGE)
                    .await
                    .map_err(|error| {
                        tracing::warn!(error = %Chain(&error), "a snapshot of the revocations broke off");
                        Ended
                    })?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                let last_page = page.len() < PAGE;
                let revocations = page.into_iter().map(|(_, row)| row.value).collect();
                self.send(FeedEvent::Snapshot(revocations)).await?;
                if last_page {
                    break;
                }
            }
        }
        self.send(FeedEvent::Live { at, id: id.into() }).await
    }

    async fn relay(&self, mut news: broadcast::Receiver<News>) -> Result<Infallible, Ended> {
        loop {
            let event = tokio::select! {
                () = self.events.closed() => return Err(Ended),
                // A listener that lags too far is let go: it resumes by its last event id and reads the log instead.
                received = news.recv() => match received.map_err(|_| Ended)? {
                    News::Revoked(entry) => FeedEvent::Revocation(entry),
                    News::Current { at, id } => FeedEvent::Heartbeat { at, id },
                },
            };
            self.send(event).await?;
        }
    }

    async fn send(&self, event: FeedEvent) -> Result<(), Ended> {
        self.events.send(event).await.map_err(|_| Ended)
    }
}
