//! Tokens that are bound to a key: DPoP (RFC 9449) and mutual TLS (RFC 8705).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use machineauth_core::dpop::{DpopBuilder, ProofBuilder, Thumbprint};
use machineauth_core::{Algorithm, ClientCertificate, Dpop, Revocation, SigningKey, base64url};
use machineauth_tower::MachineAuthLayer;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Answer, Issuer, NOW, app, send, send_token};

const ORIGIN: &str = "https://api.example";

struct Stage {
    issuer: Issuer,
    key: SigningKey,
    app: Router,
}

impl Stage {
    fn new() -> Self {
        Self::with(|dpop| dpop)
    }

    fn with(limits: impl FnOnce(DpopBuilder) -> DpopBuilder) -> Self {
        let issuer = Issuer::new();
        let dpop = Dpop::builder(ORIGIN).clock(Arc::new(issuer.clock.clone()));
        let layer = issuer.layer().dpop(limits(dpop).build().unwrap());
        Self {
            app: app(layer),
            key: SigningKey::generate(Algorithm::ES256).unwrap(),
            issuer,
        }
    }

    /// Bound to the client's key.
    fn token(&self) -> String {
        let jkt = self.key.public_jwk("").thumbprint().to_string();
        self.issuer
            .token_with(json!({"scope": "read", "cnf": {"jkt": jkt}}))
    }

    fn proof(&self, path: &str, token: &str) -> ProofBuilder {
        ProofBuilder::new("GET", format!("{ORIGIN}{path}"))
            .at(machineauth_core::Clock::now(&self.issuer.clock))
            .token(token)
    }

    /// `GET path` in the scheme `DPoP`, with the proof signed by the client.
    async fn send(&self, path: &str, token: &str, proof: ProofBuilder) -> Answer {
        let proof = proof.sign(&self.key).unwrap();
        send_with(&self.app, path, &format!("DPoP {token}"), &[&proof]).await
    }
}

async fn send_with(app: &Router, path: &str, authorization: &str, proofs: &[&str]) -> Answer {
    let mut headers = vec![("authorization", authorization.as_bytes())];
    headers.extend(proofs.iter().map(|proof| ("dpop", proof.as_bytes())));
    send(app, path, &headers).await
}

fn challenges(answer: &Answer) -> Vec<&str> {
    let values = answer.headers.get_all("www-authenticate").iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_bound_token_with_a_proof_for_each_request_is_good() {
    let stage = Stage::new();
    let token = stage.token();
    for path in ["/", "/read", "/read?page=2"] {
        let proof = stage.proof(path, &token);
        assert_eq!(stage.send(path, &token, proof).await.status, 200, "{path}");
    }
    let answer = stage
        .send("/write", &token, stage.proof("/write", &token))
        .await;
    assert_eq!(answer.status, 403);
}

/// V22
#[tokio::test]
async fn a_bound_token_as_plain_bearer_is_refused_at_every_request() {
    let stage = Stage::new();
    let token = stage.token();
    assert_eq!(send_token(&stage.app, "/", &token).await.status, 401);
    let proof = stage.proof("/", &token);
    assert_eq!(stage.send("/", &token, proof).await.status, 200);
    let answer = send_token(&stage.app, "/", &token).await;
    assert_eq!(answer.status, 401, "now that it is known as well");
    let challenges = challenges(&answer);
    assert!(challenges[0].starts_with("Bearer error=\"invalid_token\""));
    assert!(challenges[1].starts_with("DPoP error=\"invalid_token\""));
    assert!(challenges[1].ends_with("algs=\"ES256 ES384 EdDSA PS256 RS256\""));

    // A proof beside a bearer token changes nothing.
    let proof = stage.proof("/", &token).sign(&stage.key).unwrap();
    let answer = send_with(&stage.app, "/", &format!("Bearer {token}"), &[&proof]).await;
    assert_eq!(answer.status, 401);
}

/// V22
#[tokio::test]
async fn what_is_wrong_with_a_proof_is_said() {
    let stage = Stage::new();
    let token = stage.token();
    let other = stage.token();
    let good = || stage.proof("/", &token);
    let stale = machineauth_core::Timestamp::from_secs(NOW - 60);
    for proof in [
        stage.proof("/read", &token),
        ProofBuilder::new("POST", format!("{ORIGIN}/")).token(&token),
        ProofBuilder::new("GET", "https://other.example/").token(&token),
        stage.proof("/", &format!("{other}x")),
        good().at(stale),
    ] {
        let answer = stage.send("/", &token, proof).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["error"], "invalid_dpop_proof");
        assert!(
            answer
                .challenge()
                .starts_with("DPoP error=\"invalid_dpop_proof\"")
        );
    }
    let proof = good().sign(&stage.key).unwrap();
    let authorization = format!("DPoP {token}");
    let proof = proof.as_str();
    for proofs in [&[][..], &[proof, proof], &["x"]] {
        let answer = send_with(&stage.app, "/", &authorization, proofs).await;
        assert_eq!(answer.json()["error"], "invalid_dpop_proof");
    }
    let answer = send_with(&stage.app, "/", &authorization, &[proof]).await;
    assert_eq!(answer.status, 200);
    let answer = send_with(&stage.app, "/", &authorization, &[proof]).await;
    assert_eq!(answer.json()["error"], "invalid_dpop_proof", "a replay");
}

