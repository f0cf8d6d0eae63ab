//! Programs in other languages, run to their end: the clients in `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Far more than any of them takes.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Runs `python/{name}.py` with these variables.
///
/// # Panics
/// When it is not installed, does not end in time, or ends with an error: a test never skips for that.
pub async fn python(name: &str, variables: &[(&str, &str)]) {
    let interpreter = root().join("target/clients/venv/bin/python");
    let program = clients().join("python").join(format!("{name}.py"));
    run(&interpreter, &program, variables).await;
}

/// Runs `node/{name}.mjs` with these variables.
///
/// # Panics
/// As [`python`].
pub async fn node(name: &str, variables: &[(&str, &str)]) {
    let program = clients().join("node").join(format!("{name}.mjs"));
    assert!(
        clients().join("node_modules").exists(),
        "the clients in Node are not installed: run scripts/install"
    );
    run(Path::new("node"), &program, variables).await;
}

async fn run(interpreter: &Path, program: &Path, variables: &[(&str, &str)]) {
    let mut command = Command::new(interpreter);
    command
        .arg(program)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(ENDS_WITHIN, command.output())
        .await
        .unwrap_or_else(|_| panic!("{} does not end", program.display()))
        .unwrap_or_else(|error| {
            panic!(
                "{} cannot be started ({error}): run scripts/install",
                interpreter.display()
            )
        });
    assert!(
        output.status.success(),
        "{} ended with {}:\n{}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Where the packages of the clients in Python are.
///
/// # Panics
/// When they are not installed.
pub fn python_packages() -> PathBuf {
    let library = root().join("target/clients/venv/lib");
    let mut versions = std::fs::read_dir(&library).into_iter().flatten().flatten();
    let version = versions
        .next()
        .expect("the clients in Python are not installed: run scripts/install");
    version.path().join("site-packages")
}

/// Where programs are that came with the system, or that a user built.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
