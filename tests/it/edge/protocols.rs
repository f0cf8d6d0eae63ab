//! HTTP/2, TLS and gRPC through the edge.

use std::time::Duration;

use machineauth_core::{HttpKeys, JwksCache, Verifier};
use machineauth_tests::certificate::{Pair, TlsFiles};
use machineauth_tests::edge::Edge;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::upstream::{Arrived, Upstream};
use reqwest::Method;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::server::TcpIncoming;
use tonic_api::artifact_store_client::ArtifactStoreClient;
use tonic_api::{Artifact, ListRequest};

use super::{EDGE, api, trusting};

const SOON: Duration = Duration::from_secs(20);
const AUTHENTICATED: &str = "[[route]]\nupstream = \"api\"\nauthenticated = true\n";

#[tokio::test]
async fn tls_is_spoken_with_both_versions_and_a_renewed_certificate_is_shown() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let (first, second) = (Pair::new(), Pair::new());
    let files = TlsFiles::holding(&first);
    let listener = format!(
        "[[listener]]\naddress = \"LISTEN\"\ntls = {{ certificate = {:?}, key = {:?} }}\n",
        files.certificate(),
        files.key()
    );
    let configuration = format!(
        "{listener}{}{}{AUTHENTICATED}",
        trusting(&issuer.base),
        api(&upstream)
    );
    let edge = Edge::start(EDGE, &configuration).await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    let url = format!("{}/a", edge.base.replace("http://", "https://"));
    let get =
        async |client: &reqwest::Client| Answer::try_to(client.get(&url).bearer_auth(&token)).await;

    let client = http::builder(&[&first]).http1_only().build().unwrap();
    let arrived = Arrived::of(&get(&client).await.unwrap());
    assert_eq!(
        arrived.header("x-forwarded-proto").as_deref(),
        Some("https")
    );
    let client = http::builder(&[&first])
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let arrived = Arrived::of(&get(&client).await.unwrap());
    assert_eq!(
        arrived.str("version"),
        "HTTP/1.1",
        "the upstream speaks what it is asked in"
    );
    assert_eq!(
        arrived.header("host").as_deref(),
        Some(url[8..].trim_end_matches("/a"))
    );
    let refused = Answer::to(client.get(&url)).await;
    refused.expect_error(401, "unauthorized");

    files.put(&second.certificate, &second.key);
    let renewed = async {
        loop {
            let client = http::builder(&[&second]).build().unwrap();
            if get(&client).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, renewed).await.unwrap();
}

#[tokio::test]
async fn an_upstream_may_speak_tls_or_http2() {
    let upstream = Upstream::echo("api").await;
    let address = upstream.address;
    let configuration = format!(
        "[[upstream]]\nname = \"api\"\nservers = [\"{address}\"]\nprotocol = \"http2\"\n
         [[route]]\nupstream = \"api\"\npublic = true\n"
    );
    let edge = Edge::start(EDGE, &configuration).await;
    let request = edge.request(Method::POST, "/a?x=1").body("body");
    let arrived = Arrived::of(&Answer::to(request).await);
    assert_eq!(arrived.str("version"), "HTTP/2.0");
    assert_eq!(arrived.str("body"), "body");
    assert!(arrived.str("target").ends_with("/a?x=1"));

    let pair = Pair::new();
    let issuer = Issuer::builder()
        .tls(&TlsFiles::holding(&pair), &[&pair])
        .start()
        .await;
    let address = issuer.address;
    let secure = |tls: &str| {
        format!(
            "[[upstream]]\nname = \"api\"\nservers = [\"{address}\"]\n{tls}\n
             [[route]]\nupstream = \"api\"\npublic = true\n"
        )
    };
    let files = [("ca.pem", pair.certificate.as_str())];
    let edge = Edge::start_with(EDGE, &secure("tls = { ca = \"ca.pem\" }"), &files).await;
    assert_eq!(edge.get("/health", None).await.status, 200);
    edge.write(&secure("tls = {}"));
    edge.comes_to("/health", None, 502).await;
}

struct Grpc {
    issuer: Issuer,
    edge: Edge,
    client: ArtifactStoreClient<tonic::transport::Channel>,
}

impl Grpc {
    async fn start() -> Self {
        let issuer = Issuer::start().await;
        let verifier = Verifier::builder(&issuer.base, "machineauth-api")
            .jwks(JwksCache::new(HttpKeys::discover(&issuer.base).unwrap()))
            .build()
            .unwrap();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        tokio::spawn(tonic_api::serve(incoming, verifier));
        let configuration = format!(
            r#"
            [server]
            h2c = true
            [identity]
            forward_token = true
            {}
            [[upstream]]
            name = "api"
            servers = ["{address}"]
            protocol = "http2"
            [[route]]
            upstream = "api"
            any_scope = "artifacts:read artifacts:write"
            "#,
            trusting(&issuer.base)
        );
        let edge = Edge::start(EDGE, &configuration).await;
        let client = ArtifactStoreClient::connect(edge.base.clone())
            .await
            .unwrap();
        Self {
            issuer,
            edge,
            client,
        }
    }
}

fn with_token<T>(message: T, token: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_and_is_refused_in_its_own_protocol() {
    let mut grpc = Grpc::start().await;
    let agent = grpc
        .issuer
        .agent(&["artifacts:read", "artifacts:write"])
        .await;
    let (token, _) = grpc.issuer.tokens(&agent).await;
    let artifact = Artifact {
        name: "a.pdf".into(),
        ..Artifact::default()
    };
    let put = grpc.client.put(with_token(artifact, &token)).await.unwrap();
    assert_eq!(put.into_inner().made_by, agent.id);
    let list = grpc
        .client
        .list(with_token(ListRequest {}, &token))
        .await
        .unwrap();
    assert_eq!(list.into_inner().items.len(), 1);

    let status = grpc.client.list(ListRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.metadata().contains_key("www-authenticate"));
    let (other, _) = grpc
        .issuer
        .tokens(&grpc.issuer.agent(&["read"]).await)
        .await;
    let status = grpc
        .client
        .list(with_token(ListRequest {}, &other))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    // What the upstream refuses, the edge passes on.
    let reader = grpc.issuer.agent(&["artifacts:read"]).await;
    let (reader, _) = grpc.issuer.tokens(&reader).await;
    let status = grpc
        .client
        .put(with_token(Artifact::default(), &reader))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status.message().contains("artifacts:write"),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn nothing_passes_in_a_grpc_stream_once_its_token_is_revoked() {
    let mut grpc = Grpc::start().await;
    let writer = grpc.issuer.agent(&["artifacts:write"]).await;
    let (writer, _) = grpc.issuer.tokens(&writer).await;
    let (reader, _) = grpc
        .issuer
        .tokens(&grpc.issuer.agent(&["artifacts:read"]).await)
        .await;
    let watching = grpc
        .client
        .watch(with_token(ListRequest {}, &reader))
        .await
        .unwrap();
    let mut watching = watching.into_inner();
    let mut client = grpc.client.clone();
    let mut put = async || {
        client
            .put(with_token(Artifact::default(), &writer))
            .await
            .unwrap();
    };
    put().await;
    assert!(watching.message().await.unwrap().is_some());
    grpc.issuer.revoke(&reader).await;
    let probe = "/artifacts.v1.ArtifactStore/List";
    grpc.edge.comes_to(probe, Some(&reader), 401).await;
    put().await;
    let end = timeout(SOON, watching.message()).await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
}
