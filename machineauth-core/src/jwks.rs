//! The issuer's published keys, kept at hand (RFC 7517 §5).
//!
//! [`JwksCache`] answers from memory. It asks its source when a token names a key that it does not know, or when what
//! it has is due for a refresh, and is built so that nobody can make it ask too often, wait too long, or forget good
//! keys:
//!
//! * everybody who misses a key waits for one and the same fetch, for a bounded time;
//! * after each attempt, successful or not, the source is left alone for the cool-down, however many unknown keys
//!   are asked for meanwhile;
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

mod missing;
mod snapshot;
mod source;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use missing::MissingKeys;
use snapshot::{Snapshot, SnapshotFile};
pub use source::{AnswerFuture, FetchError, FetchFuture, FetchKeys, KeysAnswer};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::crypto;
use crate::error::{Error, ErrorKind};
use crate::keyset::KeySet;

/// One attempt may take this long, whatever the source does.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The first pause before any keys are known; it doubles up to the cool-down. An API that starts a moment before its
/// issuer should not refuse everybody for a whole cool-down.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Each request that waits takes memory, so a flood may not have all of them wait.
const MOST_WAITING: usize = 1000;

/// A key set together with the number that tells it from the ones before.
#[derive(Debug)]
pub struct Keys {
    set: KeySet,
    generation: u64,
    /// What the set was parsed from: the same document again is no new generation.
    document: Bytes,
    etag: Option<String>,
}

impl Keys {
    /// The keys.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Moves each time the published document changes.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The last good keys of one issuer. Clones share them.
#[derive(Clone, Debug)]
pub struct JwksCache(Arc<Shared>);

impl JwksCache {
    /// A cache with the default limits, which [`JwksCacheBuilder`] states. Nothing is fetched before it is needed.
    pub fn new(source: impl FetchKeys + 'static) -> Self {
        Self(Arc::new(Shared::new(
            Box::new(source),
            Arc::new(SystemClock),
            Limits::default(),
            None,
        )))
    }

    /// A cache with limits of its own.
    pub fn builder(source: impl FetchKeys + 'static) -> JwksCacheBuilder {
        JwksCacheBuilder {
            source: Box::new(source),
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            snapshot_file: None,
        }
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
        let keys = shared.keys.load();
        let fetched_at = Timestamp::from_millis(shared.fetched_at.load(Ordering::Acquire));
        let troubles = *shared.troubles();
        KeysHealth {
            usable: now.as_millis() < shared.usable_until.load(Ordering::Acquire),
            keys: keys.as_ref().map_or(0, |keys| keys.set.len()),
            age: keys.as_ref().map(|_| now.duration_since(fetched_at)),
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
        self.0.keys.load_full().ok_or_else(unavailable)
    }

    /// The generation of the keys in force at `now`, without touching the keys: what a warm check asks.
    ///
    /// # Errors
    /// As [`JwksCache::current`].
    pub fn generation(&self, now: Timestamp) -> Result<u64, Error> {
        let shared = &self.0;
        if now.as_millis() >= shared.refresh_at.load(Ordering::Relaxed) {
            self.refresh_in_background(now);
        }
        if now.as_millis() >= shared.usable_until.load(Ordering::Acquire) {
            return Err(unavailable());
        }
        Ok(shared.generation.load(Ordering::Acquire))
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
        let answered = shared.fetched_at.load(Ordering::Acquire) >= now.as_millis();
        let keys = shared.keys.load();
        if answered && keys.as_ref().is_some_and(|keys| !keys.set.has(kid)) {
            shared.missing.note(kid, now, 2 * shared.limits.cool_down);
        }
    }

    async fn wait_for_fetch(&self, now: Timestamp) {
        let Some(mut landing) = self.join_or_start_fetch(now) else {
            return;
        };
        let Some(_place) = self.0.place_to_wait() else {
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
        self.0.refresh_due(now, self.0.limits.cool_down);
        self.join_or_start_fetch(now);
    }

    fn join_or_start_fetch(&self, now: Timestamp) -> Option<watch::Receiver<()>> {
        let mut fetching = self.0.fetching();
        if let Some(landing) = fetching.under_way() {
            return Some(landing);
        }
        let runtime = Handle::try_current().ok()?;
        let has_keys = self.0.keys.load().is_some();
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

/// Sets the limits of a [`JwksCache`].
#[derive(Debug)]
pub struct JwksCacheBuilder {
    source: Box<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    snapshot_file: Option<SnapshotFile>,
}

impl JwksCacheBuilder {
    /// How long the source is left alone after each attempt. Default 30 s, at least 1 s.
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.limits.cool_down = cool_down;
        self
    }

    /// How old the keys may get before the next use starts a refresh in the background. Default 5 min, at least the
    /// cool-down. The source may ask for less with `Cache-Control: max-age`, down to the cool-down. Each time it is
    /// shortened by a random part of up to a tenth, so that a fleet does not ask at once.
    #[must_use]
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.limits.refresh_every = interval;
        self
    }

    /// How long the last good keys serve while the source fails. Default 24 h, at least the refresh interval.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.limits.max_age = max_age;
        self
    }

    /// How long one request waits for keys at most. Default 5 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.limits.patience = patience;
        self
    }

