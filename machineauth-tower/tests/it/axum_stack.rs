use axum::Router;
use axum::routing::get;
use machineauth_tower::VerifiedAgent;

use crate::support::{Issuer, send, send_token};

async fn scopes(agent: VerifiedAgent) -> String {
    agent.scopes().to_string()
}

#[tokio::test]
async fn a_handler_gets_the_agent_as_an_argument() {
    let issuer = Issuer::new();
    let app = Router::new().route("/", get(scopes)).layer(issuer.layer());
    assert_eq!(
        send_token(&app, "/", &issuer.token("b a")).await.body,
        "b a"
    );
}

#[tokio::test]
async fn a_handler_that_needs_an_agent_is_not_called_without_one() {
    let issuer = Issuer::new();
    let unprotected = Router::new().route("/", get(scopes));
    for app in [
        unprotected.clone(),
        unprotected.layer(issuer.layer().optional()),
    ] {
        let answer = send(&app, "/", &[]).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.challenge(), "Bearer");
        assert!(answer.json()["message"].is_string());
    }
}

#[tokio::test]
async fn a_public_route_beside_protected_ones_takes_no_token() {
    let issuer = Issuer::new();
    let app = Router::new()
        .route("/private", get(scopes))
        .route_layer(issuer.layer())
        .route("/health", get(async || "ok"));
    assert_eq!(send(&app, "/health", &[]).await.body, "ok");
    assert_eq!(send(&app, "/private", &[]).await.status, 401);
    assert_eq!(send(&app, "/nowhere", &[]).await.status, 404);
}
