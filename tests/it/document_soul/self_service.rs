//! Agent Self-Service (Bearer Token Auth).

use machineauth_tests::agent::Agent;
use machineauth_tests::document::{assert_exact_shape, assert_shape};
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

use super::{documented_agent, documented_agent_in_full, organization_with_team};

struct Stage {
    issuer: Issuer,
    agent: Agent,
    token: String,
    organization: String,
    team: String,
}

impl Stage {
    async fn set() -> Self {
        let (issuer, _clock) = Issuer::at_fixed_time().await;
        let (organization, team) = organization_with_team(&issuer).await;
        let agent = issuer
            .create(json!({
                "name": "OpenClaw Agent",
                "scopes": ["read", "write"],
                "organization_id": organization,
                "team_id": team,
                "expires_in": 7_776_000,
            }))
            .await;
        let (token, _) = issuer.tokens(&agent).await;
        Self {
            issuer,
            agent,
            token,
            organization,
            team,
        }
    }

    async fn call(&self, method: Method, path: &str) -> Answer {
        self.issuer.bearer(&self.token, method, path, None).await
    }
}

#[tokio::test]
async fn get_me_shows_the_agent_itself() {
    let stage = Stage::set().await;
    let me = stage.call(Method::GET, "/api/agents/me").await;
    assert_eq!(me.status, 200);
    assert_exact_shape(&me.json(), &json!({ "agent": documented_agent() }));
    assert_eq!(me.json()["agent"]["id"], stage.agent.id);
}

#[tokio::test]
async fn get_usage_counts_and_remembers_rotations() {
    let stage = Stage::set().await;
    stage.call(Method::POST, "/api/agents/me/rotate").await;
    let usage = stage.call(Method::GET, "/api/agents/me/usage").await;
    assert_eq!(usage.status, 200);
    let usage = usage.json();
    assert_exact_shape(
        &usage,
        &json!({
            "agent": documented_agent_in_full(),
            "organization_id": "org-123",
            "team_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "token_count": 15,
            "refresh_count": 3,
            "last_activity_at": "2026-03-02T09:00:00Z",
            "last_token_issued_at": "2026-03-02T09:00:00Z",
            "rotation_history": [
                { "rotated_at": "2026-02-15T08:00:00Z", "rotated_by_ip": "192.168.1.1" }
            ],
        }),
    );
    for (name, value) in [
        ("organization_id", json!(stage.organization)),
        ("team_id", json!(stage.team)),
        ("token_count", json!(1)),
        ("refresh_count", json!(0)),
        ("last_token_issued_at", json!("2027-01-15T08:00:00Z")),
        (
            "rotation_history",
            json!([{ "rotated_at": "2027-01-15T08:00:00Z", "rotated_by_ip": "127.0.0.1" }]),
        ),
    ] {
        assert_eq!(usage[name], value, "{name}");
    }
}

#[tokio::test]
async fn post_rotate_replaces_the_secret_at_once() {
    let stage = Stage::set().await;
    let rotated = stage.call(Method::POST, "/api/agents/me/rotate").await;
    assert_eq!(rotated.status, 200);
    assert_exact_shape(&rotated.json(), &json!({ "client_secret": "" }));
    stage
        .issuer
        .token_answer(&stage.agent)
        .await
        .expect_error(401, "invalid_client");
    let renewed = Agent {
        client_secret: rotated.str("client_secret"),
        ..stage.agent
    };
    assert_eq!(stage.issuer.token_answer(&renewed).await.status, 200);
}

#[tokio::test]
async fn post_deactivate_and_post_reactivate() {
    let stage = Stage::set().await;
    let answer = stage.call(Method::POST, "/api/agents/me/deactivate").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (200, json!({ "message": "agent deactivated successfully" }))
    );
    stage
        .issuer
        .token_answer(&stage.agent)
        .await
        .expect_error(401, "invalid_client");
    // Decided: its token still opens this one door, and no other.
    stage
        .call(Method::GET, "/api/agents/me")
        .await
        .expect_error(401, "invalid_token");
    let answer = stage.call(Method::POST, "/api/agents/me/reactivate").await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (200, json!({ "message": "agent reactivated successfully" }))
    );
    assert_eq!(stage.issuer.token_answer(&stage.agent).await.status, 200);
}

#[tokio::test]
async fn delete_and_post_delete_end_the_agent_for_good() {
    for method in [Method::DELETE, Method::POST] {
        let stage = Stage::set().await;
        let answer = stage.call(method, "/api/agents/me/delete").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
        stage
            .issuer
            .token_answer(&stage.agent)
            .await
            .expect_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn get_verify_says_who_the_bearer_is() {
    let stage = Stage::set().await;
    let verified = stage.call(Method::GET, "/api/verify").await;
    assert_eq!(verified.status, 200);
    assert_shape(
        &verified.json(),
        &json!({
            "valid": true,
            "agent_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "client_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "name": "OpenClaw Agent",
            "scopes": ["read", "write"],
            "is_active": true,
            "token_count": 15,
        }),
    );
    for (name, value) in [
        ("valid", json!(true)),
        ("agent_id", json!(stage.agent.id)),
        ("client_id", json!(stage.agent.client_id)),
        ("name", json!("OpenClaw Agent")),
        ("scopes", json!(["read", "write"])),
        ("is_active", json!(true)),
        ("token_count", json!(1)),
    ] {
        assert_eq!(verified.json()[name], value, "{name}");
    }
}

#[tokio::test]
async fn an_invalid_bearer_opens_nothing() {
    let stage = Stage::set().await;
    stage.issuer.revoke(&stage.token).await;
    for (method, path) in [
        (Method::GET, "/api/agents/me"),
        (Method::GET, "/api/agents/me/usage"),
        (Method::POST, "/api/agents/me/rotate"),
        (Method::POST, "/api/agents/me/deactivate"),
        (Method::POST, "/api/agents/me/reactivate"),
        (Method::DELETE, "/api/agents/me/delete"),
        (Method::POST, "/api/agents/me/delete"),
        (Method::GET, "/api/verify"),
    ] {
        // Decided: JSON, where the document has plain text.
        let missing = Answer::to(stage.issuer.request(method.clone(), path)).await;
        missing.expect_error(401, "invalid_token");
        stage
            .call(method.clone(), path)
            .await
            .expect_error(401, "invalid_token");
        stage
            .issuer
            .bearer("YOUR_ACCESS_TOKEN", method, path, None)
            .await
            .expect_error(401, "invalid_token");
    }
}
