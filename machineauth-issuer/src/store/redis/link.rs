//! One connection to Redis that many calls share, replaced when it breaks.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::Failure;
use super::pipeline::Pipeline;
use super::script::Scripts;
use super::whereabouts::Whereabouts;

/// How long a call that may be sent twice waits for the first answer, before the time is over that it has in all.
const RESERVE: Duration = Duration::from_secs(1);
/// How long a commit waits for replicas.
const REPLICATION: Duration = Duration::from_secs(1);
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

/// A command, and what is said around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    command: &'a Cmd,
    /// How many replicas must have what it wrote before it is answered.
    replicas: u32,
    /// Whether another server of a cluster has sent us, which is about to hand the slot over.
    is_asking: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(command: &'a Cmd) -> Request<'a> {
        Request {
            command,
            replicas: 0,
            is_asking: false,
        }
    }

    pub(super) fn on_replicas(self, replicas: u32) -> Request<'a> {
        Request { replicas, ..self }
    }

    pub(super) fn asking(self) -> Request<'a> {
        Request {
            is_asking: true,
            ..self
        }
    }

    /// Whether it is answered later than it is done.
    pub(super) fn waits(&self) -> bool {
        self.replicas > 0
    }

    async fn query(&self, live: &mut Live, deadline: Instant) -> RedisResult<Value> {
        if !self.is_asking && !self.waits() {
            let (pipeline, connection) = (&live.pipeline, &live.connection);
            return pipeline.query(self.command, deadline, connection).await;
        }
        let mut all = redis::pipe();
        if self.is_asking {
            all.cmd("ASKING");
        }
        let at = all.len();
        all.add_command(self.command.clone());
        if self.waits() {
            let milliseconds = u64::try_from(REPLICATION.as_millis()).unwrap_or(u64::MAX);
            all.cmd("WAIT").arg(self.replicas).arg(milliseconds);
        }
        let all = all.ignore_errors();
        let mut answers: Vec<RedisResult<Value>> = all.query_async(&mut live.connection).await?;
        let after = answers.split_off(at + 1);
        let answer = answers.pop().unwrap_or(Ok(Value::Nil))?;
        for acknowledged in after {
            self.check_replicas(redis::from_redis_value(acknowledged?)?)?;
        }
        Ok(answer)
    }

    /// `WAIT` is about everything that the server had written when it ran the command, so also about a batch that it
    /// recognised as one that happened before.
    fn check_replicas(&self, acknowledged: u32) -> RedisResult<()> {
        if acknowledged >= self.replicas {
            return Ok(());
        }
        let what = "it was written, and too few replicas acknowledged that in time";
        Err((ErrorKind::Io, what).into())
    }
}

/// The shared connection, made when it is first needed.
pub(super) struct Link {
    whereabouts: Whereabouts,
    scripts: Arc<Scripts>,
    live: RwLock<Option<Live>>,
    /// Held while connecting; remembers the last failure.
    attempt: Mutex<Option<(Instant, Failure)>>,
    closed: AtomicBool,
}

/// A connection, and whether it is still there: the reading half notices an end before anybody sends.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    pipeline: Pipeline,
    connected: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(whereabouts: Whereabouts, scripts: Arc<Scripts>) -> Link {
        Link {
            whereabouts,
            scripts,
            live: RwLock::default(),
            attempt: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Sends a request and waits for its answer until `deadline`.
    pub(super) async fn call(
        &self,
        request: Request<'_>,
        resend: Resend,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        match resend {
            Resend::Never => self.send(request, deadline).await,
            Resend::Once => match self.send(request, deadline - RESERVE).await {
                Err(Failure::Lost(_)) => self.send(request, deadline).await,
                answer => answer,
            },
        }
    }

    /// Ends the connection for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.forget();
    }

    async fn send(&self, request: Request<'_>, deadline: Instant) -> Result<Value, Failure> {
        let mut live = timeout_at(deadline, self.live())
            .await
            .map_err(|_| Failure::Unreached(silent()))??;
        let answer = live.query(request, deadline).await;
        if matches!(&answer, Err(Failure::Refused(error)) if is_no_script(error)) {
            // Somebody flushed the scripts. Nothing was run, so the command may follow again.
            live.load(&self.scripts, deadline).await?;
            return live.query(request, deadline).await;
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
        let connecting = Box::pin(Live::connect(&self.whereabouts, &self.scripts));
        let connected = timeout(CONNECT, connecting).await;
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
    /// Connects, makes sure that the server takes writes, and loads the scripts.
    async fn connect(whereabouts: &Whereabouts, scripts: &Scripts) -> Result<Live, Failure> {
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
        // RESP3 only because the library then tells of a disconnection at once.
        let client = whereabouts.client(ProtocolVersion::RESP3).await;
        let connection = client
            .map_err(Failure::Unreached)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(Failure::Unreached)?;
        let mut live = Live {
            connection,
            pipeline: Pipeline::default(),
            connected,
        };
        let deadline = Instant::now() + CONNECT;
        live.check_role(deadline).await?;
        live.load(scripts, deadline).await?;
        Ok(live)
    }

    /// A replica may be behind, and takes no writes: after a fail-over, somebody else is the master.
    async fn check_role(&mut self, deadline: Instant) -> Result<(), Failure> {
        let role = redis::cmd("ROLE");
        let answer = self.query(Request::new(&role), deadline).await?;
        let is_replica = match &answer {
            Value::Array(parts) => {
                matches!(parts.first(), Some(Value::BulkString(role)) if role == b"slave")
            }
            _ => false,
        };
        if is_replica {
            return Err(Failure::Replica);
        }
        Ok(())
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

    async fn query(&mut self, request: Request<'_>, deadline: Instant) -> Result<Value, Failure> {
        timeout_at(deadline, request.query(self, deadline))
            .await
            .map_err(|_| Failure::Lost(silent()))?
            .map_err(Failure::of_an_answer)
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({:?})", self.whereabouts)
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
