//! Organization Management, Team Management, API Key Management.

use std::time::Duration;

use machineauth_tests::document::{assert_exact_shape, assert_shape};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

use super::models::{API_KEY, ORGANIZATION, TEAM, documented};
use super::{by_admin, documented_agent, organization_with_team, with};

async fn created(issuer: &Issuer) -> Value {
    let body = json!({
        "name": "My Organization",
        "slug": "my-org",
        "owner_email": "owner@example.com",
    });
    let created = by_admin(issuer, Method::POST, "/api/organizations", Some(body)).await;
    assert_eq!(created.status, 201);
    created.json()
}

#[tokio::test]
async fn get_organizations_lists_all_of_them() {
    let issuer = Issuer::start().await;
    let organization = created(&issuer).await;
    let list = by_admin(&issuer, Method::GET, "/api/organizations", None)
        .await
        .json();
    assert_exact_shape(
        &list,
        &json!({ "organizations": [documented(ORGANIZATION)] }),
    );
    assert_eq!(list["organizations"], json!([organization]));
}

#[tokio::test]
async fn post_organizations_creates_one() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let organization = created(&issuer).await;
    assert_exact_shape(&organization, &documented(ORGANIZATION));
    assert_eq!(
        organization,
        json!({
            "id": organization["id"],
            "name": "My Organization",
            "slug": "my-org",
            "owner_email": "owner@example.com",
            "jwt_issuer": "",
            "jwt_expiry_secs": 0,
            "allowed_origins": "",
            "plan": "free",
            "created_at": "2027-01-15T08:00:00Z",
            "updated_at": "2027-01-15T08:00:00Z",
        })
    );
    for (body, status, error) in [
        (json!({ "slug": "a" }), 400, "invalid_request"),
        (json!({ "name": "A" }), 400, "invalid_request"),
        (
            json!({ "name": "A", "slug": "My Org" }),
            400,
            "invalid_request",
        ),
        (json!({ "name": "A", "slug": "my-org" }), 409, "conflict"),
    ] {
        issuer
            .admin(Method::POST, "/api/organizations", Some(body))
            .await
            .expect_error(status, error);
    }
    let without_owner = json!({ "name": "A", "slug": "a" });
    let created = by_admin(
        &issuer,
        Method::POST,
        "/api/organizations",
        Some(without_owner),
    )
    .await;
    assert_eq!(created.str("owner_email"), "");
}

#[tokio::test]
async fn get_put_patch_and_delete_organization() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let organization = created(&issuer).await;
    let path = format!(
        "/api/organizations/{}",
        organization["id"].as_str().unwrap()
    );
    assert_eq!(
        by_admin(&issuer, Method::GET, &path, None).await.json(),
        organization
    );

    clock.advance(Duration::from_secs(60));
    let change = json!({
        "name": "Updated Name",
        "jwt_issuer": "https://custom-issuer.example.com",
        "jwt_expiry_secs": 7200,
        "allowed_origins": "https://myapp.com,https://other.com",
    });
    for method in [Method::PUT, Method::PATCH] {
        let changed = by_admin(&issuer, method, &path, Some(change.clone())).await;
        assert_eq!(changed.status, 200);
        let expected = with(
            with(organization.clone(), change.clone()),
            json!({ "updated_at": "2027-01-15T08:01:00Z" }),
        );
        assert_eq!(changed.json(), expected);
    }

    let deleted = by_admin(&issuer, Method::DELETE, &path, None).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    issuer
        .admin(Method::GET, &path, None)
        .await
        .expect_error(404, "not_found");
}

#[tokio::test]
async fn what_an_organization_sets_is_in_its_tokens() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("my-org").await;
    let path = format!("/api/organizations/{organization}");
    let change =
        json!({ "jwt_issuer": format!("{}/my-org", issuer.base), "jwt_expiry_secs": 7200 });
    by_admin(&issuer, Method::PATCH, &path, Some(change)).await;
    let agent = issuer.agent_in(&organization, &["read"]).await;
    let granted = issuer.token_answer(&agent).await;
    assert_eq!(granted.json()["expires_in"], 7200);
    assert_eq!(
        claims(&granted.str("access_token"))["iss"],
        format!("{}/my-org", issuer.base)
    );
}

