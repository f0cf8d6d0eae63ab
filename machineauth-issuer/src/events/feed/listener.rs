//! One listener: first the past, then what is new.

use std::convert::Infallible;
use std::time::Duration;

use machineauth_core::clock::Timestamp;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use super::positions::Positions;
use super::{FeedEvent, News, Range};
use crate::domain::revocation::REVOKED;
use crate::store::{DynStore, Log, LogRead, Partition, StoreError};
use crate::telemetry::Chain;

/// Rows in one chunk of a snapshot, and entries of a log read at once.
const PAGE: usize = 200;
/// A listener that takes nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(15);

/// The listener is gone, or what it should hear cannot be read. Either way its stream ends.
struct Ended;

/// Tells one listener. Holds no more than a page for it, however slow it is.
pub(super) struct Listener {
    pub(super) events: mpsc::Sender<FeedEvent>,
    pub(super) store: DynStore,
    pub(super) range: Range,
}

impl Listener {
    /// Tells the past since `resume`, or all of it, and then what is new. `heads` is where the logs were at `at`, after
    /// the subscription to `news` and before anything else was read.
    pub(super) async fn run(
        self,
        resume: Option<Positions>,
        heads: Positions,
        at: Timestamp,
        news: broadcast::Receiver<News>,
    ) {
        let past = match resume {
            Some(positions) => self.resume(positions, heads, at).await,
            None => self.snapshot(&heads, at).await,
        };
        if past.is_ok() {
            let Err(Ended) = self.relay(news).await;
        }
    }

    /// Tells what the logs hold after `positions`; a snapshot when one of them is not in its log any more.
    async fn resume(
        &self,
        mut positions: Positions,
        heads: Positions,
        at: Timestamp,
    ) -> Result<(), Ended> {
        for (partition, position) in positions.each() {
            loop {
                let page = self
                    .store
                    .log(partition, Log::Revocations, position, PAGE)
                    .await;
                let LogRead::Entries(page) = page.map_err(|error| broke_off(&error))? else {
                    return self.snapshot(&heads, at).await;
                };
                let last_page = page.len() < PAGE;
                for (reached, entry) in page {
                    *position = reached;
                    if self.range.has_entry(&entry) {
                        self.send(FeedEvent::Revocation(entry)).await?;
                    }
                }
                if last_page {
                    break;
                }
            }
        }
        let id = positions.to_id().into();
        self.send(FeedEvent::Heartbeat { at, id }).await
    }

    async fn snapshot(&self, heads: &Positions, at: Timestamp) -> Result<(), Ended> {
        // One chunk is always sent, since it is what begins a snapshot.
        self.send(FeedEvent::Snapshot(Vec::new())).await?;
        for partition in Partition::data() {
            let prefix = REVOKED.key(partition);
            let mut after = None;
            loop {
                let page = REVOKED
                    .scan(&*self.store, &prefix, after.as_ref(), PAGE)
                    .await
                    .map_err(|error| broke_off(&error))?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                let last_page = page.len() < PAGE;
                let rows = page.into_iter().map(|(_, row)| row.value);
                let heard = rows.filter(|row| self.range.has(row));
                let revocations = heard.map(|row| row.revocation).collect();
                self.send(FeedEvent::Snapshot(revocations)).await?;
                if last_page {
                    break;
                }
            }
        }
        let id = heads.to_id().into();
        self.send(FeedEvent::Live { at, id }).await
    }

    async fn relay(&self, mut news: broadcast::Receiver<News>) -> Result<Infallible, Ended> {
        loop {
            let event = tokio::select! {
                () = self.events.closed() => return Err(Ended),
                // A listener that lags too far is let go: it resumes by its last event id and reads the log instead.
                received = news.recv() => match received.map_err(|_| Ended)? {
                    News::Revoked(entry) if !self.range.has_entry(&entry) => continue,
                    News::Revoked(entry) => FeedEvent::Revocation(entry),
                    News::Current { at, id } => FeedEvent::Heartbeat { at, id },
                },
            };
            self.send(event).await?;
        }
    }

    async fn send(&self, event: FeedEvent) -> Result<(), Ended> {
        match timeout(PATIENCE, self.events.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended),
        }
    }
}

fn broke_off(error: &StoreError) -> Ended {
    tracing::warn!(error = %Chain(error), "the past of the revocations cannot be read; a listener is let go");
    Ended
}
