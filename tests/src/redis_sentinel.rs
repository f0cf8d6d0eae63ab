//! Sentinels of one's own, that watch a Redis server and its replicas.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::process::free_port;
use crate::redis_server::RedisServer;

/// What the watched master is called.
pub const MASTER: &str = "mymaster";

/// A running Sentinel, killed when this is dropped.
#[derive(Debug)]
pub struct Sentinel {
    port: u16,
    process: Child,
    _directory: TempDir,
}

impl Sentinel {
    /// Starts one that lets a replica take over when `master` is silent for half a second.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn watching(master: &RedisServer) -> Sentinel {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let (port, watched) = (free_port(), master.address().port());
        let settings = format!(
            "bind 127.0.0.1\nport {port}\nlogfile sentinel.log\n\
             sentinel monitor {MASTER} 127.0.0.1 {watched} 1\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 2000\n"
        );
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, settings).expect("the settings can be written");
        let process = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let sentinel = Sentinel {
            port,
            process,
            _directory: directory,
        };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), listens)
            .await
            .expect("the Sentinel listens");
        sentinel
    }

    /// `127.0.0.1:port`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `redis+sentinel://127.0.0.1:port/mymaster`
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/{MASTER}", self.host())
    }

    /// Waits until it knows of so many replicas.
    ///
    /// # Panics
    /// When it does not get to know them.
    pub async fn knows_replicas(&self, count: usize) {
        let client = redis::Client::open(format!("redis://{}", self.host())).expect("a URL");
        let knows = async {
            loop {
                let mut connection = client.get_connection().expect("the Sentinel answers");
                let replicas: Vec<redis::Value> = redis::cmd("SENTINEL")
                    .arg("REPLICAS")
                    .arg(MASTER)
                    .query(&mut connection)
                    .expect("the Sentinel answers");
                if replicas.len() >= count {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(30), knows)
            .await
            .expect("the Sentinel finds the replicas");
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
