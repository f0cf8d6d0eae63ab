//! The revocation feed: one reader of the logs, any number of listeners.
//!
//! The *hub* reads the revocation log of every partition and broadcasts what is new; a heartbeat follows each read of
//! all partitions and carries the time of that read, so that an issuer cut off from its store cannot look fresh. A
//! *listener* subscribes to the hub first and then reads the past, from its last event id or as a snapshot: what it
//! may see twice in between is harmless, and nothing can fall through.

mod listener;
mod positions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use listener::Listener;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::revocation::Revocation;
use positions::Positions;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::domain::id::OrganizationId;
use crate::domain::keys::KeyRings;
use crate::domain::revocation::OwnedRevocation;
use crate::store::{DynStore, Log, StoreError};
use crate::telemetry::Chain;

/// How often the logs are read when nothing wakes the hub.
const POLL: Duration = Duration::from_secs(1);
/// How often listeners are told that nothing is missing.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// News that a slow listener may be behind before it is disconnected, to resume by itself.
const BACKLOG: usize = 4096;
/// Events made ready before a listener takes them.
const AHEAD: usize = 8;

/// What a listener is told. `at` is when everything up to the event was known to be told; `id` is where to resume.
#[derive(Debug)]
pub enum FeedEvent {
    /// Some of what is revoked. A snapshot is one or more of these, ended by `Live`.
    Snapshot(Vec<Revocation>),
    /// The snapshot is complete.
    Live {
        /// As of when.
        at: Timestamp,
        /// Where to resume.
        id: Arc<str>,
    },
    /// One more revocation, as the JSON that the log holds.
    Revocation(Bytes),
    /// Nothing is missing.
    Heartbeat {
        /// As of when.
        at: Timestamp,
        /// Where to resume.
        id: Arc<str>,
    },
}

/// What a listener may hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Every revocation.
    Everything,
    /// Those of an organization and of its keys, and of the server's keys.
    Organization(OrganizationId),
}

impl Range {
    fn has(self, revocation: &OwnedRevocation) -> bool {
        match self {
            Self::Everything => true,
            Self::Organization(organization) => revocation.concerns(organization),
        }
    }

    /// As [`Range::has`], for the entry of a log. What cannot be read concerns nobody in particular.
    fn has_entry(self, entry: &[u8]) -> bool {
        self == Self::Everything
            || serde_json::from_slice(entry).is_ok_and(|owned| self.has(&owned))
    }
}

/// Something that the hub tells all listeners.
#[derive(Clone)]
enum News {
    /// An entry of a revocation log, as JSON.
    Revoked(Bytes),
    /// Everything up to `id` has been told; true as of `at`.
    Current { at: Timestamp, id: Arc<str> },
}

/// The feed of this process.
#[derive(Debug)]
pub struct Feed {
    store: DynStore,
    clock: Arc<dyn Clock>,
    /// This issuer's own keys, which are revoked as well.
    keys: Arc<KeyRings>,
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
    pub async fn open(
        store: DynStore,
        clock: Arc<dyn Clock>,
        keys: Arc<KeyRings>,
    ) -> Result<Self, StoreError> {
        let start = Positions::heads(&*store).await?;
        let news = watch::Sender::new(Some(broadcast::Sender::new(BACKLOG)));
        Ok(Self {
            store,
            clock,
            keys,
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
                    tracing::warn!(error = %Chain(&error), "the revocation logs cannot be read; listeners go stale")
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
            Some(entries) => entries.into_iter().for_each(|entry| {
                self.hear(&entry);
                self.tell(News::Revoked(entry));
            }),
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

    /// What other issuers revoke is not good here either. All but keys is looked up in the store.
    fn hear(&self, entry: &[u8]) {
        if let Ok(OwnedRevocation {
            revocation: Revocation::Key { .. },
            organization,
        }) = serde_json::from_slice(entry)
        {
            self.keys.heard_of_revoked(organization);
        }
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

    /// The events for one listener, of what it may hear: the past since `resume`, or all of it, and then what is new.
    ///
    /// # Errors
    /// When the store cannot be read right now.
    pub async fn follow(
        &self,
        resume: Option<&str>,
        range: Range,
    ) -> Result<mpsc::Receiver<FeedEvent>, StoreError> {
        let news = self
            .news
            .borrow()
            .as_ref()
            .map(broadcast::Sender::subscribe);
        let (sender, events) = mpsc::channel(AHEAD);
        let Some(news) = news else { return Ok(events) };
        let at = self.clock.now();
        let heads = Positions::heads(&*self.store).await?;
        let listener = Listener {
            events: sender,
            store: Arc::clone(&self.store),
            range,
        };
        let resume = resume.and_then(Positions::parse);
        tokio::spawn(listener.run(resume, heads, at, news));
        Ok(events)
    }
}
