//! Agent Management (Admin API).

use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::document::{assert_exact_shape, assert_shape};
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

use super::{by_admin, documented_agent, documented_agent_in_full, organization_with_team, with};

#[tokio::test]
async fn get_agents_lists_all_of_them() {
    let issuer = Issuer::start().await;
    let (organization, team) = organization_with_team(&issuer).await;
    let mut names = Vec::new();
    for name in ["one", "two"] {
        let agent = issuer
            .create(json!({
                "name": name,
                "scopes": ["read", "write", "admin"],
                "organization_id": organization,
                "team_id": team,
                "expires_in": 7_776_000,
            }))
            .await;
        issuer.tokens(&agent).await;
        names.push(json!(name));
    }
    let list = by_admin(&issuer, Method::GET, "/api/agents", None)
        .await
        .json();
    assert_exact_shape(&list, &json!({ "agents": [documented_agent_in_full()] }));
    let mut listed: Vec<_> = list["agents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| agent["name"].clone())
        .collect();
    listed.sort_by_key(ToString::to_string);
    assert_eq!(listed, names);
    assert!(!list.to_string().contains("secret"), "{list}");
}

#[tokio::test]
async fn post_agents_creates_one_and_shows_its_secret_once() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let (organization, team) = organization_with_team(&issuer).await;
    let body = json!({
        "name": "OpenClaw Agent",
        "organization_id": organization,
        "team_id": team,
        "scopes": ["read", "write"],
        "expires_in": 7_776_000,
    });
    let created = by_admin(&issuer, Method::POST, "/api/agents", Some(body)).await;
    assert_eq!(created.status, 201);
    assert_exact_shape(
        &created.json(),
        &json!({
            "agent": with(documented_agent(), json!({ "expires_at": "2026-06-01T12:00:00Z" })),
            "client_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "client_secret": "abcdef1234567890abcdef1234567890abcdef123456",
        }),
    );
    let agent = &created.json()["agent"];
    for (name, value) in [
        ("name", json!("OpenClaw Agent")),
        ("organization_id", json!(organization)),
        ("team_id", json!(team)),
        ("scopes", json!(["read", "write"])),
        ("is_active", json!(true)),
        ("created_at", json!("2027-01-15T08:00:00Z")),
        ("updated_at", json!("2027-01-15T08:00:00Z")),
        ("expires_at", json!("2027-04-15T08:00:00Z")),
        ("token_count", json!(0)),
        ("refresh_count", json!(0)),
        ("client_id", created.json()["client_id"].clone()),
    ] {
        assert_eq!(agent[name], value, "{name}");
    }
    let path = format!("/api/agents/{}", agent["id"].as_str().unwrap());
    let shown = by_admin(&issuer, Method::GET, &path, None).await;
    assert!(!shown.text.contains(&created.str("client_secret")));
}

#[tokio::test]
async fn post_agents_needs_a_name_only() {
    let issuer = Issuer::start().await;
    let created = by_admin(
        &issuer,
        Method::POST,
        "/api/agents",
        Some(json!({ "name": "a" })),
    )
    .await;
    let agent = &created.json()["agent"];
    assert_eq!(agent["scopes"], json!([]), "the documented default");
    assert_eq!(agent.get("expires_at"), None, "no expiry");
    issuer
        .admin(
            Method::POST,
            "/api/agents",
            Some(json!({ "scopes": ["read"] })),
        )
        .await
        .expect_error(400, "invalid_request");
}

#[tokio::test]
async fn an_agents_credentials_expire() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer
        .create(json!({ "name": "a", "expires_in": 60 }))
        .await;
    assert_eq!(issuer.token_answer(&agent).await.status, 200);
    clock.advance(Duration::from_secs(60));
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
}

#[tokio::test]
async fn get_agent_shows_one_with_what_it_did() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read", "write"]).await;
    clock.advance(Duration::from_secs(3_600));
    let (_, refresh_token) = issuer.tokens(&agent).await;
    issuer.refresh(&agent, &refresh_token).await;
    let path = format!("/api/agents/{}", agent.id);
    let shown = by_admin(&issuer, Method::GET, &path, None).await.json();
    assert_exact_shape(
        &shown,
        &json!({
            "agent": with(documented_agent(), json!({
                "organization_id": "org-123",
                "last_activity_at": "2026-03-02T09:00:00Z",
                "last_token_issued_at": "2026-03-02T09:00:00Z",
            })),
        }),
    );
    let shown = &shown["agent"];
    for (name, value) in [
        ("id", json!(agent.id)),
        ("client_id", json!(agent.client_id)),
        ("token_count", json!(1)),
        ("refresh_count", json!(1)),
        ("last_activity_at", json!("2027-01-15T09:00:00Z")),
        ("last_token_issued_at", json!("2027-01-15T09:00:00Z")),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_agent_is_not_found() {
    let issuer = Issuer::start().await;
    for id in ["00000000-0000-4000-8000-000000000000", "nobody"] {
        for method in [Method::GET, Method::DELETE] {
            issuer
                .admin(method, &format!("/api/agents/{id}"), None)
                .await
                .expect_error(404, "not_found");
        }
    }
}

#[tokio::test]
async fn delete_agent_deletes_for_good() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let path = format!("/api/agents/{}", agent.id);
    let deleted = by_admin(&issuer, Method::DELETE, &path, None).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    issuer
        .admin(Method::GET, &path, None)
        .await
        .expect_error(404, "not_found");
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(issuer.introspect(&token).await["active"], false);
}

#[tokio::test]
async fn post_agent_rotates_its_secret() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let path = format!("/api/agents/{}", agent.id);
    let rotated = by_admin(
        &issuer,
        Method::POST,
        &path,
        Some(json!({ "action": "rotate" })),
    )
    .await;
    assert_eq!(rotated.status, 200);
    assert_exact_shape(&rotated.json(), &json!({ "client_secret": "" }));
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(
        issuer.introspect(&token).await["active"],
        true,
        "existing tokens stay valid"
    );
    let renewed = Agent {
        client_secret: rotated.str("client_secret"),
        ..agent
    };
    assert_eq!(issuer.token_answer(&renewed).await.status, 200);
    for body in [json!({}), json!({ "action": "explode" })] {
        issuer
            .admin(Method::POST, &path, Some(body))
            .await
            .expect_error(400, "invalid_request");
    }
}

#[tokio::test]
async fn agents_are_for_administrators() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "admin"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let path = format!("/api/agents/{}", agent.id);
    for (method, path) in [
        (Method::GET, "/api/agents"),
        (Method::POST, "/api/agents"),
        (Method::GET, &path),
        (Method::DELETE, &path),
        (Method::POST, &path),
    ] {
        let anonymous =
            machineauth_tests::http::Answer::to(issuer.request(method.clone(), path)).await;
        anonymous.expect_error(401, "unauthorized");
        assert!(anonymous.header("www-authenticate").starts_with("Basic "));
        // Decided: an agent without an organization never administers, whatever its scopes.
        issuer
            .bearer(&token, method, path, None)
            .await
            .expect_error(403, "forbidden");
    }
    assert_shape(
        &by_admin(&issuer, Method::GET, &path, None).await.json(),
        &json!({ "agent": documented_agent() }),
    );
}
