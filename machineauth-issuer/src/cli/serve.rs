//! `machineauth-issuer serve`: the server itself.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use machineauth_core::clock::{Clock, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{descriptors, store};
use crate::app::App;
use crate::config::Config;
use crate::server::Limits;
use crate::tls::Certificates;
use crate::{routes, server, telemetry};

/// Serves until a signal asks to stop.
///
/// # Errors
/// Whatever kept the server from starting, or from closing its store.
pub(super) async fn run() -> Result<(), Box<dyn Error>> {
    let config = Config::from_environment()?;
    telemetry::init(&config).map_err(|error| format!("LOG: {error}"))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Before anything can be asked of it, somebody listens.
    let stop = StopSignals::listen()?;
    let hangup = signal(SignalKind::hangup())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = store::open(&config, Arc::clone(&clock)).await?;
    let server_key = store::server_key(&config.server_key, &*store).await?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        format!(
            "cannot listen on {}: {error}; choose another address with HOST and PORT",
            config.listen
        )
    })?;
    let app = App::open(config, &server_key, clock, store).await?;
    let background = app.start_background();
    tokio::spawn(read_again_on(hangup, app.certificates.clone()));
    let has_record = app.administrators.has_record().await?;
    print_welcome(&app.config, has_record, listener.local_addr()?)
        .map_err(|error| format!("cannot print where the server listens: {error}"))?;
    let stopping = async {
        stop.received().await;
        tracing::info!("stopping: requests in flight finish, new ones are refused");
        background.end_streams();
    };
    let limits = Limits {
        connections: descriptors::make_room(app.config.max_connections),
        connections_per_address: app.config.max_connections_per_address,
        proxies: app.config.protection.trusted_proxies.clone(),
        ..Limits::default()
    };
    let certificates = app.certificates.clone();
    server::serve(
        listener,
        certificates,
        routes::router(app),
        limits,
        stopping,
    )
    .await;
    background.stop().await?;
    Ok(())
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

/// Whoever renews certificates may say so by SIGHUP, and need not wait for the next look. Where there are none the signal
/// does nothing: who sends it wants no server to end.
async fn read_again_on(mut hangup: Signal, certificates: Option<Arc<Certificates>>) {
    while hangup.recv().await.is_some() {
        match &certificates {
            Some(certificates) => certificates.look_now(),
            None => tracing::info!("nothing is read again on SIGHUP without TLS_CERT_FILE"),
        }
    }
}

/// Says where the server listens, and three lines to paste.
fn print_welcome(config: &Config, has_record: bool, address: SocketAddr) -> io::Result<()> {
    let base = &config.tokens.issuer;
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let admin = match config.admin.is_default && !has_record {
        true => format!("{}:{}", config.admin.email, config.admin.password.reveal()),
        // A password of the operator's own is never printed.
        false => "$ADMIN_EMAIL:$ADMIN_PASSWORD".to_owned(),
    };
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "machineauth-issuer listens on {scheme}://{address} and issues as {base}, store {}",
        config.store
    )?;
    writeln!(
        out,
        r#"
Create an agent, get it a token, look at the token:

CLIENT=$(curl -s -u "{admin}" -H 'Content-Type: application/json' -d '{{"name":"my-agent","scopes":["read","write"]}}' {base}/api/agents | sed -E 's/.*"client_id":"([^"]+)","client_secret":"([^"]+)".*/\1:\2/')
TOKEN=$(curl -s -u "$CLIENT" -d grant_type=client_credentials {base}/oauth/token | sed -E 's/.*"access_token":"([^"]+)".*/\1/')
curl -s -u "$CLIENT" -d "token=$TOKEN" {base}/oauth/introspect
"#
    )?;
    out.flush()
}
