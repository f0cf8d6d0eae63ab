//! An artifact API that only agents with the right scopes may use.
//!
//! Tokens are verified here, without a call to the issuer per request: its keys are fetched when the first token
//! arrives, and its revocation feed is followed all the time. The API starts even when the issuer is not up yet.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use machineauth_core::verifier::StalePolicy;
use machineauth_core::{HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use machineauth_tower::{MachineAuthLayer, RequireScopesLayer, VerifiedAgent};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long the feed may be down before every token is refused: longer than a restart of the issuer.
const REVOCATIONS_MAY_BE_STALE: Duration = Duration::from_secs(5 * 60);

/// An artifact API that only agents with the right scopes may use.
#[derive(Debug, Parser)]
struct Args {
    /// Whose tokens are accepted
    #[arg(long, env = "ISSUER", default_value = "http://127.0.0.1:8080")]
    issuer: String,
    /// What the tokens must be meant for
    #[arg(long, env = "AUDIENCE", default_value = "machineauth-api")]
    audience: String,
    /// Where to listen
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// The client that reads the revocation feed, where the issuer wants one with the scope `revocations:read`
    #[arg(long, env = "CLIENT_ID", requires = "client_secret")]
    client_id: Option<String>,
    /// Its secret
    #[arg(
        long,
        env = "CLIENT_SECRET",
        hide_env_values = true,
        requires = "client_id"
    )]
    client_secret: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let args = Args::parse();

    let revocations = RevocationSet::new();
    let mut feed = RevocationFeed::of(&args.issuer, revocations.clone());
    if let (Some(id), Some(secret)) = (&args.client_id, &args.client_secret) {
        feed = feed.client_credentials(id, secret);
    }
    let feed = feed.start()?;
    let verifier = Verifier::builder(&args.issuer, &args.audience)
        .jwks(JwksCache::new(HttpKeys::discover(&args.issuer)?))
        .revocations(revocations)
        .stale_revocations(StalePolicy::Refuse {
            after: REVOCATIONS_MAY_BE_STALE,
        })
        .build()?;

    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(verifier)?)
        .with_graceful_shutdown(stop_signal()?)
        .await?;
    drop(feed);
    Ok(())
}

/// Artifacts take a token, `/health` does not.
fn app(verifier: Verifier) -> Result<Router, machineauth_core::Error> {
    let read = RequireScopesLayer::new("read")?;
    let write = RequireScopesLayer::new("write")?;
    let artifacts = get(list)
        .route_layer(read)
        .merge(axum::routing::post(create).route_layer(write));

    Ok(Router::new()
        .route("/artifacts", artifacts)
        .route_layer(MachineAuthLayer::new(verifier))
        .route("/health", get(async || Json(Health { status: "ok" })))
        .with_state(Artifacts::default()))
}

#[derive(Clone, Default)]
struct Artifacts(Arc<Mutex<Vec<Artifact>>>);

#[derive(Clone, Serialize)]
struct Artifact {
    id: usize,
    filename: String,
    /// The agent that sent it
    created_by: String,
}

#[derive(Deserialize)]
struct NewArtifact {
    filename: String,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

async fn list(State(Artifacts(artifacts)): State<Artifacts>) -> Json<Vec<Artifact>> {
    let artifacts = artifacts.lock().unwrap_or_else(PoisonError::into_inner);
    Json(artifacts.clone())
}

async fn create(
    agent: VerifiedAgent,
    State(Artifacts(artifacts)): State<Artifacts>,
    Json(new): Json<NewArtifact>,
) -> (StatusCode, Json<Artifact>) {
    let mut artifacts = artifacts.lock().unwrap_or_else(PoisonError::into_inner);
    let artifact = Artifact {
        id: artifacts.len() + 1,
        filename: new.filename,
        created_by: agent.id().to_owned(),
    };
    artifacts.push(artifact.clone());
    (StatusCode::CREATED, Json(artifact))
}

/// Done at the first `SIGINT` or `SIGTERM`; requests in flight are finished after it.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
