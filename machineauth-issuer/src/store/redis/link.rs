//! One connection to Redis that many calls share, replaced when it breaks.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind,
    Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::script::{Names, Scripts};
use crate::store::{FORMAT, Incompatibility, PARTITIONS, StoreError};

/// How long a call may take in all, however often it is tried.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a call that may be sent twice waits for the first answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a failure to connect answers other calls, so that an outage is not a storm of attempts.
const COOL_DOWN: Duration = Duration::from_millis(50);
/// How many requests may wait for the socket before their senders do.
const QUEUE: usize = 1024;

/// Whether a command may be sent again when its answer was lost. The Redis library never does so by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resend {
    /// It may have happened, and doing it twice is not the same as doing it once.
    Never,
    /// It reads, or it recognises that it happened.
    Once,
}

/// The shared connection, made when it is first needed.
pub(super) struct Link {
    client: Client,
    scripts: Scripts,
    live: RwLock<Option<Live>>,
    /// Held while connecting; remembers the last failure.
    attempt: Mutex<Option<(Instant, Failure)>>,
    closed: AtomicBool,
}

/// A connection, and whether it is still there: the reading half notices an end before anybody sends.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    connected: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Failure {
    /// There was no connection, so nothing was sent.
    Unreached(RedisError),
    /// The connection broke, or stayed silent; what was sent may or may not have happened.
    Lost(RedisError),
    /// Redis said no.
    Refused(RedisError),
    /// Redis holds a store that is not for this program.
    Incompatible(Incompatibility),
}

impl Link {
    pub(super) fn new(client: Client) -> Link {
        Link {
            client,
            scripts: Scripts::new(),
            live: RwLock::default(),
            attempt: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// Connects, unless there is a connection.
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        self.live().await.map(drop).map_err(StoreError::from)
    }

    /// Sends a command and waits for its answer: at most 2 seconds.
    pub(super) async fn call(&self, command: &Cmd, resend: Resend) -> Result<Value, StoreError> {
        let deadline = Instant::now() + DEADLINE;
        let answer = match resend {
            Resend::Never => self.send(command, deadline).await,
            Resend::Once => match self.send(command, deadline - (DEADLINE - PATIENCE)).await {
                Err(Failure::Lost(_)) => self.send(command, deadline).await,
                answer => answer,
            },
        };
        answer.map_err(StoreError::from)
    }

    /// Ends the connection for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.forget();
    }

    async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        let mut live = timeout_at(deadline, self.live())
            .await
            .map_err(|_| Failure::Unreached(silent()))??;
        let answer = live.query(command, deadline).await;
        if matches!(&answer, Err(Failure::Refused(error)) if is_no_script(error)) {
            // Somebody flushed the scripts. Nothing was run, so the command may follow again.
            live.load(&self.scripts, deadline).await?;
            return live.query(command, deadline).await;
        }
        if answer.as_ref().is_err_and(Failure::is_of_the_connection) {
            self.forget_this(&live);
        }
        answer
    }

    async fn live(&self) -> Result<Live, Failure> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let asked = Instant::now();
        let mut last = self.attempt.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Failure::Unreached(closed()));
        }
        if let Some((at, failure)) = &*last
            && asked < *at + COOL_DOWN
        {
            return Err(failure.clone());
        }
        let connected = timeout(CONNECT, Live::connect(&self.client, &self.scripts)).await;
        match connected.unwrap_or_else(|_| Err(Failure::Unreached(silent()))) {
            Ok(live) => {
                *last = None;
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(failure) => {
                *last = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    fn current(&self) -> Option<Live> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| live.is_connected()).cloned()
    }

    fn forget(&self) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Drops a broken connection, unless somebody has replaced it already.
    fn forget_this(&self, broken: &Live) {
        broken.connected.store(false, Ordering::Release);
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| !live.is_connected()) {
            *live = None;
        }
    }
}

impl Live {
    /// Connects, makes sure that the store is one for this program, and loads the scripts.
    async fn connect(client: &Client, scripts: &Scripts) -> Result<Live, Failure> {
        let connected = Arc::new(AtomicBool::new(true));
        let ended = Arc::clone(&connected);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None) // Every call has a deadline of its own.
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    ended.store(false, Ordering::Release);
                }
                Ok::<(), std::convert::Infallible>(())
            });
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(Failure::Unreached)?;
        let mut live = Live {
            connection,
            connected,
        };
        let deadline = Instant::now() + CONNECT;
        live.check_format(deadline).await?;
        live.load(scripts, deadline).await?;
        Ok(live)
    }

    async fn check_format(&mut self, deadline: Instant) -> Result<(), Failure> {
        let mut open = redis::cmd("EVAL");
        open.arg(include_str!("lua/open.lua"))
            .arg(1)
            .arg(Names::format())
            .arg(FORMAT)
            .arg(PARTITIONS);
        let answer = self.query(&open, deadline).await?;
        let (format, partitions): (Option<u64>, Option<u64>) =
            redis::from_redis_value(answer).map_err(|error| Failure::Refused(error.into()))?;
        Incompatibility::check(format.unwrap_or_default(), partitions.unwrap_or_default())
            .map_err(Failure::Incompatible)
    }

    async fn load(&mut self, scripts: &Scripts, deadline: Instant) -> Result<(), Failure> {
        for script in scripts.all() {
            let load = script.load_async(&mut self.connection);
            timeout_at(deadline, load)
                .await
                .map_err(|_| Failure::Lost(silent()))?
                .map_err(Failure::of_an_answer)?;
        }
        Ok(())
    }

    async fn query(&mut self, command: &Cmd, deadline: Instant) -> Result<Value, Failure> {
        timeout_at(deadline, command.query_async(&mut self.connection))
            .await
            .map_err(|_| Failure::Lost(silent()))?
            .map_err(Failure::of_an_answer)
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }
}

impl Failure {
    fn of_an_answer(error: RedisError) -> Failure {
        if error.is_io_error() || error.is_unrecoverable_error() {
            Failure::Lost(error)
        } else {
            Failure::Refused(error)
        }
    }

    /// Whether another connection may fare better: this one broke, or leads to a server that was demoted.
    fn is_of_the_connection(&self) -> bool {
        match self {
            Failure::Lost(_) => true,
            Failure::Refused(error) => matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
            ),
            Failure::Unreached(_) | Failure::Incompatible(_) => false,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Unreached(error) | Failure::Lost(error) | Failure::Refused(error) => {
                StoreError::unavailable(error)
            }
            Failure::Incompatible(why) => StoreError::Incompatible { why },
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.client.get_connection_info().addr();
        write!(f, "Link({address})")
    }
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

fn silent() -> RedisError {
    RedisError::from((ErrorKind::Io, "no answer in time"))
}

fn closed() -> RedisError {
    RedisError::from((ErrorKind::Client, "the store was closed"))
}
