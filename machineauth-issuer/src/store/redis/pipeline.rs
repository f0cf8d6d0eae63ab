//! What is asked at the same time leaves in one write and comes back in one read.
//!
//! A write to a socket costs more than many a command, and wakes a server that was about to rest. The Redis library joins
//! whatever lies in its queue, but the runtime runs its sender as soon as there is something to send, so there never is
//! more than one. Here the first request lets everything run that can; whoever asks meanwhile goes along.

use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::oneshot;

/// How many commands go together at most: the first waits for the answer to the last, and Redis should have something to
/// do while the next ones gather.
const MOST: usize = 16;

/// The commands that are about to be sent on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipeline(Arc<Mutex<Vec<Waiting>>>);

/// A command, and who waits for its answer.
#[derive(Debug)]
struct Waiting {
    command: Cmd,
    asker: oneshot::Sender<RedisResult<Value>>,
}

impl Pipeline {
    /// Sends a command, with those that others send now, and returns its answer.
    pub(super) async fn query(
        &self,
        command: &Cmd,
        connection: &MultiplexedConnection,
    ) -> RedisResult<Value> {
        let (asker, answer) = oneshot::channel();
        let command = command.clone();
        // In tasks of their own: who asked may go away, and the others still wait.
        match self.join(Waiting { command, asker }) {
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
    for Waiting { command, asker } in all {
        pipe.add_command(command);
        askers.push(asker);
    }
    if askers.is_empty() {
        return; // Others were the last ones and took them along.
    }
    let answers: RedisResult<Vec<RedisResult<Value>>> =
        pipe.ignore_errors().query_async(&mut connection).await;
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => vec![Err(error); askers.len()],
    };
    for (asker, answer) in askers.into_iter().zip(answers) {
        // Who has gone away needs no answer.
        drop(asker.send(answer));
    }
}

/// The runtime ends, or the task that was to send was lost to a panic.
fn given_up() -> RedisError {
    RedisError::from((ErrorKind::Io, "the connection was given up"))
}
