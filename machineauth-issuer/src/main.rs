//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use machineauth_issuer::cli::Cli;
use machineauth_issuer::telemetry::Chain;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("machineauth-issuer: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}
