//! An MCP server (Model Context Protocol, Streamable HTTP) with two tools, of which each needs a scope.
//!
//! Protecting it is one line, `.protects(…)`: whoever comes without a token is told where the server's metadata is
//! (RFC 9728), and there which issuer has tokens for it. A tool that needs another scope says which.
//!
//! Three lines, the first two in terminals of their own, start the issuer and this server, and get a token that is meant
//! for it:
//!
//! ```sh
//! cargo run -p machineauth-issuer
//! cargo run -p mcp-server
//! export $(cargo run -qp machineauth-issuer -- agent create assistant --scope notes:read --audience http://127.0.0.1:3002/mcp --env); cargo run -qp machineauth-issuer -- token issue --audience http://127.0.0.1:3002/mcp
//! ```
//!
//! `rpc.rs` is the protocol, `tools.rs` what can be done.

mod rpc;
mod tools;

use std::net::SocketAddr;

use axum::Router;
use axum::routing::post;
use clap::Parser;
use machineauth_core::{
    HttpKeys, JwksCache, ResourceMetadata, RevocationFeed, RevocationSet, Verifier,
};
use machineauth_tower::MachineAuthLayer;
use tokio::net::TcpListener;

use crate::rpc::Server;
use crate::tools::Tools;

/// An MCP server whose tools need scopes.
#[derive(Debug, Parser)]
struct Args {
    /// Whose tokens are accepted
    #[arg(long, env = "ISSUER", default_value = "http://127.0.0.1:8080")]
    issuer: String,
    /// The URL of the MCP endpoint as clients know it; tokens must be meant for it
    #[arg(long, env = "RESOURCE", default_value = "http://127.0.0.1:3002/mcp")]
    resource: String,
    /// Where to listen
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:3002")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let args = Args::parse();
    let revocations = RevocationSet::new();
    let feed = RevocationFeed::of(&args.issuer, revocations.clone()).start()?;
    let verifier = Verifier::builder(&args.issuer, &args.resource)
        .jwks(JwksCache::new(HttpKeys::discover(&args.issuer)?))
        .revocations(revocations)
        .build()?;
    let tools = Tools::new()?;
    let metadata = ResourceMetadata::new(&args.resource)?
        .scopes(&tools.scopes())
        .name("Notes");
    let server = Server {
        tools,
        metadata: metadata.url().into(),
    };

    let app = Router::new()
        .route("/mcp", post(rpc::handle))
        .with_state(server)
        .layer(MachineAuthLayer::new(verifier).protects(metadata));
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    drop(feed);
    Ok(())
}
