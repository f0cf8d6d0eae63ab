//! How a command ends when it does not end well.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::telemetry::Chain;

/// What the exit codes mean, for `--help`.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done; 1 refused by the server, or failed; 2 wrong usage; \
    3 the server cannot be reached.";

/// Why a command did not do what it was asked, in one sentence. Never a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line or the environment cannot be followed.
    #[error("{0}")]
    Usage(String),
    /// The server refused, or something failed.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered.
    #[error("{0}")]
    Unreachable(String),
    /// Whoever read the output has seen enough.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.problems().join("; "))
    }
}

impl From<io::Error> for Failure {
    /// From writing to the standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Refused(format!("cannot write to the standard output: {error}")),
        }
    }
}

/// Says on the standard error why a command failed, and gives the process its exit code.
pub fn exit_code(outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    let code = match (error.downcast_ref(), error.downcast_ref::<io::Error>()) {
        (Some(failure), _) => Failure::code(failure),
        (None, Some(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        (None, _) => 1,
    };
    if code != 0 {
        eprintln!("machineauth-issuer: {}", Chain(&*error));
    }
    ExitCode::from(code)
}
