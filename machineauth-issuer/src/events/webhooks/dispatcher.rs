//! From the audit log to deliveries.
//!
//! One issuer at a time reads the audit log of every partition and creates the deliveries that webhooks ask for. A delivery
//! is called by its event and its webhook, and is created only if it was not before: what a crash makes the dispatcher
//! read twice changes nothing. So its place in the logs need not be written down with every event, only now and then, and
//! never before what it stands for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::payload;
use crate::domain::event::Event;
use crate::domain::id::WebhookId;
use crate::domain::lease::Lease;
use crate::domain::webhooks::{Delivery, StoredWebhook, Webhooks};
use crate::store::{
    Batch, Key, Log, LogRead, Outcome, Partition, Position, Store, StoreError, Table,
};
use crate::telemetry::Chain;

const CURSORS: Table<Cursor> = Table::new("webhook_cursor", 1);
/// How often the logs are read when nothing wakes the dispatcher.
const POLL: Duration = Duration::from_secs(1);
/// How many entries of one log are read at once.
const PAGE: usize = 200;
/// How often the places in the logs are written down.
const SAVE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    position: String,
}

/// Creates deliveries.
#[derive(Debug)]
pub struct Dispatcher {
    /// Whom to tell.
    pub webhooks: Arc<Webhooks>,
    /// Names this server in CloudEvents.
    pub source: String,
    /// Keeps other issuers from doing the same.
    pub lease: Lease,
    /// Tells whoever delivers that there is something new.
    pub wake: Arc<Notify>,
}

/// How far the logs were read.
struct Progress {
    positions: BTreeMap<Partition, Position>,
    saved: BTreeMap<Partition, Position>,
    saved_at: Instant,
}

impl Dispatcher {
    /// Dispatches, forever.
    pub async fn run(&self) {
        let mut changes = self.webhooks.store.changes_in(Log::Audit);
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = None;
        loop {
            tokio::select! {
                _ = poll.tick() => {}
                Ok(()) = changes.changed() => {}
            }
            if let Err(error) = self.step(&mut progress).await {
                tracing::warn!(error = %Chain(&error), "dispatching events to webhooks failed; it is tried again");
            }
        }
    }

    /// Dispatches what there is, as long as nobody else does.
    async fn step(&self, progress: &mut Option<Progress>) -> Result<(), StoreError> {
        if !self.lease.hold().await? {
            *progress = None;
            return Ok(());
        }
        let progress = match progress {
            Some(progress) => progress,
            None => progress.insert(self.resume().await?),
        };
        while self.round(progress).await? {
            if !self.lease.hold().await? {
                break;
            }
        }
        self.save(progress).await
    }

    /// Where the one before left off.
    async fn resume(&self) -> Result<Progress, StoreError> {
        let positions = Partition::all().map(|partition| async move {
            let cursor = CURSORS
                .get(&*self.webhooks.store, &cursor_key(partition))
                .await?;
            let saved = cursor.and_then(|cursor| cursor.value.position.parse().ok());
            let position = match saved {
                Some(position) => position,
                None => self.webhooks.store.tail(partition, Log::Audit).await?,
            };
            Ok::<_, StoreError>((partition, position))
        });
        let positions: BTreeMap<_, _> = try_join_all(positions).await?.into_iter().collect();
        Ok(Progress {
            saved: positions.clone(),
            positions,
            saved_at: Instant::now(),
        })
    }

    /// Reads a page of every log and creates its deliveries. Says whether there is more.
    async fn round(&self, progress: &mut Progress) -> Result<bool, StoreError> {
        let reads = progress
            .positions
            .iter()
            .map(|(partition, position)| async {
                let read = self
                    .webhooks
                    .store
                    .log(*partition, Log::Audit, position, PAGE);
                Ok::<_, StoreError>((*partition, read.await?))
            });
        let mut pages = Vec::new();
        for (partition, read) in try_join_all(reads).await? {
            match read {
                LogRead::Entries(entries) => pages.push((partition, entries)),
                LogRead::Lost => {
                    tracing::error!(%partition, "events were trimmed, or lost with the store, before webhooks were told of them");
                    let tail = self.webhooks.store.tail(partition, Log::Audit).await?;
                    progress.positions.insert(partition, tail);
                }
            }
        }
        pages.retain(|(_, entries)| !entries.is_empty());
        if pages.is_empty() {
            return Ok(false);
        }
        // After the logs: whoever was there before an event happened is among them.
        let webhooks = self.webhooks.all().await?;
        for (webhook, deliveries) in self.deliveries(&webhooks, &pages) {
            if self.webhooks.enqueue(webhook, deliveries).await? > 0 {
                self.wake.notify_one();
            }
        }
        let mut more = false;
        for (partition, entries) in pages {
            more |= entries.len() == PAGE;
            if let Some((last, _)) = entries.last() {
                progress.positions.insert(partition, *last);
            }
        }
        Ok(more)
    }

    fn deliveries(
        &self,
        webhooks: &[StoredWebhook],
        pages: &[(Partition, Vec<(Position, Bytes)>)],
    ) -> BTreeMap<WebhookId, Vec<Delivery>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        if webhooks.is_empty() {
            return found;
        }
        let server = self.webhooks.policy.token_events;
        for (partition, entries) in pages {
            for (position, entry) in entries {
                let Ok(event) = Event::decode(entry) else {
                    tracing::error!(%partition, %position, "an entry of the audit log cannot be read; no webhook is told of it");
                    continue;
                };
                for webhook in webhooks.iter().map(|stored| &stored.value) {
                    if webhook.hears(&event, (*partition, *position), server) {
                        let position = format!("{partition}.{}", position.sequence());
                        let delivery = payload::delivery(webhook, &event, position, &self.source);
                        found.entry(webhook.id).or_default().push(delivery);
                    }
                }
            }
        }
        found
    }

    /// Writes down how far the logs were read, unless that was done a moment ago.
    async fn save(&self, progress: &mut Progress) -> Result<(), StoreError> {
        if progress.saved_at.elapsed() < SAVE_EVERY {
            return Ok(());
        }
        progress.saved_at = Instant::now();
        for (partition, position) in &progress.positions {
            if progress.saved.get(partition) == Some(position) {
                continue;
            }
            let key = cursor_key(*partition);
            let cursor = Cursor {
                position: position.to_string(),
            };
            let batch = Batch::new(*partition).put(&key, CURSORS.encode(&cursor));
            match self.webhooks.store.commit(&batch).await? {
                Outcome::Committed | Outcome::Conflict => {}
            }
            progress.saved.insert(*partition, *position);
        }
        Ok(())
    }
}

/// The number of the last entry of a log that webhooks were told of: nothing after it may be trimmed.
///
/// # Errors
/// The store's failure.
pub async fn told_through(store: &dyn Store, partition: Partition) -> Result<u64, StoreError> {
    let cursor = CURSORS.get(store, &cursor_key(partition)).await?;
    let position = cursor.and_then(|cursor| cursor.value.position.parse::<Position>().ok());
    Ok(position.map_or(0, |position| position.sequence()))
}

fn cursor_key(partition: Partition) -> Key {
    CURSORS.key(partition)
}
