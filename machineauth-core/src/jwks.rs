//! The issuer's published keys, kept at hand (RFC 7517 §5).
//!
//! [`JwksCache`] answers from memory. It asks its source when a token names a key that it does not know, or when what
//! it has is due for a refresh, and is built so that nobody can make it ask too often, wait too long, or forget good
//! keys:
//!
//! * everybody who misses a key waits for one and the same fetch, for a bounded time;
//! * after each attempt, successful or not, the source is left alone for the cool-down, however many unknown keys
//!   are asked for meanwhile; only that the issuer revokes a key ends it, since that key has a successor;
//! * a key that was asked for and is not there is not asked for again for two cool-downs, and no more than a thousand
//!   requests wait at a time;
//! * the issuer's `Cache-Control` says when to ask again, but not sooner than the cool-down and not later than the
//!   refresh interval; an `ETag` saves sending what has not changed;
//! * an answer replaces the keys only when it is a key set with at least one usable key;
//! * while the source is away the last good keys serve, up to a stated age.
//!
//! # Starting
//!
//! * Empty, the default: the first token waits for the keys.
//! * Not at all without keys: [`JwksCache::load`].
//! * Warm: [`JwksCacheBuilder::snapshot_file`] keeps the last good keys in a file.
//!
//! [`JwksCache::health`] is for readiness checks and metrics.

mod builder;
mod fetching;
mod last_good;
mod missing;
mod snapshot;
mod source;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use builder::JwksCacheBuilder;
pub use last_good::Keys;
pub use source::{AnswerFuture, FetchError, FetchFuture, FetchKeys, KeysAnswer};

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind};
use builder::Limits;
use fetching::{Fetching, WaitingRoom};
use last_good::LastGood;
use missing::MissingKeys;
use snapshot::{Snapshot, SnapshotFile};

/// One attempt may take this long, whatever the source does.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The last good keys of one issuer. Clones share them.
#[derive(Clone, Debug)]
pub struct JwksCache(Arc<Shared>);

impl JwksCache {
    /// A cache with the default limits, which [`JwksCacheBuilder`] states. Nothing is fetched before it is needed.
    pub fn new(source: impl FetchKeys + 'static) -> Self {
        Self(Arc::new(Shared::new(Self::builder(source))))
    }

    /// A cache with limits of its own.
    pub fn builder(source: impl FetchKeys + 'static) -> JwksCacheBuilder {
        JwksCacheBuilder::new(Box::new(source))
    }

    /// Asks the source for its keys: for a server that would rather not start than start without.
    ///
    /// # Errors
    /// [`ErrorKind::KeysUnavailable`] when there are none after the [patience](JwksCacheBuilder::patience), neither
    /// from the source nor from a snapshot.
    pub async fn load(&self) -> Result<(), Error> {
        self.refresh().await;
        self.current(self.0.clock.now()).map(drop)
    }

    /// How the cache is doing. Asks nobody.
    pub fn health(&self) -> KeysHealth {
        let shared = &self.0;
        let now = shared.clock.now();
        let keys = shared.last_good.keys();
        let fetched_at = shared.last_good.fetched_at();
        let troubles = *shared.troubles();
        KeysHealth {
            usable: shared.last_good.are_usable(now),
            keys: keys.as_ref().map_or(0, |keys| keys.set().len()),
            age: keys.map(|_| now.duration_since(fetched_at)),
            failures: troubles.failures,
            last_failure: troubles.last,
        }
    }

    /// The keys in force at `now`.
    ///
    /// When they are due for a refresh, one starts in the background; this call never waits.
    ///
    /// # Errors
    /// [`ErrorKind::KeysUnavailable`] while no keys are known, or when the last good ones are older than the maximum
    /// age.
    pub fn current(&self, now: Timestamp) -> Result<Arc<Keys>, Error> {
        self.generation(now)?;
        self.0.last_good.keys().ok_or_else(unavailable)
    }

    /// The generation of the keys in force at `now`, without touching the keys: what a warm check asks.
    ///
    /// # Errors
    /// As [`JwksCache::current`].
    pub fn generation(&self, now: Timestamp) -> Result<u64, Error> {
        let last_good = &self.0.last_good;
        if last_good.are_due(now) {
            self.refresh_in_background(now);
        }
        if !last_good.are_usable(now) {
            return Err(unavailable());
        }
        Ok(last_good.generation())
    }

    /// Asks the source for its present keys, unless somebody did within the cool-down; waits for the answer, and for
    /// that of an attempt under way, but not beyond the [patience](JwksCacheBuilder::patience).
    ///
    /// There is nothing to learn from the outcome but to look again. A caller that goes away does not stop the
    /// attempt. Call it inside a Tokio runtime with time enabled; elsewhere it does nothing.
    pub async fn refresh(&self) {
        self.wait_for_fetch(self.0.clock.now()).await;
    }

    /// As [`JwksCache::refresh`], for a key called `kid`: nothing happens when the source was asked for that one within
    /// two cool-downs, and did not have it.
    pub async fn refresh_for(&self, kid: &str) {
        let shared = &self.0;
        let now = shared.clock.now();
        if shared.missing.has(kid, now) {
            return;
        }
        self.wait_for_fetch(now).await;
        // An outage says nothing about the key; and neither does an answer to an older question.
        let answered = shared.last_good.fetched_at() >= now;
        let keys = shared.last_good.keys();
        if answered && keys.is_some_and(|keys| !keys.set().has(kid)) {
            shared.missing.note(kid, now, 2 * shared.limits.cool_down);
        }
    }

    /// Lets the source be asked at once: for who has it from the issuer that the keys have changed.
    pub(crate) fn end_cool_down(&self) {
        self.0.fetching().end_cool_down();
    }

