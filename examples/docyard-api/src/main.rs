//! Docyard's API as its guide to machine clients describes it: artifacts in docks, for agents with opaque tokens.
//!
//! Three lines, each in a terminal of its own, start the issuer, then this API with a client by which it asks what a token
//! is, and make a machine client for `dock_1`:
//!
//! ```sh
//! cargo run -p machineauth-issuer
//! env $(cargo run -qp machineauth-issuer -- agent create docyard-api --scope tokens:introspect,revocations:read --env) cargo run -p docyard-api
//! ORG=$(cargo run -qp machineauth-issuer -- org create Docyard --slug docyard -q); cargo run -qp machineauth-issuer -- machine-client create ehr --org $ORG --dock dock_1 --scope artifacts:read,artifacts:write
//! ```
//!
//! From there the guide is right, with `http://127.0.0.1:3001` for its base URL: token requests go through this server to
//! the issuer, so that clients need to know one address only.
//!
//! * `policy.toml` says who may do what;
//! * `artifacts.rs` keeps artifacts, per organization and dock;
//! * `upload.rs` reads the two forms in which they come;
//! * `token.rs` hands token requests on.

mod artifacts;
mod token;
mod upload;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use clap::Parser;
use machineauth_core::introspection::{HttpIntrospection, Introspection};
use machineauth_core::policy::PolicyBuilder;
use machineauth_core::verifier::StalePolicy;
use machineauth_core::{HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use machineauth_tower::{MachineAuthLayer, PolicyLayer};
use tokio::net::TcpListener;

use crate::artifacts::Docks;
use crate::token::Issuer;

/// How long the feed may be down before every token is refused: longer than a restart of the issuer.
const REVOCATIONS_MAY_BE_STALE: Duration = Duration::from_secs(5 * 60);
/// The largest upload, in bytes.
const MAX_UPLOAD: usize = 16 * 1024 * 1024;

/// Docyard's artifacts, for machine clients.
#[derive(Debug, Parser)]
struct Args {
    /// Whose tokens are accepted
    #[arg(long, env = "ISSUER", default_value = "http://127.0.0.1:8080")]
    issuer: String,
    /// What the tokens must be meant for
    #[arg(long, env = "AUDIENCE", default_value = "machineauth-api")]
    audience: String,
    /// Where to listen
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:3001")]
    listen: SocketAddr,
    /// This API's own client, with the scopes `tokens:introspect` and `revocations:read`
    #[arg(long, env = "MACHINEAUTH_CLIENT_ID")]
    client_id: String,
    /// Its secret
    #[arg(long, env = "MACHINEAUTH_CLIENT_SECRET", hide_env_values = true)]
    client_secret: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let args = Args::parse();

    let revocations = RevocationSet::new();
    let feed = RevocationFeed::of(&args.issuer, revocations.clone())
        .client_credentials(&args.client_id, &args.client_secret)
        .start()?;
    let endpoint = HttpIntrospection::discover(&args.issuer, args.client_id, args.client_secret)?;
    let verifier = Verifier::builder(&args.issuer, &args.audience)
        .jwks(JwksCache::new(HttpKeys::discover(&args.issuer)?))
        .introspection(Introspection::new(&args.issuer, endpoint))
        .revocations(revocations)
        .stale_revocations(StalePolicy::Refuse {
            after: REVOCATIONS_MAY_BE_STALE,
        })
        .build()?;

    let app = app(verifier, Issuer::at(&args.issuer)?)?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    drop(feed);
    Ok(())
}

fn app(verifier: Verifier, issuer: Issuer) -> Result<Router, Box<dyn std::error::Error>> {
    let policy = PolicyBuilder::from_toml(include_str!("policy.toml"))?.build()?;
    let artifacts = get(artifacts::list).post(artifacts::create);
    Ok(Router::new()
        .route("/v1/machine/docks/{dockId}/artifacts", artifacts)
        .layer(DefaultBodyLimit::max(MAX_UPLOAD))
        .with_state(Docks::default())
        .route("/v1/oauth/token", post(token::forward).with_state(issuer))
        .layer(PolicyLayer::new(policy))
        // Optional, since the policy knows which requests need nobody.
        .layer(MachineAuthLayer::new(verifier).optional()))
}
