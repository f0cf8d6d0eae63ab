//! An issuer as an operator has it: a directory, a store, the real binary and its commands.

use std::path::Path;

use machineauth_core::crypto::random;
use tempfile::TempDir;

use crate::process::{Finished, Process, free_port, run};
use crate::redis_server::RedisServer;

/// The administrator of every installation.
pub const ADMIN: (&str, &str) = ("admin@example.com", "correct-horse-battery");

/// A directory with an issuer in it, or one on Redis.
#[derive(Debug)]
pub struct Installation {
    program: &'static Path,
    directory: TempDir,
    redis: Option<RedisServer>,
    server_key: String,
    /// Where it always listens, where that is its issuer too.
    port: Option<u16>,
}

impl Installation {
    /// One on the embedded store.
    ///
    /// # Panics
    /// When no directory can be made.
    pub fn embedded(program: &'static str) -> Self {
        let server_key = random::<32>().into_iter().map(|byte| format!("{byte:02x}"));
        Self {
            program: Path::new(program),
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            redis: None,
            server_key: server_key.collect(),
            port: None,
        }
    }

    /// One on a Redis server of its own.
    pub async fn on_redis(program: &'static str) -> Self {
        Self {
            redis: Some(RedisServer::start().await),
            ..Self::embedded(program)
        }
    }

    /// One like this, on an embedded store that is empty, with the same server key.
    pub fn successor(&self) -> Self {
        Self {
            server_key: self.server_key.clone(),
            ..Self::embedded(self.program.to_str().expect("the program has a plain name"))
        }
    }

    /// One like this, on an empty Redis, with the same server key.
    pub async fn successor_on_redis(&self) -> Self {
        Self {
            redis: Some(RedisServer::start().await),
            ..self.successor()
        }
    }

    /// Its `iss` is where it listens, at every start the same.
    #[must_use]
    pub fn issuing_where_it_listens(self) -> Self {
        Self {
            port: Some(free_port()),
            ..self
        }
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everything but the port that its processes have in their environment.
    pub fn variables(&self) -> Vec<(&str, String)> {
        let store = match &self.redis {
            Some(redis) => redis.url(),
            None => "embedded:machineauth.redb".to_owned(),
        };
        let issuer = match self.port {
            Some(port) => format!("http://127.0.0.1:{port}"),
            None => "https://auth.example.com".to_owned(),
        };
        vec![
            ("HOST", "127.0.0.1".to_owned()),
            ("DATABASE_URL", store),
            ("SERVER_KEY", self.server_key.clone()),
            ("ADMIN_EMAIL", ADMIN.0.to_owned()),
            ("ADMIN_PASSWORD", ADMIN.1.to_owned()),
            ("JWT_ISSUER", issuer),
        ]
    }

    /// Writes a file into its directory.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.directory().join(name), content).expect("the file can be written");
    }

    /// Runs a command to its end.
    pub fn command(&self, arguments: &[&str]) -> Finished {
        self.command_with(arguments, &[], "")
    }

    /// Runs a command of another version to its end.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Finished {
        self.run(program, arguments, &[], "")
    }

    /// Runs a command to its end, with more variables and with something to read.
    pub fn command_with(&self, arguments: &[&str], more: &[(&str, &str)], input: &str) -> Finished {
        self.run(self.program, arguments, more, input)
    }

    fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        more: &[(&str, &str)],
        input: &str,
    ) -> Finished {
        let variables = self.variables();
        let mut variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        variables.extend_from_slice(more);
        run(program, self.directory(), &variables, arguments, input)
    }

    /// Starts the server.
    pub async fn start(&self) -> Process {
        self.start_with(&[]).await
    }

    /// Starts the server with more variables.
    pub async fn start_with(&self, more: &[(&str, &str)]) -> Process {
        self.start_as(self.program, more).await
    }

    /// Starts another version of the server, with more variables.
    pub async fn start_as(&self, program: &Path, more: &[(&str, &str)]) -> Process {
        let port = self.port.unwrap_or_else(free_port);
        let text = port.to_string();
        let variables = self.variables();
        let mut variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        variables.push(("PORT", &text));
        variables.push(("FAILURE_LIMIT", "0"));
        variables.extend_from_slice(more);
        Process::start(program, self.directory(), port, &variables, &["serve"]).await
    }
}
