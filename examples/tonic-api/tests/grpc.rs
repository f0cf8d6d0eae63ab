//! A real tonic client and server: what callers are told, and when their streams end.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::time::Duration;

use machineauth_core::jws::{Type, sign_compact};
use machineauth_core::{Algorithm, KeySet, Revocation, RevocationSet, SigningKey, Verifier};
use serde_json::json;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Status};
use tonic_api::artifact_store_client::ArtifactStoreClient;
use tonic_api::{Artifact, ListRequest};

const FAR: u64 = 4_000_000_000;

struct Service {
    key: SigningKey,
    revocations: RevocationSet,
    client: ArtifactStoreClient<Channel>,
}

impl Service {
    async fn start() -> Self {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let revocations = RevocationSet::new();
        let verifier = Verifier::builder("https://issuer.example", "artifacts")
            .keys(KeySet::from_jwks([key.public_jwk("k1")]))
            .revocations(revocations.clone())
            .build()
            .unwrap();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        tokio::spawn(tonic_api::serve(incoming, verifier));
        let client = ArtifactStoreClient::connect(format!("http://{address}"))
            .await
            .unwrap();
        Self {
            key,
            revocations,
            client,
        }
    }

    fn token(&self, scope: &str) -> String {
        let claims = json!({
            "iss": "https://issuer.example", "aud": "artifacts", "sub": "agent-7", "exp": FAR, "jti": "t1",
            "scope": scope,
        });
        sign_compact(
            &self.key,
            Type::AccessToken,
            "k1",
            claims.to_string().as_bytes(),
        )
        .unwrap()
    }
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn named(name: &str) -> Artifact {
    Artifact {
        name: name.into(),
        ..Artifact::default()
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn an_agent_with_the_scope_is_served_under_its_own_name() {
    let mut service = Service::start().await;
    let token = service.token("artifacts:write artifacts:read");
    let artifact = service
        .client
        .put(with_token(named("a"), &token))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(artifact.made_by, "agent-7");
    let list = service
        .client
        .list(with_token(ListRequest {}, &token))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.items, [artifact]);
}

#[tokio::test]
async fn refusals_are_grpc_statuses_with_a_sentence() {
    let mut service = Service::start().await;
    let (code, message) = refused(service.client.list(Request::new(ListRequest {})).await);
    assert_eq!(code, Code::Unauthenticated);
    assert!(message.contains("no access token"), "{message}");

    let (code, _) = refused(
        service
            .client
            .list(with_token(ListRequest {}, "garbage"))
            .await,
    );
    assert_eq!(code, Code::Unauthenticated);

    let token = service.token("artifacts:read");
    let (code, message) = refused(service.client.put(with_token(named("a"), &token)).await);
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(
        message,
        "the access token lacks the scope `artifacts:write`"
    );
}

#[tokio::test]
async fn a_stream_ends_as_unauthenticated_when_its_token_is_revoked() {
    let mut service = Service::start().await;
    let token = service.token("artifacts:write artifacts:read");
    let watching = service
        .client
        .watch(with_token(ListRequest {}, &token))
        .await
        .unwrap();
    let mut stream = watching.into_inner();
    service
        .client
        .put(with_token(named("a"), &token))
        .await
        .unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().name, "a");

    service.revocations.apply(&Revocation::Token {
        jti: "t1".into(),
        until: FAR,
    });
    let end = timeout(Duration::from_secs(10), stream.message())
        .await
        .unwrap();
    let (code, message) = refused(end);
    assert_eq!(code, Code::Unauthenticated);
    assert!(message.contains("revoked"), "{message}");
}
