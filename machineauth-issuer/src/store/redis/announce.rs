//! Tells readers of logs in other processes that there is something to read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{ErrorKind, RedisResult};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, spawn};
use tokio::time::{Instant, sleep, timeout};

use super::script::CHANGES;
use super::servers::Servers;
use crate::store::changes::Changes;
use crate::store::{Batch, Log, Partition};

/// Revocations are announced with the commit that appends them. Audit events come with every token, so one process
/// announces them at most this often: a reader of the audit log is not in that hurry, and Redis has better to do.
const QUIET: Duration = Duration::from_millis(20);
/// How long the subscription may be silent before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(200);

const AUDIT: &str = "a";
const REVOCATIONS: &str = "r";
const BOTH: &str = "ar";

/// Decides what a commit announces.
#[derive(Debug)]
pub(super) struct Announcer(Arc<Announcements>);

#[derive(Debug)]
struct Announcements {
    servers: Arc<Servers>,
    /// When audit events were last announced.
    last: Mutex<Option<Instant>>,
    /// Whether somebody will announce the audit events that were kept quiet.
    pending: AtomicBool,
}

impl Announcer {
    pub(super) fn new(servers: Arc<Servers>) -> Announcer {
        Announcer(Arc::new(Announcements {
            servers,
            last: Mutex::default(),
            pending: AtomicBool::new(false),
        }))
    }

    /// What the commit of this batch says to everybody: a letter per log that grows.
    pub(super) fn with_commit(&self, batch: &Batch) -> &'static str {
        let (mut audit, mut revocations) = (false, false);
        for log in batch.appended() {
            match log {
                Log::Audit => audit = true,
                Log::Revocations => revocations = true,
            }
        }
        match (audit && self.may_speak(), revocations) {
            (true, true) => BOTH,
            (true, false) => AUDIT,
            (false, true) => REVOCATIONS,
            (false, false) => "",
        }
    }

    /// Whether audit events may be announced now; otherwise somebody does it a moment later.
    fn may_speak(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last + QUIET <= now) {
            *last = Some(now);
            return true;
        }
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            spawn(Arc::clone(&self.0).speak_later());
        }
        false
    }
}

impl Announcements {
    async fn speak_later(self: Arc<Self>) {
        sleep(QUIET).await;
        self.pending.store(false, Ordering::Release);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(CHANGES).arg(AUDIT);
        let published = self.servers.call::<i64>(Partition::SYSTEM, &publish).await;
        if let Err(error) = published {
            tracing::debug!(%error, "readers of the audit log will notice by polling");
        }
    }
}

/// Listens on a connection of its own and moves the counters that readers wait for.
#[derive(Debug)]
pub(super) struct Subscriber(AbortHandle);

impl Subscriber {
    /// Subscribes, and returns when that has worked or failed; a failure is tried again in the background, since
    /// readers poll as well.
    pub(super) async fn start(servers: Arc<Servers>, changes: Arc<Changes>) -> Subscriber {
        let (tried, first_try) = oneshot::channel();
        let listening = spawn(listen_for_ever(servers, changes, tried));
        let subscriber = Subscriber(listening.abort_handle());
        // An error means that the first try has failed, and with it the sender is gone.
        let _ = first_try.await;
        subscriber
    }

    pub(super) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn listen_for_ever(servers: Arc<Servers>, changes: Arc<Changes>, tried: oneshot::Sender<()>) {
    let mut tried = Some(tried);
    loop {
        if let Err(error) = listen(&servers, &changes, tried.take()).await {
            tracing::debug!(%error, "the subscription to changes of the store broke; subscribing again");
        }
        sleep(RETRY).await;
    }
}

async fn listen(
    servers: &Servers,
    changes: &Changes,
    subscribed: Option<oneshot::Sender<()>>,
) -> RedisResult<()> {
    let client = within_patience(servers.listener()).await?;
    let (mut sink, mut messages) = within_patience(client.get_async_pubsub()).await?.split();
    within_patience(sink.subscribe(CHANGES)).await?;
    // Something may have been said while nobody listened.
    Log::ALL.into_iter().for_each(|log| changes.moved(log));
    if let Some(subscribed) = subscribed {
        // Nobody waits for it when the store was dropped meanwhile.
        let _ = subscribed.send(());
    }
    loop {
        match timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => tell(changes, message.get_payload_bytes()),
            Ok(None) => return Ok(()),
            Err(_) => within_patience(sink.ping()).await?,
        }
    }
}

fn tell(changes: &Changes, letters: &[u8]) {
    for (log, name) in [(Log::Audit, AUDIT), (Log::Revocations, REVOCATIONS)] {
        if letters.contains(&name.as_bytes()[0]) {
            changes.moved(log);
        }
    }
}

async fn within_patience<T>(work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err((ErrorKind::Io, "no answer in time").into()))
}
