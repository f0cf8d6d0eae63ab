//! What chaos happens to: real processes on a real store, with networks between them that can fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use machineauth_core::crypto::random;
use rustix::process::Pid;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::HEALS_WITHIN;
use super::client::Addresses;
use crate::fault_proxy::FaultProxy;
use crate::installation::ADMIN;
use crate::process::{Process, TOLD_OF_FULL_DISKS, free_port};
use crate::redis_server::{Persistence, RedisServer};
use crate::upstream::Upstream;

/// After this time without news of revocations the edge refuses every token.
pub const EDGE_STALE_AFTER: Duration = Duration::from_secs(10);
/// The same of the example that verifies by itself. No run of the tests is that long: until all is calm, nothing that it takes
/// breaks a promise there.
pub const API_STALE_AFTER: Duration = Duration::from_secs(5 * 60);

const STORE: &str = "machineauth.redb";

/// The binaries.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `machineauth-issuer`
    pub issuer: PathBuf,
    /// `machineauth-edge`
    pub edge: PathBuf,
    /// The example of a resource server.
    pub api: PathBuf,
}

impl Programs {
    /// Those that were built beside the program that runs.
    ///
    /// # Errors
    /// When nobody knows where that is.
    pub fn beside_this() -> std::io::Result<Self> {
        let this = std::env::current_exe()?;
        Ok(Self {
            issuer: this.with_file_name("issuer"),
            edge: this.with_file_name("edge"),
            api: this.with_file_name("axum-api"),
        })
    }
}

/// Where the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// One issuer, one file.
    Embedded,
    /// Two issuers on a Redis server.
    Redis(Persistence),
}

/// Everything that runs.
#[derive(Debug)]
pub struct Scene {
    /// The issuers.
    pub issuers: Vec<Member>,
    /// The edge.
    pub edge: Member,
    /// The resource server.
    pub api: Member,
    /// Where the state is, unless in a file.
    pub redis: Option<Mutex<RedisServer>>,
    /// Between each issuer and Redis.
    pub store_links: Vec<FaultProxy>,
    /// Between resource servers and issuers.
    pub feed_link: FaultProxy,
    _upstream: Upstream,
    directory: TempDir,
}

impl Scene {
    /// Starts everything.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn set(programs: &Programs, ground: Ground) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let redis = match ground {
            Ground::Embedded => None,
            Ground::Redis(persistence) => Some(RedisServer::start_with(persistence).await),
        };
        let mut store_links = Vec::new();
        if let Some(redis) = &redis {
            for _ in 0..2 {
                store_links.push(FaultProxy::start(redis.address()).await);
            }
        }
        let stores: Vec<_> = match &store_links[..] {
            [] => vec![format!("embedded:{STORE}")],
            links => links
                .iter()
                .map(|link| format!("redis://{}", link.address()))
                .collect(),
        };
        let ports: Vec<_> = stores.iter().map(|_| free_port()).collect();
        let listening = ports.iter().map(|port| ([127, 0, 0, 1], *port).into());
        let feed_link = FaultProxy::before(listening.collect()).await;
        let name = format!("http://{}", feed_link.address());
        let upstream = Upstream::echo("api").await;
        let at = directory.path();
        let server_key: String = random::<32>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let issuers = stores
            .iter()
            .zip(&ports)
            .enumerate()
            .map(|(n, (store, port))| {
                issuer(&programs.issuer, at, n, *port, store, &name, &server_key)
            });
        let scene = Self {
            issuers: issuers.collect(),
            edge: edge(&programs.edge, at, &name, &upstream),
            api: api(&programs.api, at, &name),
            redis: redis.map(Mutex::new),
            store_links,
            feed_link,
            _upstream: upstream,
            directory,
        };
        for member in scene.members() {
            member.start().await;
        }
        scene
    }

    /// All that can be killed, but for Redis.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.issuers.iter().chain([&self.edge, &self.api])
    }

    /// Kills all that runs.
    pub async fn end(self) {
        for member in self.members() {
            member.kill().await;
        }
    }

    /// Where everything is.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            issuers: self.issuers.iter().map(Member::base).collect(),
            edge: self.edge.base(),
            api: self.api.base(),
        }
    }

    /// Lets the file of the embedded store not grow any more, or grow again.
    ///
    /// # Panics
    /// When the system does not let us.
    pub async fn set_full(&self, is_full: bool) {
        let file = fs::metadata(self.directory.path().join(STORE));
        let size = is_full.then(|| file.expect("the store has a file").len());
        if let Some(process) = &*self.issuers[0].process.lock().await {
            process.set_largest_file(size);
        }
    }

    /// Puts an issuer's clock so many seconds beside the right time.
    ///
    /// # Panics
    /// When that cannot be written down.
    pub fn set_clock(&self, issuer: usize, seconds: i64) {
        set_clock(&clock_file(self.directory.path(), issuer), seconds);
    }
}

