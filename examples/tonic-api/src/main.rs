//! Three lines, the first two in terminals of their own, start the issuer and this service, and get a token for it:
//!
//! ```sh
//! cargo run -p machineauth-issuer
//! cargo run -p tonic-api
//! export $(cargo run -qp machineauth-issuer -- agent create my-agent --scope artifacts:read --env); cargo run -qp machineauth-issuer -- token issue -q
//! ```
//!
//! A client sends the token as the metadata `authorization: Bearer …`; `tests/grpc.rs` is one.

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