#[tokio::test]
async fn get_and_post_teams() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let organization = issuer.organization("my-org").await;
    let path = format!("/api/organizations/{organization}/teams");
    let body = json!({ "name": "Backend Team", "description": "Handles backend services" });
    let team = by_admin(&issuer, Method::POST, &path, Some(body)).await;
    assert_eq!(team.status, 201);
    let team = team.json();
    assert_eq!(
        team,
        json!({
            "id": team["id"],
            "organization_id": organization,
            "name": "Backend Team",
            "description": "Handles backend services",
            "created_at": "2027-01-15T08:00:00Z",
            "updated_at": "2027-01-15T08:00:00Z",
        })
    );
    let list = by_admin(&issuer, Method::GET, &path, None).await.json();
    assert_exact_shape(&list, &json!({ "teams": [documented(TEAM)] }));
    assert_eq!(list["teams"], json!([team]));

    let undescribed = by_admin(&issuer, Method::POST, &path, Some(json!({ "name": "A" }))).await;
    assert_eq!(undescribed.str("description"), "");
    issuer
        .admin(
            Method::POST,
            &path,
            Some(json!({ "description": "nameless" })),
        )
        .await
        .expect_error(400, "invalid_request");
}

#[tokio::test]
async fn get_and_post_agents_of_an_organization() {
    let issuer = Issuer::start().await;
    let (organization, team) = organization_with_team(&issuer).await;
    issuer.agent(&[]).await;
    let path = format!("/api/organizations/{organization}/agents");
    let body = json!({ "name": "OpenClaw Agent", "scopes": ["read"], "team_id": team });
    let created = by_admin(&issuer, Method::POST, &path, Some(body)).await;
    assert_eq!(created.status, 201);
    assert_shape(
        &created.json(),
        &json!({ "agent": documented_agent(), "client_id": "", "client_secret": "" }),
    );
    assert_eq!(
        created.json()["agent"]["organization_id"],
        json!(organization),
        "from the URL"
    );
    let list = by_admin(&issuer, Method::GET, &path, None).await.json();
    assert_exact_shape(&list, &json!({ "agents": [documented_agent()] }));
    assert_eq!(list["agents"].as_array().unwrap().len(), 1, "its own only");
}

#[tokio::test]
async fn get_post_and_delete_api_keys() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let (organization, team) = organization_with_team(&issuer).await;
    let path = format!("/api/organizations/{organization}/api-keys");
    let body = json!({ "name": "Production Key", "team_id": team, "expires_in": 7_776_000 });
    let created = by_admin(&issuer, Method::POST, &path, Some(body)).await;
    assert_eq!(created.status, 201);
    let (key, text) = (created.json()["api_key"].clone(), created.str("key"));
    assert_exact_shape(&created.json(), &json!({ "api_key": {}, "key": "" }));
    assert!(text.starts_with("mach_"));
    assert_eq!(key["prefix"], text[..12], "the first twelve characters");
    for (name, value) in [
        ("organization_id", json!(organization)),
        ("team_id", json!(team)),
        ("name", json!("Production Key")),
        ("is_active", json!(true)),
        ("created_at", json!("2027-01-15T08:00:00Z")),
        ("expires_at", json!("2027-04-15T08:00:00Z")),
    ] {
        assert_eq!(key[name], value, "{name}");
    }

    issuer.bearer(&text, Method::GET, "/api/agents", None).await;
    let list = by_admin(&issuer, Method::GET, &path, None).await;
    assert_exact_shape(&list.json(), &json!({ "api_keys": [documented(API_KEY)] }));
    assert_eq!(
        list.json()["api_keys"][0]["last_used_at"],
        "2027-01-15T08:00:00Z"
    );
    assert!(!list.text.contains(&text), "shown once");

    clock.advance(Duration::from_secs(7_776_000));
    issuer
        .bearer(&text, Method::GET, "/api/agents", None)
        .await
        .expect_error(401, "unauthorized");

    let text = issuer
        .api_key(&organization, json!({ "name": "second" }))
        .await;
    let list = by_admin(&issuer, Method::GET, &path, None).await.json();
    let keys = list["api_keys"].as_array().unwrap();
    let second = keys.iter().find(|key| key["name"] == "second").unwrap();
    let second = format!("{path}/{}", second["id"].as_str().unwrap());
    let deleted = by_admin(&issuer, Method::DELETE, &second, None).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    issuer
        .bearer(&text, Method::GET, "/api/agents", None)
        .await
        .expect_error(401, "unauthorized");
    issuer
        .admin(Method::POST, &path, Some(json!({ "expires_in": 1 })))
        .await
        .expect_error(400, "invalid_request");
}
