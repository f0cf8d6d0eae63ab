//! Logs and error texts for operators. Logs go to standard error, for people in development and as JSON in production.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, Environment};

/// Starts logging as configured (`LOG`: a level, or directives as `info,machineauth_issuer=debug`).
///
/// # Errors
/// When the directives cannot be read.
pub fn init(config: &Config) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(&config.log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.environment {
        Environment::Development => builder.init(),
        Environment::Production => builder.json().init(),
    }
    Ok(())
}

/// An error with its causes, on one line.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