/// V17
#[tokio::test]
async fn a_known_token_with_the_proof_of_another_key_is_refused() {
    let stage = Stage::new();
    let token = stage.token();
    let proof = stage.proof("/", &token);
    assert_eq!(stage.send("/", &token, proof).await.status, 200);
    let thief = SigningKey::generate(Algorithm::ES256).unwrap();
    let proof = stage.proof("/", &token).sign(&thief).unwrap();
    let answer = send_with(&stage.app, "/", &format!("DPoP {token}"), &[&proof]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"], "invalid_token");
}

#[tokio::test]
async fn a_token_that_is_bound_to_nothing_is_bearer_and_only_that() {
    let stage = Stage::new();
    let token = stage.issuer.token("read");
    assert_eq!(send_token(&stage.app, "/", &token).await.status, 200);
    let proof = stage.proof("/", &token);
    assert_eq!(stage.send("/", &token, proof).await.status, 401);
}

#[tokio::test]
async fn without_the_option_the_scheme_is_unknown_and_bound_tokens_are_refused() {
    let stage = Stage::new();
    let app = stage.issuer.app();
    let token = stage.token();
    let proof = stage.proof("/", &token).sign(&stage.key).unwrap();
    let answer = send_with(&app, "/", &format!("DPoP {token}"), &[&proof]).await;
    assert_eq!(
        (answer.status.as_u16(), challenges(&answer)),
        (401, vec!["Bearer"])
    );
    assert_eq!(send_token(&app, "/", &token).await.status, 401);
}

/// V22
#[tokio::test]
async fn a_client_is_given_the_nonce_that_it_needs() {
    let stage = Stage::with(|dpop| dpop.require_nonces([7; 32]));
    let token = stage.token();
    let answer = stage.send("/", &token, stage.proof("/", &token)).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"], "use_dpop_nonce");
    let nonce = answer.headers["dpop-nonce"].to_str().unwrap();
    let proof = stage.proof("/", &token).nonce(nonce);
    assert_eq!(stage.send("/", &token, proof).await.status, 200);
}

/// V22
#[tokio::test]
async fn strangers_cannot_fill_the_guard() {
    let stage = Stage::with(|dpop| dpop.replay_capacity(32));
    let token = stage.token();
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
    for _ in 0..100 {
        let proof = stage.proof("/", &token).sign(&stranger).unwrap();
        let answer = send_with(&stage.app, "/", &format!("DPoP {token}"), &[&proof]).await;
        assert_eq!(answer.status, 401);
    }
    for _ in 0..32 {
        let proof = stage.proof("/", &token);
        assert_eq!(stage.send("/", &token, proof).await.status, 200);
    }
    let answer = stage.send("/", &token, stage.proof("/", &token)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "5");
    stage.issuer.clock.advance(Duration::from_secs(60));
    let proof = stage.proof("/", &token);
    assert_eq!(stage.send("/", &token, proof).await.status, 200);
}

/// V17
#[tokio::test]
async fn a_bound_token_dies_like_any_other() {
    let stage = Stage::new();
    let token = stage.token();
    let proof = stage.proof("/", &token);
    assert_eq!(stage.send("/", &token, proof).await.status, 200);
    stage.issuer.revocations.apply(&Revocation::Suspended {
        agent_id: "agent-7".into(),
        until: NOW + 7200,
    });
    let proof = stage.proof("/", &token);
    assert_eq!(stage.send("/", &token, proof).await.status, 401);
}

async fn send_over_tls(app: &Router, token: &str, certificate: Option<&[u8]>) -> u16 {
    let mut request = Request::get("/").header("authorization", format!("Bearer {token}"));
    if let Some(der) = certificate {
        request = request.extension(ClientCertificate::from_der(der));
    }
    let request = request.body(Body::empty()).unwrap();
    app.clone()
        .oneshot(request)
        .await
        .unwrap()
        .status()
        .as_u16()
}

/// RFC 8705 §3, V17
#[tokio::test]
async fn a_token_bound_to_a_certificate_is_good_only_with_that_certificate() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let certificate = ClientCertificate::from_der(b"certificate");
    let thumbprint = base64url::encode(certificate.thumbprint());
    let bound = issuer.token_with(json!({"cnf": {"x5t#S256": thumbprint}}));
    for _ in 0..2 {
        assert_eq!(send_over_tls(&app, &bound, Some(b"certificate")).await, 200);
        assert_eq!(send_over_tls(&app, &bound, Some(b"another")).await, 401);
        assert_eq!(send_over_tls(&app, &bound, None).await, 401);
    }
    let free = issuer.token("read");
    assert_eq!(send_over_tls(&app, &free, Some(b"certificate")).await, 200);
}

/// V17
#[tokio::test]
async fn a_binding_that_is_not_understood_is_not_met() {
    let issuer = Issuer::new();
    let layer: MachineAuthLayer = issuer.layer();
    let app = Router::new().route("/", get(async || "in")).layer(layer);
    let thumbprint = base64url::encode(ClientCertificate::from_der(b"c").thumbprint());
    for cnf in [
        json!({}),
        json!({"jwk": {}}),
        json!({"x5t#S256": 1}),
        json!({"x5t#S256": ""}),
        json!({"x5t#S256": thumbprint, "kid": "also"}),
        json!({"x5t#S256": thumbprint, "jkt": thumbprint}),
        json!({"jkt": thumbprint}),
    ] {
        let shown = cnf.to_string();
        let token = issuer.token_with(json!({"cnf": cnf}));
        assert_eq!(
            send_over_tls(&app, &token, Some(b"c")).await,
            401,
            "{shown}"
        );
    }
}

#[test]
fn a_thumbprint_is_read_strictly() {
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let thumbprint = key.public_jwk("").thumbprint();
    assert_eq!(Thumbprint::parse(&thumbprint.to_string()), Some(thumbprint));
    for text in ["", "AAAA", &format!("{thumbprint}=")] {
        assert_eq!(Thumbprint::parse(text), None);
    }
}
