//! The console's pages over HTTP, as they are without a script.

mod agents;
mod audit;
mod forgery;
mod keys;
mod organizations;
mod people;
mod sessions;
mod tokens;
mod webhooks;

use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

/// What somebody might put into every field.
const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

/// An issuer with something on every page, called `name`.
async fn furnished(name: &str) -> Issuer {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let changed = json!({ "name": name });
    let path = format!("/api/organizations/{organization}");
    issuer.admin(Method::PATCH, &path, Some(changed)).await;
    let team = json!({ "name": name, "description": name });
    let teams = format!("{path}/teams");
    let team = issuer.admin(Method::POST, &teams, Some(team)).await;
    issuer
        .api_key(
            &organization,
            json!({ "name": name, "team_id": team.str("id") }),
        )
        .await;
    let agent = issuer
        .create(json!({
            "name": name,
            "description": name,
            "organization_id": organization,
            "team_id": team.str("id"),
            "tags": ["a tag"],
            "metadata": { "said": name },
            "claims": { "said": name },
            "scopes": ["<b>"],
        }))
        .await;
    issuer.tokens(&agent).await;
    let machine = json!({ "name": name, "dockId": "dock-1" });
    let machines = format!("/v1/organizations/{organization}/machine-clients");
    issuer.admin(Method::POST, &machines, Some(machine)).await;
    let webhook = json!({ "name": name, "url": "http://127.0.0.1:9/%3Cb%3E", "events": ["*"] });
    let webhook = issuer
        .admin(Method::POST, "/api/webhooks", Some(webhook))
        .await;
    let id = webhook.json()["webhook"]["id"].as_str().unwrap().to_owned();
    let test = json!({ "payload": name });
    let path = format!("/api/webhooks/{id}/test");
    issuer.admin(Method::POST, &path, Some(test)).await;
    issuer
}
