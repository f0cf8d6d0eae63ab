//! The binary: parses the command line and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use machineauth_pingora::edge::cli::Cli;
use mimalloc::MiMalloc;

/// Pingora puts futures of some 80 KiB on the heap for every request. The C library's allocator tidies up whenever one of
/// that size is given back, which costs more than all that the edge does for a request.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
