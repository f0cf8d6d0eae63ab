//! The command line.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use machineauth_core::clock::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::{Config, ServerKeySource, StoreUrl, VARIABLES_HELP};
use crate::domain::vault::ServerKey;
use crate::store::{DynStore, EmbeddedStore, RedisStore, StoreError};
use crate::{routes, server, telemetry};

/// The OAuth 2.0 token service for machines.
#[derive(Debug, Parser)]
#[command(version, after_help = VARIABLES_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what happens without a command, too)
    Serve,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever ended the command, in a sentence for the operator.
    pub async fn run(self) -> Result<(), Box<dyn Error>> {
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => serve().await,
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let config = Config::from_environment()?;
    telemetry::init(&config).map_err(|error| format!("LOG: {error}"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open_store(&config.store, Arc::clone(&clock)).await?;
    let server_key = server_key(&config.server_key)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another address with HOST and PORT", config.listen)
    })?;
    let app = App::open(config, &server_key, clock, store).await?;
    let background = app.start_background();
    print_welcome(&app.config, listener.local_addr()?)?;
    let stop = async {
        stop_signal().await;
        tracing::info!("stopping: requests in flight finish, new ones are refused");
        background.end_streams();
    };
    server::serve(listener, routes::router(app), stop).await;
    background.stop().await?;
    Ok(())
}

async fn open_store(url: &StoreUrl, clock: Arc<dyn Clock>) -> Result<DynStore, StoreError> {
    Ok(match url {
        StoreUrl::Embedded(path) => Arc::new(EmbeddedStore::open(path, clock).await?),
        StoreUrl::Redis(url) => Arc::new(RedisStore::connect(url, clock).await?),
    })
}

fn server_key(source: &ServerKeySource) -> Result<ServerKey, Box<dyn Error>> {
    match source {
        ServerKeySource::Given(key) => Ok(key.clone()),
        ServerKeySource::Generated(path) => {
            generated_key(path).map_err(|error| format!("the server key file {}: {error}", path.display()).into())
        }
    }
}

/// Reads the key file beside an embedded store, or makes it. Holding the open store, no other process is at it.
fn generated_key(path: &Path) -> Result<ServerKey, Box<dyn Error>> {
    match std::fs::read_to_string(path) {
        Ok(text) => return Ok(ServerKey::parse(&text)?),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        Err(_) => {}
    }
    let key = ServerKey::generate();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.to_text().as_bytes())?;
    file.sync_all()?;
    Ok(key)
}

async fn stop_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be received; stop the server by killing it");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
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
    writeln!(out, "machineauth-issuer listens on http://{address} and issues as {base}, store {}", config.store)?;
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
