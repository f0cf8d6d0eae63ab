//! `cargo run -p tonic-api`, with an issuer on port 8080.

use std::net::SocketAddr;

use clap::Parser;
use machineauth_core::{HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use tonic::transport::server::TcpIncoming;

/// An artifact service over gRPC that only agents with the right scopes may use.
#[derive(Debug, Parser)]
struct Args {
    /// Whose tokens are accepted
    #[arg(long, env = "ISSUER", default_value = "http://127.0.0.1:8080")]
    issuer: String,
    /// What the tokens must be meant for
    #[arg(long, env = "AUDIENCE", default_value = "machineauth-api")]
    audience: String,
    /// Where to listen
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    tracing_subscriber::fmt().init();
    let args = Args::parse();
    let revocations = RevocationSet::new();
    // Follows the revocations for as long as it is there.
    let _feed = RevocationFeed::of(&args.issuer, revocations.clone()).start()?;
    let verifier = Verifier::builder(&args.issuer, args.audience)
        .jwks(JwksCache::new(HttpKeys::discover(&args.issuer)?))
        .revocations(revocations)
        .build()?;
    println!("listening on http://{}", args.listen);
    tonic_api::serve(TcpIncoming::bind(args.listen)?, verifier).await
}
