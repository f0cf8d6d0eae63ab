//! What a cache is made of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::snapshot::SnapshotFile;
use super::source::FetchKeys;
use super::{JwksCache, Shared};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind};

/// Sets the limits of a [`JwksCache`].
#[derive(Debug)]
pub struct JwksCacheBuilder {
    pub(super) source: Box<dyn FetchKeys>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) snapshot_file: Option<SnapshotFile>,
}

impl JwksCacheBuilder {
    pub(super) fn new(source: Box<dyn FetchKeys>) -> Self {
        Self {
            source,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            snapshot_file: None,
        }
    }

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
        let shared = Shared::new(self);
        shared.start_warm();
        Ok(JwksCache(Arc::new(shared)))
    }
}

/// How often the source is asked, and how long its keys serve.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) cool_down: Duration,
    pub(super) refresh_every: Duration,
    pub(super) max_age: Duration,
    pub(super) patience: Duration,
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
    pub(super) fn refresh_after(&self, fresh_for: Option<Duration>) -> Duration {
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
