//! The real binaries, as processes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// How long a process may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running binary. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    /// Where it listens, as a URL.
    pub base: String,
    child: Child,
}

/// A port that was free a moment ago.
///
/// # Panics
/// When loopback has none.
pub async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

impl Process {
    /// Starts `program` in `directory` with nothing in its environment but `variables`, and waits until it listens on
    /// the port that `variables` or `arguments` tell it.
    ///
    /// # Panics
    /// When it ends, or does not listen in time.
    pub async fn start(
        program: &Path,
        directory: &Path,
        port: u16,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let mut child = Command::new(program)
            .current_dir(directory)
            .env_clear()
            .envs(variables.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                panic!(
                    "{} ended with {status} instead of listening",
                    program.display()
                );
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} does not listen on {port}",
                program.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            base: format!("http://127.0.0.1:{port}"),
            child,
        }
    }

    /// What it has printed so far, up to the first line that `last` accepts.
    ///
    /// # Panics
    /// When it prints no such line in time.
    pub async fn printed_until(&mut self, last: impl Fn(&str) -> bool) -> String {
        let stdout = self.child.stdout.take().expect("the output is read once");
        let mut lines = BufReader::new(stdout).lines();
        let mut text = String::new();
        let read = async {
            while let Some(line) = lines.next_line().await.expect("the output is text") {
                text.push_str(&line);
                text.push('\n');
                if last(&line) {
                    return;
                }
            }
        };
        tokio::time::timeout(START_TIMEOUT, read)
            .await
            .expect("the line is printed");
        text
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end by itself in time.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self
            .child
            .id()
            .expect("the process is still running")
            .to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .expect("`kill` is there");
        assert!(sent.success(), "the signal is delivered");
        let ended = tokio::time::timeout(START_TIMEOUT, self.child.wait()).await;
        ended
            .expect("the process ends in time")
            .expect("a child can be waited for")
    }

    /// Kills the process at once (SIGKILL).
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }
}