    async fn wait_for_fetch(&self, now: Timestamp) {
        let Some(mut landing) = self.join_or_start_fetch(now) else {
            return;
        };
        let Some(_place) = self.0.waiting.enter() else {
            return;
        };
        // The sender sends nothing: it goes away when the attempt is over, even by a panic.
        let landed = async { while landing.changed().await.is_ok() {} };
        // When patience ends first, the keys are simply still the old ones.
        let _ = timeout(self.0.limits.patience, landed).await;
    }

    #[cold]
    fn refresh_in_background(&self, now: Timestamp) {
        // Whatever comes of it, no request needs to look before the cool-down is over.
        let shared = &self.0;
        let next_look = now.saturating_add(shared.limits.cool_down);
        shared.last_good.refresh_at(next_look);
        self.join_or_start_fetch(now);
    }

    fn join_or_start_fetch(&self, now: Timestamp) -> Option<watch::Receiver<()>> {
        let mut fetching = self.0.fetching();
        if let Some(landing) = fetching.under_way() {
            return Some(landing);
        }
        let runtime = Handle::try_current().ok()?;
        let has_keys = self.0.last_good.keys().is_some();
        if !fetching.may_start(now, has_keys, self.0.limits.cool_down) {
            return None;
        }
        let (in_flight, landing) = watch::channel(());
        fetching.started(now, landing.clone());
        let shared = Arc::clone(&self.0);
        // A task of its own: a client that hangs up must not end a fetch that others wait for.
        runtime.spawn(async move {
            shared.fetch_once(now).await;
            drop(in_flight);
        });
        Some(landing)
    }
}

/// How a [`JwksCache`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeysHealth {
    /// There are keys, and they are not too old: tokens can be verified.
    pub usable: bool,
    /// How many keys there are.
    pub keys: usize,
    /// How long ago the source was asked for the keys that are in force; `None` without keys.
    pub age: Option<Duration>,
    /// How many attempts have failed since the last one that did not.
    pub failures: u64,
    /// Why the last of them failed.
    pub last_failure: Option<FetchError>,
}

/// What the clones share.
#[derive(Debug)]
struct Shared {
    source: Box<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    last_good: LastGood,
    fetching: Mutex<Fetching>,
    waiting: WaitingRoom,
    missing: MissingKeys,
    troubles: Mutex<Troubles>,
    snapshot_file: Option<SnapshotFile>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Troubles {
    failures: u64,
    last: Option<FetchError>,
}

impl Shared {
    fn new(built_of: JwksCacheBuilder) -> Self {
        Self {
            source: built_of.source,
            clock: built_of.clock,
            limits: built_of.limits,
            last_good: LastGood::none(),
            fetching: Mutex::default(),
            waiting: WaitingRoom::default(),
            missing: MissingKeys::default(),
            troubles: Mutex::default(),
            snapshot_file: built_of.snapshot_file,
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_once(&self, asked_at: Timestamp) {
        let known = self.last_good.keys();
        let etag = known.as_ref().and_then(|keys| keys.etag.as_deref());
        let answer = timeout(FETCH_TIMEOUT, self.source.fetch_if_changed(etag)).await;
        let accepted = answer
            .unwrap_or(Err(FetchError::TimedOut))
            .and_then(|answer| self.accept(answer, asked_at));
        match accepted {
            Ok(()) => {
                *self.troubles() = Troubles::default();
                self.keep_snapshot(asked_at);
            }
            Err(error) => {
                let mut troubles = self.troubles();
                troubles.failures += 1;
                troubles.last = Some(error);
                let serving = known.is_some();
                tracing::warn!(source = ?self.source, %error, serving_last_good_keys = serving, "fetching keys failed");
            }
        }
    }

    fn accept(&self, answer: KeysAnswer, asked_at: Timestamp) -> Result<(), FetchError> {
        let new = self.last_good.accept(answer, asked_at, &self.limits)?;
        if let Some(keys) = new {
            let (generation, set) = (keys.generation(), keys.set());
            tracing::info!(source = ?self.source, generation, keys = set.len(), skipped = set.skipped(), "new keys");
        }
        Ok(())
    }

    fn start_warm(&self) {
        let Some(file) = &self.snapshot_file else {
            return;
        };
        match file.read() {
            Ok(snapshot) => self.take_snapshot(snapshot),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(file = ?file.0, %error, "the key snapshot cannot be read"),
        }
    }

    fn take_snapshot(&self, snapshot: Snapshot) {
        let file = self.snapshot_file.as_ref().map(|file| &file.0);
        if snapshot.source != format!("{:?}", self.source) {
            tracing::warn!(?file, "the key snapshot is of another source");
            return;
        }
        // A time in the future would keep these keys in force for too long.
        let fetched_at = snapshot.fetched_at.min(self.clock.now());
        if let Err(error) = self.accept(Bytes::from(snapshot.document).into(), fetched_at) {
            tracing::warn!(?file, %error, "the key snapshot has no keys");
            return;
        }
        // The first use asks for present ones.
        self.last_good.refresh_at(Timestamp::default());
    }

    fn keep_snapshot(&self, fetched_at: Timestamp) {
        let (Some(file), Some(keys)) = (self.snapshot_file.clone(), self.last_good.keys()) else {
            return;
        };
        let snapshot = Snapshot {
            source: format!("{:?}", self.source),
            fetched_at,
            document: String::from_utf8_lossy(&keys.document).into_owned(),
        };
        // Nobody waits for it: the next one is minutes away.
        drop(spawn_blocking(move || {
            if let Err(error) = file.write(&snapshot) {
                tracing::warn!(file = ?file.0, %error, "the key snapshot cannot be written");
            }
        }));
    }
}

fn unavailable() -> Error {
    ErrorKind::KeysUnavailable.into()
}

#[cfg(test)]
mod tests;
