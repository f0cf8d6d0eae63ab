//! `machineauth-soul.txt`, the reference document of the API, from its first chapter to its last: every endpoint, field
//! and error that it shows, in its order. Webhooks and the audit log have tests of their own.
//!
//! Where the document contradicts itself, the RFCs or the other documents, the test says what was decided, in the words
//! of `docs/deviations.md`.

mod agents;
mod configuration;
mod discovery;
mod errors;
mod models;
mod oauth;
mod organizations;
mod overview;
mod quick_start;
mod self_service;
mod summary;

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::{Value, json};

/// An agent as the document shows it.
fn documented_agent() -> Value {
    json!({
        "id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "name": "OpenClaw Agent",
        "client_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "scopes": ["read", "write"],
        "is_active": true,
        "created_at": "2026-03-02T12:00:00Z",
        "updated_at": "2026-03-02T12:00:00Z",
        "token_count": 15,
        "refresh_count": 3,
    })
}

/// The same, of an agent in a team that expires and has had tokens.
fn documented_agent_in_full() -> Value {
    with(
        documented_agent(),
        json!({
            "organization_id": "org-123",
            "team_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "expires_at": "2026-06-01T10:00:00Z",
            "last_activity_at": "2026-03-02T09:00:00Z",
            "last_token_issued_at": "2026-03-02T09:00:00Z",
        }),
    )
}

/// `object` with the members of `more`.
fn with(mut object: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut object, more) else {
        panic!("both are objects");
    };
    members.extend(more);
    object
}

/// A request with a JSON body and nobody's credentials.
async fn json_post(issuer: &Issuer, path: &str, body: Value) -> Answer {
    Answer::to(issuer.request(Method::POST, path).json(&body)).await
}

/// A request for administrators, as they come.
async fn by_admin(issuer: &Issuer, method: Method, path: &str, body: Option<Value>) -> Answer {
    let answer = issuer.admin(method, path, body).await;
    assert!(answer.status.is_success(), "{path}: {}", answer.text);
    answer
}

/// An organization with one team: their identifiers.
async fn organization_with_team(issuer: &Issuer) -> (String, String) {
    let organization = issuer.organization("my-org").await;
    let path = format!("/api/organizations/{organization}/teams");
    let body = json!({ "name": "Backend Team", "description": "Handles backend services" });
    let team = by_admin(issuer, Method::POST, &path, Some(body)).await;
    (organization, team.str("id"))
}

/// The administrator's password and address, as they are documented.
#[test]
fn the_administrator_of_these_tests_is_the_documented_one() {
    assert_eq!(ADMIN, ("admin@example.com", "changeme"));
}
