//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use machineauth_pingora::edge::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
