//! Looks for secrets in everything that a test run captured: `scan-captured DIRECTORY` (I21). Says nothing when there
//! is none, so that a run ends with the tests' own summary.

use std::path::PathBuf;
use std::process::ExitCode;

use machineauth_tests::captured::scan;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: scan-captured DIRECTORY");
        return ExitCode::FAILURE;
    };
    let scan = match scan(&directory) {
        Ok(scan) => scan,
        Err(error) => {
            eprintln!("{}: {error}", directory.display());
            return ExitCode::FAILURE;
        }
    };
    if scan.secrets == 0 || scan.lines == 0 {
        eprintln!("the run has captured nothing");
        return ExitCode::FAILURE;
    }
    for (path, lines) in &scan.found {
        for line in lines {
            eprintln!("a secret was put out ({}): {line}", path.display());
        }
    }
    match scan.found.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
