//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use machineauth_issuer::cli::{self, Cli};
use mimalloc::MiMalloc;

/// A request is a hundred small allocations, most of them the server's libraries': of what it costs beside the signature,
/// this one takes an eighth less than the C library's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit_code(Cli::parse().run().await)
}
