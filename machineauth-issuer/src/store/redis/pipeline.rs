//! What is asked at the same time leaves in one write and comes back in one read.
//!
//! A write to a socket costs more than many a command, and wakes a server that was about to rest. The Redis library joins
//! whatever lies in its queue, but the runtime runs its sender as soon as there is something to send, so there never is
//! more than one. Here the first request lets everything run that can; whoever asks meanwhile goes along.

use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// How many commands go together at most: the first waits for the answer to the last, and Redis should have something to
/// do while the next ones gather.
const MOST: usize = 16;

/// The commands that are about to be sent on a connection.
#[derive(Clone, Default)]
pub(super) struct Pipeline(Arc<Mutex<Vec<Waiting>>>);

/// A command, and who waits for its answer.
struct Waiting {
    command: Cmd,
    asker: oneshot::Sender<RedisResult<Value>>,
    /// How long the asker waits.
    deadline: Instant,
}

impl Pipeline {
    /// Sends a command, with those that others send now, and returns its answer. What could not be sent by the latest
    /// `deadline` among them never is.
    pub(super) async fn query(
        &self,
        command: &Cmd,
        deadline: Instant,
        connection: &MultiplexedConnection,
    ) -> RedisResult<Value> {
        let (asker, answer) = oneshot::channel();
        let waiting = Waiting {
            command: command.clone(),
            asker,
            deadline,
        };
        // In tasks of their own: who asked may go away, and the others still wait.
        match self.join(waiting) {
            Place::First => {
                let (pipeline, connection) = (self.clone(), connection.clone());
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    send(pipeline.take(), connection).await;
                });
            }
            Place::Between => {}
            Place::Last => {
                tokio::spawn(send(self.take(), connection.clone()));
            }
        }
        answer.await.unwrap_or_else(|_| Err(given_up()))
    }

    fn join(&self, waiting: Waiting) -> Place {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(waiting);
        match all.len() {
            1 => Place::First,
            MOST => Place::Last,
            _ => Place::Between,
        }
    }

    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which of those that go together a command is.
enum Place {
    /// It has to see that they go.
    First,
    Between,
    /// There is no room for more: they go now.
    Last,
}

async fn send(all: Vec<Waiting>, mut connection: MultiplexedConnection) {
    let mut pipe = redis::pipe();
    let mut askers = Vec::with_capacity(all.len());
    let mut last = Instant::now();
    for waiting in all {
        // Who has gone away was told that it did not happen in time.
        if !waiting.asker.is_closed() {
            pipe.add_command(waiting.command);
            askers.push(waiting.asker);
            last = last.max(waiting.deadline);
        }
    }
    if askers.is_empty() {
        return; // Others were the last ones and took them along.
    }
    let answers = pipe
        .ignore_errors()
        .query_async::<Vec<RedisResult<Value>>>(&mut connection);
    // Nobody waits any longer. The library does not send what nobody waits for, and a connection that nobody holds ends.
    let Ok(answers) = timeout_at(last, answers).await else {
        return;
    };
    let answers = answers.unwrap_or_else(|error| vec![Err(error); askers.len()]);
    for (asker, answer) in askers.into_iter().zip(answers) {
        // Who has gone away needs no answer.
        drop(asker.send(answer));
    }
}

/// The runtime ends, or nobody waits any longer.
fn given_up() -> RedisError {
    RedisError::from((ErrorKind::Io, "the connection was given up"))
}
