//! The revocation feed: one reader of the logs, any number of listeners.
//!
//! The *hub* reads the revocation log of every partition and broadcasts what is new; a heartbeat follows each read of
//! all partitions and carries the time of that read, so that an issuer cut off from its store cannot look fresh. A
//! *listener* subscribes to the hub first and then reads the past, from its last event id or as a snapshot: what it
//! may see twice in between is harmless, and nothing can fall through.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use bytes::Bytes;
use futures_util::future::try_join_all;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::revocation::Revocation;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::domain::revocation::REVOKED;
use crate::store::{DynStore, Log, LogRead, Partition, Position, Store, StoreError};

/// How often the logs are read when nothing wakes the hub.
const POLL: Duration = Duration::from_secs(1);
/// How often listeners are told that nothing is missing.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// News that a slow listener may be behind before it is disconnected, to resume by itself.
const BACKLOG: usize = 4096;
const PAGE: usize = 500;

/// Something that the hub tells all listeners.
#[derive(Clone)]
enum News {
    /// An entry of a revocation log, as JSON.
    Revoked(Bytes),
    /// Everything up to `id` has been told; true as of `at`.
    Current { at: Timestamp, id: Arc<str> },
}

/// A place in the revocation logs of all partitions, in the order of [`Partition::data`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Positions(Vec<Position>);

impl Positions {
    async fn heads(store: &dyn Store) -> Result<Self, StoreError> {
        try_join_all(Partition::data().map(|partition| store.head(partition, Log::Revocations)))
            .await
            .map(Self)
    }

    /// An opaque event id.
    fn to_id(&self) -> String {
        let mut id = String::new();
        for position in &self.0 {
            let separator = if id.is_empty() { "" } else { "," };
            write!(id, "{separator}{position}").expect("writing to a String cannot fail");
        }
        id
    }

    fn parse(id: &str) -> Option<Self> {
        let positions: Vec<Position> = id
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        (positions.len() == Partition::data().count()).then_some(Self(positions))
    }

    /// Everything after these positions, which move on to the end. `None` when one of them is not in its log.
    async fn read_on(&mut self, store: &dyn Store) -> Result<Option<Vec<Bytes>>, StoreError> {
        let reads = Partition::data()
            .zip(&self.0)
            .map(|(partition, after)| read_to_end(store, partition, after));
        let reads = try_join_all(reads).await?;
        let mut entries = Vec::new();
        for (position, read) in self.0.iter_mut().zip(reads) {
            let Some((end, new)) = read else {
                return Ok(None);
            };
            *position = end;
            entries.extend(new);
        }
        Ok(Some(entries))
    }
}

async fn read_to_end(
    store: &dyn Store,
    partition: Partition,
    after: &Position,
) -> Result<Option<(Position, Vec<Bytes>)>, StoreError> {
    let mut end = *after;
    let mut entries = Vec::new();
    loop {
        match store.log(partition, Log::Revocations, &end, PAGE).await? {
            LogRead::Lost => return Ok(None),
            LogRead::Entries(page) => {
                let last_page = page.len() < PAGE;
                for (position, entry) in page {
                    end = position;
                    entries.push(entry);
                }
                if last_page {
                    return Ok(Some((end, entries)));
                }
            }
        }
    }
}

/// The feed of this process.
#[derive(Debug)]
pub struct Feed {
    store: DynStore,
    clock: Arc<dyn Clock>,
    /// Where the logs were before anybody could listen: nothing that a listener must hear lies before it.
    start: Positions,
    /// `None` once the server stops.
    news: watch::Sender<Option<broadcast::Sender<News>>>,
}

