//! Writes to the embedded store at a path until it is killed: `store-writer PATH ROUND`.

use std::path::PathBuf;
use std::process::ExitCode;

use machineauth_tests::store_writer::write_until_killed;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().map(PathBuf::from);
    let round = arguments
        .next()
        .and_then(|round| round.to_str()?.parse().ok());
    let (Some(path), Some(round)) = (path, round) else {
        eprintln!("usage: store-writer PATH ROUND");
        return ExitCode::FAILURE;
    };
    if let Err(error) = write_until_killed(&path, round).await {
        eprintln!("{error}");
    }
    // It is meant to be killed.
    ExitCode::FAILURE
}
