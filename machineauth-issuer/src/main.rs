//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use machineauth_issuer::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit_code(Cli::parse().run().await)
}
