//! Data Models (Complete Schema).

use machineauth_tests::document::{assert_shape, is_date};
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{by_admin, organization_with_team};

/// The members of a model, each with the kind of value that the document gives it.
type Model = &'static [(&'static str, Kind)];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Uuid,
    Text,
    Texts,
    Flag,
    Number,
    Date,
}

use Kind::{Date, Flag, Number, Text, Texts};

const AGENT: Model = &[
    ("id", Kind::Uuid),
    ("organization_id", Text),
    ("team_id", Kind::Uuid),
    ("name", Text),
    ("client_id", Kind::Uuid),
    ("scopes", Texts),
    ("is_active", Flag),
    ("created_at", Date),
    ("updated_at", Date),
    ("expires_at", Date),
    ("token_count", Number),
    ("refresh_count", Number),
    ("last_activity_at", Date),
    ("last_token_issued_at", Date),
];

pub(super) const ORGANIZATION: Model = &[
    ("id", Text),
    ("name", Text),
    ("slug", Text),
    ("owner_email", Text),
    ("jwt_issuer", Text),
    ("jwt_expiry_secs", Number),
    ("allowed_origins", Text),
    ("plan", Text),
    ("created_at", Date),
    ("updated_at", Date),
];

pub(super) const TEAM: Model = &[
    ("id", Text),
    ("organization_id", Text),
    ("name", Text),
    ("description", Text),
    ("created_at", Date),
    ("updated_at", Date),
];

pub(super) const API_KEY: Model = &[
    ("id", Text),
    ("organization_id", Text),
    ("team_id", Kind::Uuid),
    ("name", Text),
    ("prefix", Text),
    ("last_used_at", Date),
    ("expires_at", Date),
    ("is_active", Flag),
    ("created_at", Date),
];

/// An object like the model.
pub(super) fn documented(model: Model) -> Value {
    let example = |kind| match kind {
        Kind::Uuid => json!("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
        Kind::Text => json!("text"),
        Kind::Texts => json!(["text"]),
        Kind::Flag => json!(true),
        Kind::Number => json!(1),
        Kind::Date => json!("2026-03-02T12:00:00Z"),
    };
    let members = model
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), example(*kind)));
    Value::Object(members.collect())
}

#[tokio::test]
async fn every_model_has_its_documented_members() {
    let issuer = Issuer::start().await;
    let (organization, team) = organization_with_team(&issuer).await;
    let path = format!("/api/organizations/{organization}");
    let agent = issuer
        .create(json!({
            "name": "OpenClaw Agent",
            "organization_id": organization,
            "team_id": team,
            "scopes": ["read"],
            "expires_in": 60,
        }))
        .await;
    issuer.tokens(&agent).await;
    let key = json!({ "name": "Production Key", "team_id": team, "expires_in": 60 });
    let key = issuer.api_key(&organization, key).await;
    issuer.bearer(&key, Method::GET, "/api/agents", None).await;

    let read = async |path: String| by_admin(&issuer, Method::GET, &path, None).await.json();
    let shown = read(format!("/api/agents/{}", agent.id)).await;
    assert_shape(&shown["agent"], &documented(AGENT));
    assert_shape(&read(path.clone()).await, &documented(ORGANIZATION));
    let teams = read(format!("{path}/teams")).await;
    assert_shape(&teams["teams"][0], &documented(TEAM));
    let keys = read(format!("{path}/api-keys")).await;
    assert_shape(&keys["api_keys"][0], &documented(API_KEY));
}

/// What is documented as "or null" is left out where there is nothing; what is not, never.
#[tokio::test]
async fn an_agent_that_has_done_nothing_lacks_only_what_may_be_null() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&[]).await;
    let path = format!("/api/agents/{}", agent.id);
    let shown = by_admin(&issuer, Method::GET, &path, None).await.json()["agent"].clone();
    let nullable = [
        "team_id",
        "public_key",
        "expires_at",
        "last_activity_at",
        "last_token_issued_at",
    ];
    for (name, kind) in AGENT {
        let value = &shown[name];
        let fits = match kind {
            Kind::Uuid => value
                .as_str()
                .is_some_and(|text| Uuid::parse_str(text).is_ok()),
            Kind::Text => value.is_string(),
            Kind::Texts => value.is_array(),
            Kind::Flag => value.is_boolean(),
            Kind::Number => value.is_u64(),
            Kind::Date => value.as_str().is_some_and(is_date),
        };
        assert_eq!(fits, !nullable.contains(name), "{name} in {shown}");
    }
    assert_eq!(shown["organization_id"], "", "clients expect a text");
}

#[tokio::test]
async fn the_plans_are_the_documented_ones() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("my-org").await;
    let path = format!("/api/organizations/{organization}");
    for plan in ["free", "pro", "enterprise"] {
        let changed = by_admin(&issuer, Method::PATCH, &path, Some(json!({ "plan": plan }))).await;
        assert_eq!(changed.str("plan"), plan);
    }
}