/// A program that is started again whenever it ended.
#[derive(Debug)]
pub struct Member {
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
}

impl Member {
    /// Where it listens.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it, as often as it takes: what it needs may be away.
    ///
    /// # Panics
    /// When it does not start in time.
    pub async fn start(&self) {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        let deadline = Instant::now() + HEALS_WITHIN;
        let mut process = self.process.lock().await;
        while process.is_none() {
            let started = Process::try_start(
                &self.program,
                &self.directory,
                self.port,
                &variables,
                &arguments,
            );
            match started.await {
                Ok(started) => *process = Some(started),
                Err(status) => {
                    let has_time = Instant::now() < deadline;
                    assert!(has_time, "{} ends with {status}", self.base());
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// Kills it at once (SIGKILL), if it runs.
    pub async fn kill(&self) {
        if let Some(process) = self.process.lock().await.take() {
            let pid = process.pid();
            process.kill().await;
            forget_clock(pid);
        }
    }
}

fn member(program: &Path, directory: &Path, port: u16) -> Member {
    Member {
        program: program.to_owned(),
        directory: directory.to_owned(),
        port,
        variables: Vec::new(),
        arguments: Vec::new(),
        process: Mutex::new(None),
    }
}

fn issuer(
    program: &Path,
    directory: &Path,
    number: usize,
    port: u16,
    store: &str,
    name: &str,
    server_key: &str,
) -> Member {
    let clock = clock_file(directory, number);
    set_clock(&clock, 0);
    let variables = [
        ("HOST", "127.0.0.1"),
        ("PORT", &port.to_string()),
        ("DATABASE_URL", store),
        ("SERVER_KEY", server_key),
        ("ADMIN_EMAIL", ADMIN.0),
        ("ADMIN_PASSWORD", ADMIN.1),
        ("JWT_ISSUER", name),
        // Former secrets are presented on purpose.
        ("FAILURE_LIMIT", "0"),
        ("WEBHOOK_TOKEN_EVENTS", "off"),
        ("WEBHOOK_MAX_RETRIES", "20"),
        ("LOG", "warn"),
        ("LD_PRELOAD", &faketime()),
        ("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1"),
        // Only the wall clock steps; how long something takes is measured by another one.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let program_name = program.display().to_string();
    Member {
        variables: variables.into(),
        arguments: vec!["-c".to_owned(), TOLD_OF_FULL_DISKS.to_owned(), program_name],
        ..member(Path::new("/bin/sh"), directory, port)
    }
}

fn edge(program: &Path, directory: &Path, issuer: &str, upstream: &Upstream) -> Member {
    let port = free_port();
    let server = upstream.address;
    let stale = EDGE_STALE_AFTER.as_secs();
    let configuration = format!(
        r#"
        [server]
        log = "warn"
        access_log = false
        [[listener]]
        address = "127.0.0.1:{port}"
        [[issuer]]
        url = "{issuer}"
        audience = "machineauth-api"
        revocations = {{ stale = "refuse", after = "{stale}s" }}
        [[upstream]]
        name = "api"
        servers = ["{server}"]
        [[route]]
        path = "/"
        upstream = "api"
        [[route.rule]]
        methods = ["GET"]
        path = "/artifacts"
        scopes = "read"
        "#
    );
    fs::write(directory.join("edge.toml"), configuration).expect("a file can be written");
    member(program, directory, port)
}

fn api(program: &Path, directory: &Path, issuer: &str) -> Member {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["--issuer", issuer, "--listen", &listen].map(str::to_owned);
    Member {
        variables: vec![("RUST_LOG".to_owned(), "warn".to_owned())],
        arguments: arguments.into(),
        ..member(program, directory, port)
    }
}

fn clock_file(directory: &Path, issuer: usize) -> PathBuf {
    directory.join(format!("clock-{issuer}"))
}

fn set_clock(file: &Path, seconds: i64) {
    // The file is read all the time: its name goes to another one that is whole.
    let new = file.with_extension("new");
    fs::write(&new, format!("{seconds:+}\n")).expect("a file can be written");
    fs::rename(new, file).expect("a file can be renamed");
}

/// Removes what the library leaves behind whose program was killed.
fn forget_clock(process: Pid) {
    let pid = process.as_raw_nonzero();
    for name in [
        format!("faketime_shm_{pid}"),
        format!("sem.faketime_sem_{pid}"),
    ] {
        // Not every program has it.
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// The library that shifts a program's clock.
fn faketime() -> String {
    let libraries = fs::read_dir("/usr/lib").expect("there are libraries");
    let mut found = libraries
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = found.find(|path| path.exists());
    let found = found.expect("libfaketime is not installed: run scripts/install");
    found.display().to_string()
}
