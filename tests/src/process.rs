//! The real binaries, as processes.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::captured;

/// How long a process may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What a shell runs so that the server that comes as its `$0` is told by an error when a file of its cannot grow, instead of
/// being killed by a signal.
pub const TOLD_OF_FULL_DISKS: &str = "trap '' XFSZ; exec \"$0\" serve";

/// A running binary. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    /// Where it listens, as a URL.
    pub base: String,
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What a process has written to one of its outputs so far.
#[derive(Debug)]
struct Output {
    text: watch::Receiver<String>,
    reader: JoinHandle<()>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether it called that a success.
    pub status: ExitStatus,
    /// Everything that it ever printed, to its standard output and its standard error.
    pub printed: String,
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Finished {
    /// Whether it called that a success.
    pub is_success: bool,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// Runs `program` in `directory` to its end, with nothing in its environment but `variables` and `input` to read.
///
/// # Panics
/// When it cannot be run, or writes no text.
pub fn run(
    program: &Path,
    directory: &Path,
    variables: &[(&str, &str)],
    arguments: &[&str],
    input: &str,
) -> Finished {
    let mut child = std::process::Command::new(program)
        .current_dir(directory)
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    // A command that reads nothing may be gone already.
    let _ = std::io::Write::write_all(
        &mut child.stdin.take().expect("the input is piped"),
        input.as_bytes(),
    );
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = |bytes| String::from_utf8(bytes).expect("commands write text");
    let finished = Finished {
        is_success: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    eprintln!("{arguments:?}\n{}{}", finished.stdout, finished.stderr);
    finished
}

/// A port that was free a moment ago.
///
/// # Panics
/// When loopback has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
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
        Self::try_start(program, directory, port, variables, arguments)
            .await
            .unwrap_or_else(|status| {
                panic!(
                    "{} ended with {status} instead of listening",
                    program.display()
                )
            })
    }

    /// As [`Process::start`], for a program that may be unable to start at the moment.
    ///
    /// # Errors
    /// How it ended, when it does that instead of listening.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn try_start(
        program: &Path,
        directory: &Path,
        port: u16,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Self, ExitStatus> {
        let mut child = Command::new(program)
            .current_dir(directory)
            .env_clear()
            .envs(variables.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let stdout = Output::of(child.stdout.take().expect("the output is piped"));
        let stderr = Output::of(child.stderr.take().expect("the errors are piped"));
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                return Err(status);
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} does not listen on {port}",
                program.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            base: format!("http://127.0.0.1:{port}"),
            child,
            stdout,
            stderr,
        })
    }

    /// Lets no file of it grow beyond so many bytes, as when a disk is full, or lets them grow again. It must have been
    /// started by [`TOLD_OF_FULL_DISKS`].
    ///
    /// # Panics
    /// When the system does not let us.
    pub fn set_largest_file(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(self.pid()), Resource::Fsize, limit).expect("our own process can be limited");
    }

    /// By which the system knows it.
    ///
    /// # Panics
    /// When it has ended.
    pub fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        pid.and_then(Pid::from_raw)
            .expect("the process is still running")
    }

    /// What it has written to its standard output so far, once a whole line of that holds `text`.
    ///
    /// # Panics
    /// When it prints no such line in time.
    pub async fn printed_until(&self, text: &str) -> String {
        self.stdout.until(text).await
    }

    /// What it has logged so far, once a whole line of that holds `text`.
    ///
    /// # Panics
    /// When it logs no such line in time.
    pub async fn logged_until(&self, text: &str) -> String {
        self.stderr.until(text).await
    }

    /// Sends a signal, `HUP` for example.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub async fn signal(&self, name: &str) {
        let pid = self
            .child
            .id()
            .expect("the process is still running")
            .to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .await
            .expect("`kill` is there");
        assert!(sent.success(), "the signal is delivered");
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end by itself in time.
    pub async fn terminate(mut self) -> Ended {
        self.signal("TERM").await;
        let ended = tokio::time::timeout(START_TIMEOUT, self.child.wait()).await;
        let status = ended
            .expect("the process ends in time")
            .expect("a child can be waited for");
        Ended {
            status,
            printed: self.stdout.whole().await + self.stderr.whole().await.as_str(),
        }
    }

    /// Kills the process at once (SIGKILL).
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }
}

impl Output {
    /// Collects what is written to `pipe`, and passes it on so that it is seen when a test fails.
    fn of(mut pipe: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let (sink, text) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 16 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let new = String::from_utf8_lossy(&buffer[..read]);
                eprint!("{new}");
                captured::output(&new);
                sink.send_modify(|text| text.push_str(&new));
            }
        });
        Self { text, reader }
    }

    /// What there is so far, once a whole line of it holds `text`.
    async fn until(&self, text: &str) -> String {
        let mut written = self.text.clone();
        let complete = written.wait_for(|written| {
            let line = written.find(text).map(|at| &written[at..]);
            line.is_some_and(|line| line.contains('\n'))
        });
        tokio::time::timeout(START_TIMEOUT, complete)
            .await
            .unwrap_or_else(|_| panic!("no line with {text:?} in time"))
            .unwrap_or_else(|_| panic!("no line with {text:?} before the end"))
            .clone()
    }

    /// All of it, once nobody can write any more.
    async fn whole(self) -> String {
        self.reader.await.expect("the output is read to its end");
        self.text.borrow().clone()
    }
}
