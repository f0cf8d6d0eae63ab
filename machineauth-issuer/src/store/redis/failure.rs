//! Why Redis did not do what it was asked.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// Why a request had no answer, and what is known of what became of it.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// There was no connection, so nothing was sent.
    Unreached(RedisError),
    /// The server is a replica, so nothing was sent.
    Replica,
    /// The connection broke, or stayed silent; what was sent may or may not have happened.
    Lost(RedisError),
    /// Redis said no.
    Refused(RedisError),
}

impl Failure {
    pub(super) fn of_an_answer(error: RedisError) -> Failure {
        if error.is_io_error() || error.is_unrecoverable_error() {
            Failure::Lost(error)
        } else {
            Failure::Refused(error)
        }
    }

    /// Whether another connection may fare better: this one broke, or leads to a server that was demoted.
    pub(super) fn is_of_the_connection(&self) -> bool {
        match self {
            Failure::Lost(_) => true,
            Failure::Refused(_) => {
                matches!(
                    self.server_error(),
                    Some(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
                )
            }
            Failure::Unreached(_) | Failure::Replica => false,
        }
    }

    /// What the server said, where it said no.
    pub(super) fn server_error(&self) -> Option<ServerErrorKind> {
        match self {
            Failure::Refused(error) => match error.kind() {
                ErrorKind::Server(kind) => Some(kind),
                _ => None,
            },
            Failure::Unreached(_) | Failure::Replica | Failure::Lost(_) => None,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Unreached(error) | Failure::Lost(error) | Failure::Refused(error) => {
                StoreError::unavailable(error)
            }
            Failure::Replica => StoreError::unavailable(
                "the Redis server is a replica, which takes no writes: give the address of its master, or of its \
                 Sentinels",
            ),
        }
    }
}