impl Feed {
    /// A feed over the logs in `store`. Tells nothing new until [`Feed::run`] runs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: DynStore, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let start = Positions::heads(&*store).await?;
        let news = watch::Sender::new(Some(broadcast::Sender::new(BACKLOG)));
        Ok(Self {
            store,
            clock,
            start,
            news,
        })
    }

    /// Reads the logs and tells all listeners, until the server stops.
    pub async fn run(&self) {
        let mut changes = self.store.changes_in(Log::Revocations);
        let mut stopped = self.news.subscribe();
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut positions = self.start.clone();
        let mut heartbeat_due = Instant::now();
        loop {
            tokio::select! {
                _ = stopped.wait_for(Option::is_none) => return,
                _ = poll.tick() => {}
                Ok(()) = changes.changed() => {}
            }
            let at = self.clock.now();
            match self.round(&mut positions).await {
                Ok(()) if Instant::now() >= heartbeat_due => {
                    self.tell(News::Current {
                        at,
                        id: positions.to_id().into(),
                    });
                    heartbeat_due = Instant::now() + HEARTBEAT;
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, "the revocation logs cannot be read; listeners go stale")
                }
            }
        }
    }

    /// Stops [`Feed::run`] and ends every listener's stream.
    pub fn stop(&self) {
        self.news.send_replace(None);
    }

    /// Tells what is new in all partitions.
    async fn round(&self, positions: &mut Positions) -> Result<(), StoreError> {
        match positions.read_on(&*self.store).await? {
            Some(entries) => entries
                .into_iter()
                .for_each(|entry| self.tell(News::Revoked(entry))),
            None => {
                tracing::warn!(
                    "a revocation log was restored or trimmed too far; every listener starts over"
                );
                *positions = Positions::heads(&*self.store).await?;
                self.end_all_streams();
            }
        }
        Ok(())
    }

    /// Dropping the channel ends the streams. Their ids match nothing now, so they come back for a snapshot.
    fn end_all_streams(&self) {
        self.news.send_if_modified(|news| match news {
            Some(sender) => {
                *sender = broadcast::Sender::new(BACKLOG);
                true
            }
            None => false,
        });
    }

    fn tell(&self, news: News) {
        if let Some(sender) = &*self.news.borrow() {
            // That nobody listens is no failure.
            let _ = sender.send(news);
        }
    }

    /// The events for one listener: the past since `resume`, or all of it, and then what is new.
    ///
    /// # Errors
    /// When the store cannot be read right now.
    pub async fn follow(&self, resume: Option<&str>) -> Result<mpsc::Receiver<Event>, StoreError> {
        let news = self
            .news
            .borrow()
            .as_ref()
            .map(broadcast::Sender::subscribe);
        let at = self.clock.now();
        let (sender, events) = mpsc::channel(64);
        let Some(news) = news else { return Ok(events) };
        let resumed = match resume.and_then(Positions::parse) {
            Some(mut positions) => {
                let missed = positions.read_on(&*self.store).await?;
                missed.map(|missed| (missed, positions))
            }
            None => None,
        };
        let listener = Listener {
            events: sender,
            store: Arc::clone(&self.store),
        };
        let start = match resumed {
            Some((missed, positions)) => Start::Resumed {
                missed,
                id: positions.to_id(),
                at,
            },
            None => Start::Snapshot {
                id: Positions::heads(&*self.store).await?.to_id(),
                at,
            },
        };
        tokio::spawn(listener.run(start, news));
        Ok(events)
    }
}

/// How a listener begins.
enum Start {
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

struct Listener {
    events: mpsc::Sender<Event>,
    store: DynStore,
}

impl Listener {
    async fn run(self, start: Start, news: broadcast::Receiver<News>) {
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
            self.send(revocation(&entry)).await?;
        }
        self.send(current("heartbeat", at, id)).await
    }

    async fn snapshot(&self, id: &str, at: Timestamp) -> Result<(), Ended> {
        // One chunk is always sent, since it is what begins a snapshot.
        self.send(chunk(&[])).await?;
        for partition in Partition::data() {
            let prefix = REVOKED.key(partition);
            let mut after = None;
            loop {
                let page = REVOKED
                    .scan(&*self.store, &prefix, after.as_ref(), PAGE)
                    .await
                    .map_err(|error| {
                        tracing::warn!(%error, "a snapshot of the revocations broke off");
                        Ended
                    })?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                let last_page = page.len() < PAGE;
                let revocations: Vec<Revocation> =
                    page.into_iter().map(|(_, row)| row.value).collect();
                self.send(chunk(&revocations)).await?;
                if last_page {
                    break;
                }
            }
        }
        self.send(current("live", at, id)).await
    }

    async fn relay(
        &self,
        mut news: broadcast::Receiver<News>,
    ) -> Result<std::convert::Infallible, Ended> {
        loop {
            let event = tokio::select! {
                () = self.events.closed() => return Err(Ended),
                // A listener that lags too far is let go: it resumes by its last event id and reads the log instead.
                received = news.recv() => match received.map_err(|_| Ended)? {
                    News::Revoked(entry) => revocation(&entry),
                    News::Current { at, id } => current("heartbeat", at, &id),
                },
            };
            self.send(event).await?;
        }
    }

    async fn send(&self, event: Event) -> Result<(), Ended> {
        self.events.send(event).await.map_err(|_| Ended)
    }
}

fn chunk(revocations: &[Revocation]) -> Event {
    let data = serde_json::to_string(revocations).expect("revocations are plain data");
    Event::default().event("snapshot").data(data)
}

fn revocation(entry: &Bytes) -> Event {
    Event::default()
        .event("revocation")
        .data(String::from_utf8_lossy(entry))
}

fn current(event: &str, at: Timestamp, id: &str) -> Event {
    Event::default()
        .event(event)
        .id(id)
        .data(format!("{{\"at\":{}}}", at.as_millis()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// I22
        #[test]
        fn no_event_id_makes_the_parser_panic(id in "[0-9a-f.:,-]{0,300}|\\PC{0,100}") {
            if let Some(positions) = Positions::parse(&id) {
                prop_assert_eq!(Positions::parse(&positions.to_id()), Some(positions));
            }
        }
    }

    #[test]
    fn an_event_id_has_a_position_for_every_partition() {
        let start = Positions(vec![Position::START; Partition::data().count()]);
        assert_eq!(Positions::parse(&start.to_id()), Some(start));
        for other in ["", "0", "0,0", &"0,".repeat(32), &["0"; 33].join(",")] {
            assert_eq!(Positions::parse(other), None, "{other}");
        }
    }
}
