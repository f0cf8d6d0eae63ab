//! An artifact service over gRPC that only agents with the right scopes may use.
//!
//! The same layers as for HTTP: tokens are verified here, a policy says which method needs which scope, and a stream
//! ends when its token is revoked. Refusals come as gRPC statuses, to browsers in gRPC-Web.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use machineauth_core::policy::PolicyError;
use machineauth_core::{Policy, Rule, Verifier};
use machineauth_tower::{EndStreamsLayer, MachineAuthLayer, PolicyLayer, VerifiedAgent};
use tokio::sync::broadcast;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_web::GrpcWebLayer;

use artifact_store_server::{ArtifactStore, ArtifactStoreServer};

#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/artifacts.v1.ArtifactStore.rs"));
}
pub use generated::{artifact_store_client, artifact_store_server};

/// Asks for everything.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListRequest {}

/// Something that an agent made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Artifact {
    /// What it is called.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The agent that made it; set by the server.
    #[prost(string, tag = "2")]
    pub made_by: String,
}

/// All artifacts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Artifacts {
    /// In the order in which they came.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Artifact>,
}

/// Serves on `incoming` until the process ends; tokens are for `verifier` to accept.
///
/// # Errors
/// When the policy cannot be built, or the server fails.
pub async fn serve(
    incoming: TcpIncoming,
    verifier: Verifier,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Server::builder()
        // Browsers speak gRPC-Web, over HTTP/1.1 too. Outermost, so that it translates refusals and ends of streams as well.
        .accept_http1(true)
        .layer(GrpcWebLayer::new())
        .layer(MachineAuthLayer::new(verifier.clone()))
        .layer(PolicyLayer::new(policy()?))
        .layer(EndStreamsLayer::new(verifier))
        .add_service(ArtifactStoreServer::new(Store::default()))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

/// A gRPC method is a `POST` to `/{package}.{Service}/{Method}`.
fn policy() -> Result<Policy, PolicyError> {
    Policy::builder()
        .rule(Rule::post("/artifacts.v1.ArtifactStore/List").scopes("artifacts:read"))
        .rule(Rule::post("/artifacts.v1.ArtifactStore/Watch").scopes("artifacts:read"))
        .rule(Rule::post("/artifacts.v1.ArtifactStore/Put").scopes("artifacts:write"))
        .build()
}

/// Artifacts in memory.
struct Store {
    artifacts: Mutex<Vec<Artifact>>,
    news: broadcast::Sender<Artifact>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            artifacts: Mutex::default(),
            news: broadcast::Sender::new(64),
        }
    }
}

#[tonic::async_trait]
impl ArtifactStore for Store {
    async fn list(&self, _: Request<ListRequest>) -> Result<Response<Artifacts>, Status> {
        let artifacts = self.artifacts.lock();
        let items = artifacts.unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Response::new(Artifacts { items }))
    }

    async fn put(&self, request: Request<Artifact>) -> Result<Response<Artifact>, Status> {
        let agent = request.extensions().get::<VerifiedAgent>();
        let agent = agent.ok_or(Status::internal("no layer verified this request"))?;
        let artifact = Artifact {
            made_by: agent.id().to_owned(),
            ..request.get_ref().clone()
        };
        let artifacts = self.artifacts.lock();
        artifacts
            .unwrap_or_else(PoisonError::into_inner)
            .push(artifact.clone());
        // That nobody watches is no failure.
        let _ = self.news.send(artifact.clone());
        Ok(Response::new(artifact))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Artifact, Status>> + Send>>;

    async fn watch(&self, _: Request<ListRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let news = tokio_stream::wrappers::BroadcastStream::new(self.news.subscribe());
        let news = news.map(|artifact| artifact.map_err(|_| Status::data_loss("too slow")));
        Ok(Response::new(Box::pin(news)))
    }
}