    /// Where the time comes from. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps the last good keys in this file, and starts with what is in it: they serve until they are older than the
    /// [maximum age](JwksCacheBuilder::max_age), and are refreshed at the first use.
    ///
    /// Keep the file where only this server can write: it decides which tokens are good. A file that cannot be read, or
    /// that has keys of another source, is ignored, and the log says so.
    #[must_use]
    pub fn snapshot_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot_file = Some(SnapshotFile(path.into()));
        self
    }

    /// The cache.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when the limits contradict each other.
    pub fn build(self) -> Result<JwksCache, Error> {
        self.limits.validate()?;
        let shared = Shared::new(self.source, self.clock, self.limits, self.snapshot_file);
        shared.start_warm();
        Ok(JwksCache(Arc::new(shared)))
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

#[derive(Debug)]
struct Limits {
    cool_down: Duration,
    refresh_every: Duration,
    max_age: Duration,
    patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cool_down: Duration::from_secs(30),
            refresh_every: Duration::from_secs(5 * 60),
            max_age: Duration::from_secs(24 * 60 * 60),
            patience: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The source may want to be asked sooner, within reason, and not later.
    fn refresh_after(&self, fresh_for: Option<Duration>) -> Duration {
        fresh_for.map_or(self.refresh_every, |wish| {
            wish.clamp(self.cool_down, self.refresh_every)
        })
    }

    fn validate(&self) -> Result<(), Error> {
        let wrong = |detail| Err(Error::because(ErrorKind::InvalidConfiguration, detail));
        if self.cool_down < Duration::from_secs(1) {
            return wrong("the key cache's cool-down must be at least 1 s");
        }
        if self.refresh_every < self.cool_down {
            return wrong(
                "the key cache's refresh interval must not be shorter than its cool-down",
            );
        }
        if self.max_age < self.refresh_every {
            return wrong(
                "the key cache's maximum age must not be shorter than its refresh interval",
            );
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Shared {
    source: Box<dyn FetchKeys>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    keys: ArcSwapOption<Keys>,
    /// Of `keys`, and stored after them; zero while there are none.
    generation: AtomicU64,
    /// Unix milliseconds; zero while there are no keys.
    usable_until: AtomicU64,
    /// Unix milliseconds; never, while there are no keys: then requests ask by themselves.
    refresh_at: AtomicU64,
    /// Unix milliseconds: when the source was asked for what it answered last.
    fetched_at: AtomicU64,
    fetching: Mutex<Fetching>,
    waiting: AtomicUsize,
    missing: MissingKeys,
    troubles: Mutex<Troubles>,
    snapshot_file: Option<SnapshotFile>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Troubles {
    failures: u64,
    last: Option<FetchError>,
}

/// A place among those who wait, given back at the end.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn new(
        source: Box<dyn FetchKeys>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        snapshot_file: Option<SnapshotFile>,
    ) -> Self {
        Self {
            source,
            clock,
            limits,
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            usable_until: AtomicU64::new(0),
            refresh_at: AtomicU64::new(u64::MAX),
            fetched_at: AtomicU64::new(0),
            fetching: Mutex::default(),
            waiting: AtomicUsize::new(0),
            missing: MissingKeys::default(),
            troubles: Mutex::default(),
            snapshot_file,
        }
    }

    fn place_to_wait(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::AcqRel) < MOST_WAITING).then_some(place)
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_once(&self, asked_at: Timestamp) {
        let known = self.keys.load_full();
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
        match answer.document {
            Some(document) => self.take(document, answer.etag)?,
            // 304, and nothing that could be unchanged.
            None if self.keys.load().is_none() => return Err(FetchError::Status(304)),
            None => {}
        }
        // Counted from before the question: an answer that was long under way is as old as that.
        self.fetched_at
            .store(asked_at.as_millis(), Ordering::Release);
        let usable_until = asked_at.saturating_add(self.limits.max_age);
        self.usable_until
            .store(usable_until.as_millis(), Ordering::Release);
        self.refresh_due(
            asked_at,
            shortened(self.limits.refresh_after(answer.fresh_for)),
        );
        Ok(())
    }

    /// Parses first and swaps then, so that a bad answer changes nothing.
    fn take(&self, document: Bytes, etag: Option<String>) -> Result<(), FetchError> {
        let known = self.keys.load_full();
        if known
            .as_ref()
            .is_some_and(|keys| keys.document == document && keys.etag == etag)
        {
            return Ok(());
        }
        let set = KeySet::parse(&document).map_err(|_| FetchError::InvalidKeySet)?;
        if set.is_empty() {
            return Err(FetchError::NoUsableKey);
        }
        let same = known.as_ref().is_some_and(|keys| keys.document == document);
        let generation = known.map_or(0, |keys| keys.generation) + u64::from(!same);
        if !same {
            tracing::info!(source = ?self.source, generation, keys = set.len(), skipped = set.skipped(), "new keys");
        }
        self.keys.store(Some(Arc::new(Keys {
            set,
            generation,
            document,
            etag,
        })));
        self.generation.store(generation, Ordering::Release);
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
        self.refresh_at.store(0, Ordering::Relaxed);
    }

    fn keep_snapshot(&self, fetched_at: Timestamp) {
        let (Some(file), Some(keys)) = (self.snapshot_file.clone(), self.keys.load_full()) else {
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

    fn refresh_due(&self, now: Timestamp, after: Duration) {
        let at = now.saturating_add(after).as_millis();
        self.refresh_at.store(at, Ordering::Relaxed);
    }
}

/// By a random part of up to a tenth.
fn shortened(interval: Duration) -> Duration {
    let [random] = crypto::random::<1>();
    interval.mul_f64(1.0 - f64::from(random) / 2550.0)
}

/// When the source was asked last, and whether the answer is still awaited.
#[derive(Debug, Default)]
struct Fetching {
    last_start: Option<Timestamp>,
    attempts: u32,
    landing: Option<watch::Receiver<()>>,
}

impl Fetching {
    fn under_way(&self) -> Option<watch::Receiver<()>> {
        let landing = self.landing.as_ref()?;
        landing.has_changed().is_ok().then(|| landing.clone())
    }

    fn may_start(&self, now: Timestamp, has_keys: bool, cool_down: Duration) -> bool {
        let Some(last_start) = self.last_start else {
            return true;
        };
        let pause = if has_keys {
            cool_down
        } else {
            let doublings = self.attempts.saturating_sub(1).min(16);
            cool_down.min(FIRST_PAUSE * (1 << doublings))
        };
        // A clock that was put back must not freeze the cache until it has caught up.
        now < last_start || now.duration_since(last_start) >= pause
    }

    fn started(&mut self, now: Timestamp, landing: watch::Receiver<()>) {
        self.last_start = Some(now);
        self.attempts = self.attempts.saturating_add(1);
        self.landing = Some(landing);
    }
}

fn unavailable() -> Error {
    ErrorKind::KeysUnavailable.into()
}

#[cfg(test)]
mod tests;
