//! A real tonic client and server: what callers are told, and when their streams end.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::net::SocketAddr;
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
const WEB: &str = "application/grpc-web+proto";

struct Service {
    key: SigningKey,
    revocations: RevocationSet,
    client: ArtifactStoreClient<Channel>,
    address: SocketAddr,
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
            address,
        }
    }

    fn revoke(&self) {
        self.revocations.apply(&Revocation::Token {
            jti: "t1".into(),
            until: FAR,
        });
    }

    /// A call with a message that has no fields, as a browser makes it: gRPC-Web over HTTP/1.1.
    async fn web_call(&self, method: &str, token: &str) -> reqwest::Response {
        let url = format!(
            "http://{}/artifacts.v1.ArtifactStore/{method}",
            self.address
        );
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(url).bearer_auth(token);
        let request = request.header("content-type", WEB).body(vec![0; 5]);
        request.send().await.unwrap()
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

    service.revoke();
    let end = timeout(Duration::from_secs(10), stream.message())
        .await
        .unwrap();
    let (code, message) = refused(end);
    assert_eq!(code, Code::Unauthenticated);
    assert!(message.contains("revoked"), "{message}");
}

/// The frame's flags, in which 0x80 says that it has trailers, and its content.
async fn next_frame(answer: &mut reqwest::Response, unread: &mut Vec<u8>) -> (u8, String) {
    loop {
        if let Some((head, rest)) = unread.split_at_checked(5) {
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
            if let Some(content) = rest.get(..length) {
                let frame = (head[0], String::from_utf8_lossy(content).into_owned());
                unread.drain(..5 + length);
                return frame;
            }
        }
        let more = timeout(Duration::from_secs(10), answer.chunk()).await;
        unread.extend(more.unwrap().unwrap().expect("the stream has not ended"));
    }
}

#[tokio::test]
async fn browsers_are_refused_in_grpc_web() {
    let service = Service::start().await;
    let reader = service.token("artifacts:read");
    let served = service.web_call("List", &reader).await;
    assert_eq!(served.headers()["content-type"], WEB);
    assert_eq!(served.status(), 200);
    for (method, token, status, words) in [
        ("List", "garbage", "16", "well-formed"),
        (
            "Put",
            &*reader,
            "7",
            "the access token lacks the scope `artifacts:write`",
        ),
    ] {
        let refused = service.web_call(method, token).await;
        let headers = refused.headers();
        assert_eq!(refused.status(), 200);
        assert_eq!(headers["content-type"], WEB);
        assert_eq!(headers["grpc-status"], status);
        let message = headers["grpc-message"].to_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn the_stream_of_a_browser_ends_with_trailers_when_its_token_is_revoked() {
    let mut service = Service::start().await;
    let token = service.token("artifacts:write artifacts:read");
    let mut watching = service.web_call("Watch", &token).await;
    let mut unread = Vec::new();
    let put = service.client.put(with_token(named("a"), &token));
    put.await.unwrap();
    let (flags, content) = next_frame(&mut watching, &mut unread).await;
    assert!(flags == 0 && content.contains("agent-7"), "{content}");

    service.revoke();
    let (flags, trailers) = next_frame(&mut watching, &mut unread).await;
    assert_eq!(flags, 0x80);
    assert!(trailers.contains("grpc-status:16"), "{trailers}");
    assert!(trailers.contains("revoked"), "{trailers}");
    assert_eq!(watching.chunk().await.unwrap(), None);
}
