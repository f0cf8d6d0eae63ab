//! `chaos [SECONDS]`: breaks everything at random for so long, and prints what became of the promises. `scripts/chaos` runs it.
//!
//! `SEED` in the environment repeats the faults of another run.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use machineauth_tests::chaos::{Ground, Programs, Run};
use machineauth_tests::redis_server::Persistence;

const GROUNDS: [Ground; 3] = [
    Ground::Redis(Persistence::Always),
    Ground::Redis(Persistence::EverySecond),
    Ground::Embedded,
];

#[tokio::main]
async fn main() -> ExitCode {
    let Some((seconds, seed)) = asked_for() else {
        eprintln!("usage: [SEED=NUMBER] chaos [SECONDS]");
        return ExitCode::FAILURE;
    };
    let programs = match Programs::beside_this() {
        Ok(programs) => programs,
        Err(error) => {
            eprintln!("chaos: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut is_kept = true;
    for ground in GROUNDS {
        let run = Run {
            programs: programs.clone(),
            ground,
            seed,
            lasts: Duration::from_secs(seconds) / 3,
        };
        let report = run.happen().await;
        println!("{report}");
        is_kept &= report.is_kept();
    }
    match is_kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// How many seconds, and the seed.
#[expect(
    clippy::disallowed_methods,
    reason = "no variable of the server, and no time that anything is judged by"
)]
fn asked_for() -> Option<(u64, u64)> {
    let seconds = match std::env::args().nth(1) {
        Some(seconds) => seconds.parse().ok()?,
        None => 300,
    };
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().ok()?,
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::from(now.ok()?.subsec_nanos())
        }
    };
    Some((seconds, seed))
}
