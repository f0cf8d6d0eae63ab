//! The real edge, as a process between a client and upstreams.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::{self, Answer};
use crate::process::{Process, free_port};

/// A running edge.
#[derive(Debug)]
pub struct Edge {
    /// The process.
    pub process: Process,
    /// Where it listens, `http://127.0.0.1:PORT`.
    pub base: String,
    /// Where it tells operators how it is doing.
    pub admin: String,
    port: u16,
    admin_port: u16,
    directory: TempDir,
    client: reqwest::Client,
}

impl Edge {
    /// Starts `program` with a configuration of which only the listener and the port for operators are added here:
    /// `LISTEN` stands for the listener's address.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(program: &str, configuration: &str) -> Self {
        Self::start_with(program, configuration, &[]).await
    }

    /// As [`Edge::start`], with files beside the configuration.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(program: &str, configuration: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a file can be written");
        }
        let (port, admin_port) = (free_port(), free_port());
        let text = whole(configuration, port, admin_port);
        std::fs::write(directory.path().join("edge.toml"), text).expect("a file can be written");
        let process = Process::start(Path::new(program), directory.path(), port, &[], &[]).await;
        // The port for operators is another service of the process, and starts when it will.
        listens(admin_port).await;
        Self {
            process,
            base: format!("http://127.0.0.1:{port}"),
            admin: format!("http://127.0.0.1:{admin_port}"),
            port,
            admin_port,
            directory,
            client: http::client(),
        }
    }

    /// A file beside the configuration.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the configuration on the disk.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, configuration: &str) {
        let text = whole(configuration, self.port, self.admin_port);
        std::fs::write(self.file("edge.toml"), text).expect("a file can be written");
    }

    /// Starts another process, in another directory, that takes over this one's listeners, and has this one end.
    ///
    /// # Panics
    /// When that does not happen in time.
    pub async fn upgrade(&mut self, program: &str) -> Process {
        let program = Path::new(program);
        let configuration = self.file("edge.toml");
        let configuration = configuration.to_str().expect("its path is text");
        let arguments = ["--config", configuration, "--upgrade"];
        // It waits for the old one's sockets; the old one still answers on the port meanwhile.
        let new = Process::start(program, Path::new("/"), self.port, &[], &arguments).await;
        self.process.signal("QUIT").await;
        std::mem::replace(&mut self.process, new)
    }

    /// A request to `path`.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// `GET path`, with a token where there is one.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let request = self.request(reqwest::Method::GET, path);
        Answer::to(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    /// Waits until `GET path` is answered with `status`.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn comes_to(&self, path: &str, token: Option<&str>, status: u16) -> Answer {
        let answered = async {
            loop {
                let answer = self.get(path, token).await;
                if answer.status == status {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), answered)
            .await
            .unwrap_or_else(|_| panic!("{path} does not come to {status}"))
    }

    /// What a metric says, by the start of its line.
    ///
    /// # Panics
    /// When there are no metrics.
    pub async fn metric(&self, start: &str) -> Option<f64> {
        let metrics = Answer::to(self.client.get(format!("{}/metrics", self.admin))).await;
        assert_eq!(metrics.status, 200);
        let line = metrics.text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Sends these bytes on a connection of their own, and reads until the edge closes it or says nothing for a moment.
    ///
    /// # Panics
    /// When there is no connection.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        self.send(bytes, Duration::from_secs(1)).await
    }

    /// As [`Edge::raw`], where the edge closes the connection once it has answered.
    ///
    /// # Panics
    /// When there is no connection.
    pub async fn raw_to_end(&self, bytes: &[u8]) -> String {
        self.send(bytes, Duration::from_secs(20)).await
    }

    async fn send(&self, bytes: &[u8], patience: Duration) -> String {
        let mut stream = self.connect().await;
        // An edge that has seen enough may be gone before everything is written.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let mut buffer = vec![0; 16 << 10];
        while let Ok(Ok(read @ 1..)) =
            tokio::time::timeout(patience, stream.read(&mut buffer)).await
        {
            answer.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A connection of one's own.
    ///
    /// # Panics
    /// When there is none.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("the edge listens")
    }
}

async fn listens(port: u16) {
    let listening = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), listening)
        .await
        .expect("the port for operators opens");
}

fn whole(configuration: &str, port: u16, admin_port: u16) -> String {
    let listen = format!("127.0.0.1:{port}");
    let admin = format!("\n[admin]\naddress = \"127.0.0.1:{admin_port}\"\n");
    let listener = match configuration.contains("LISTEN") {
        true => String::new(),
        false => format!("\n[[listener]]\naddress = \"{listen}\"\n"),
    };
    format!(
        "{}{listener}{admin}",
        configuration.replace("LISTEN", &listen)
    )
}
