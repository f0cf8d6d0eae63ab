//! The command line.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use machineauth_core::clock::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::{Config, ServerKeySource, StoreUrl, variables};
use crate::domain::vault::{ServerKey, Vault};
use crate::server::Limits;
use crate::store::{DynStore, EmbeddedStore, RedisStore, Store, StoreError};
use crate::telemetry::{self, Chain};
use crate::{routes, server};

/// The OAuth 2.0 token service for machines.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help())]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what happens without a command, too)
    Serve,
    /// Print the configuration in force, secrets redacted
    Config {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        /// Instead, the reference of all variables, as Markdown
        #[arg(long, conflicts_with = "json")]
        reference: bool,
    },
    /// Print what a shell completes commands with
    Completions {
        /// Which shell
        shell: Shell,
    },
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever ended the command, in a sentence for the operator.
    pub async fn run(self) -> Result<(), Box<dyn Error>> {
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => serve().await,
            Command::Config { json, reference } => print_config(json, reference),
            Command::Completions { shell } => {
                let mut command = Self::command();
                clap_complete::generate(
                    shell,
                    &mut command,
                    "machineauth-issuer",
                    &mut io::stdout(),
                );
                Ok(())
            }
        }
    }
}

fn print_config(json: bool, reference: bool) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    if reference {
        write!(out, "{}", variables::reference())?;
        return Ok(());
    }
    let config = Config::from_environment()?;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    if json {
        let settings = config.in_force.iter().map(|setting| {
            let value = serde_json::json!({
                "value": setting.value,
                "source": setting.source.as_str(),
            });
            (setting.variable.name.to_owned(), value)
        });
        let settings: serde_json::Map<_, _> = settings.collect();
        writeln!(out, "{}", serde_json::Value::Object(settings))?;
        return Ok(());
    }
    for setting in &config.in_force {
        let (name, source) = (setting.variable.name, setting.source.as_str());
        writeln!(out, "{name} = {} ({source})", setting.value)?;
    }
    Ok(())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let config = Config::from_environment()?;
    telemetry::init(&config).map_err(|error| format!("LOG: {error}"))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Before anything can be asked to stop, somebody listens for the request.
    let stop = StopSignals::listen()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open_store(&config.store, Arc::clone(&clock))
        .await
        .map_err(|error| format!("cannot open the store {}: {}", config.store, Chain(&error)))?;
    let server_key = server_key(&config.server_key, &*store).await?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with HOST and PORT",
            config.listen
        )
    })?;
    let app = App::open(config, &server_key, clock, store).await?;
    let background = app.start_background();
    print_welcome(&app.config, listener.local_addr()?)?;
    let stopping = async {
        stop.received().await;
        tracing::info!("stopping: requests in flight finish, new ones are refused");
        background.end_streams();
    };
    server::serve(listener, routes::router(app), Limits::default(), stopping).await;
    background.stop().await?;
    Ok(())
}

async fn open_store(url: &StoreUrl, clock: Arc<dyn Clock>) -> Result<DynStore, StoreError> {
    Ok(match url {
        StoreUrl::Embedded(path) => Arc::new(EmbeddedStore::open(path, clock).await?),
        StoreUrl::Redis(url) => Arc::new(RedisStore::connect(url, clock).await?),
    })
}

async fn server_key(
    source: &ServerKeySource,
    store: &dyn Store,
) -> Result<ServerKey, Box<dyn Error>> {
    let path = match source {
        ServerKeySource::Given(key) => return Ok(key.clone()),
        ServerKeySource::Generated(path) => path,
    };
    let in_file = |error: &dyn Error| format!("the server key file {}: {error}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(ServerKey::parse(&text).map_err(|error| in_file(&error))?),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(in_file(&error).into()),
        Err(_) if Vault::exists_in(store).await? => Err(format!(
            "the server key file {} is missing, and nothing secret in the store can be read without it: put it back, \
             or set SERVER_KEY",
            path.display()
        )
        .into()),
        Err(_) => Ok(generate_server_key(path).map_err(|error| in_file(&error))?),
    }
}

/// Makes the key file beside a new store. Since the store is open, no other process is doing the same.
///
/// The file gets its name only when it is whole and on the disk, and the name is on the disk before anything in the
/// store depends on the key: no crash leaves a store without its key, or half a key.
fn generate_server_key(path: &Path) -> io::Result<ServerKey> {
    let key = ServerKey::generate();
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(key.to_text().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(key)
}

/// The signals that ask a server to stop.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn received(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Says where the server listens, and three lines to paste.
fn print_welcome(config: &Config, address: SocketAddr) -> io::Result<()> {
    let base = &config.tokens.issuer;
    let admin = match config.admin.is_default {
        true => format!("{}:{}", config.admin.email, config.admin.password.reveal()),
        // A password of the operator's own is never printed.
        false => "$ADMIN_EMAIL:$ADMIN_PASSWORD".to_owned(),
    };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "machineauth-issuer listens on http://{address} and issues as {base}, store {}",
        config.store
    )?;
    writeln!(
        out,
        r#"
Create an agent, get it a token, look at the token:

AGENT=$(curl -s -u "{admin}" -H 'Content-Type: application/json' -d '{{"name":"my-agent","scopes":["read","write"]}}' {base}/api/agents)
TOKEN=$(curl -s -u "$(echo "$AGENT" | sed -E 's/.*"client_id":"([^"]+)","client_secret":"([^"]+)".*/\1:\2/')" -d grant_type=client_credentials {base}/oauth/token | sed -E 's/.*"access_token":"([^"]+)".*/\1/')
curl -s -d "token=$TOKEN" {base}/oauth/introspect
"#
    )?;
    out.flush()
}
