//! Logs: to standard error, for people in development and as JSON in production.

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
