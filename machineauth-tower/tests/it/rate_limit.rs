use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use machineauth_core::quota::Quota;
use machineauth_tower::RateLimitLayer;
use serde_json::json;

use crate::support::{Issuer, send, send_token, whoami};

/// Three requests at once, one more every ten seconds.
fn app(issuer: &Issuer) -> Router {
    let quota = Quota::new(3, Duration::from_secs(30));
    let limit = RateLimitLayer::per_agent(quota).clock(Arc::new(issuer.clock.clone()));
    Router::new()
        .route("/", get(whoami))
        .layer(limit)
        .layer(issuer.layer().optional())
}

#[tokio::test]
async fn each_agent_has_its_own_allowance_and_every_answer_says_what_is_left() {
    let issuer = Issuer::new();
    let app = app(&issuer);
    let token = issuer.token("read");
    for state in ["r=2;t=10", "r=1;t=10", "r=0;t=10"] {
        let answer = send_token(&app, "/", &token).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["ratelimit-policy"], "\"agent\";q=3;w=30");
        assert_eq!(answer.headers["ratelimit"], format!("\"agent\";{state}"));
    }
    let other = issuer.token_with(json!({"sub": "agent-8"}));
    assert_eq!(send_token(&app, "/", &other).await.status, 200);

    let again = issuer.token_with(json!({"jti": "token-2"}));
    let refused = send_token(&app, "/", &again).await;
    assert_eq!(refused.status, 429, "another token is no other agent");
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(refused.headers["ratelimit"], "\"agent\";r=0;t=10");
    assert_eq!(refused.json()["error"], "too_many_requests");
    assert_eq!(
        refused.json()["message"],
        refused.json()["error_description"]
    );

    issuer.clock.advance(Duration::from_secs(10));
    assert_eq!(send_token(&app, "/", &token).await.status, 200);
    assert_eq!(send_token(&app, "/", &token).await.status, 429);
}

#[tokio::test]
async fn agents_of_the_same_name_of_two_issuers_are_two() {
    let issuer = Issuer::new();
    let quota = Quota::new(1, Duration::from_secs(60));
    let limit = RateLimitLayer::per_agent(quota).clock(Arc::new(issuer.clock.clone()));
    let verifier = issuer.builder().keys(issuer.key_set());
    let verifier = verifier.danger_accept_any_issuer().build().unwrap();
    let app = Router::new()
        .route("/", get(whoami))
        .layer(limit)
        .layer(machineauth_tower::MachineAuthLayer::new(verifier));
    for issuer_name in ["https://one.example", "https://two.example"] {
        let token = issuer.token_with(json!({"iss": issuer_name}));
        assert_eq!(send_token(&app, "/", &token).await.status, 200);
        assert_eq!(send_token(&app, "/", &token).await.status, 429);
    }
}

#[tokio::test]
async fn requests_without_an_agent_share_the_allowance_of_one() {
    let issuer = Issuer::new();
    let app = app(&issuer);
    for status in [200, 200, 200, 429] {
        assert_eq!(send(&app, "/", &[]).await.status, status);
    }
    assert_eq!(
        send_token(&app, "/", &issuer.token("read")).await.status,
        200
    );
}

#[tokio::test]
async fn grpc_is_told_in_its_own_words() {
    let issuer = Issuer::new();
    let app = app(&issuer);
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc-web+proto",
    ] {
        for _ in 0..3 {
            send(&app, "/", &[]).await;
        }
        let headers = [("content-type", content_type.as_bytes())];
        let answer = send(&app, "/", &headers).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["grpc-status"], "8");
        assert_eq!(answer.headers["content-type"], content_type);
        assert_eq!(answer.headers["retry-after"], "10");
        assert_eq!(answer.body, "");
    }
    let headers = [("content-type", &b"application/grpcish"[..])];
    assert_eq!(send(&app, "/", &headers).await.status, 429);
}
