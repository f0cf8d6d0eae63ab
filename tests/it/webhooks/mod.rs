//! Webhooks: the documented routes, what receivers get, and what happens when they fail.

mod actors;
mod bounds;
mod crash;
mod deliveries;
mod guard;
mod receivers;
mod routes;

use std::time::Duration;

use machineauth_tests::issuer::Issuer;
use machineauth_tests::receiver::Receiver;
use reqwest::Method;
use serde_json::{Value, json};

/// A webhook as it was created.
struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    fn path(&self, rest: &str) -> String {
        format!("/api/webhooks/{}{rest}", self.id)
    }
}

/// Creates a webhook to `receiver` for these events, with what else `body` says.
async fn hook(issuer: &Issuer, receiver: &Receiver, events: &[&str], mut body: Value) -> Hook {
    body["name"] = json!("a webhook");
    body["url"] = json!(receiver.url);
    body["events"] = json!(events);
    let created = issuer
        .admin(Method::POST, "/api/webhooks", Some(body))
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    Hook {
        id: created.json()["webhook"]["id"].as_str().unwrap().to_owned(),
        secret: created.str("secret"),
    }
}

/// What the API says about a webhook's deliveries, the newest first.
async fn deliveries(issuer: &Issuer, hook: &Hook) -> Vec<Value> {
    let answer = issuer
        .admin(Method::GET, &hook.path("/deliveries"), None)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["deliveries"].as_array().unwrap().clone()
}

/// What the API says about a webhook.
async fn shown(issuer: &Issuer, hook: &Hook) -> Value {
    let answer = issuer.admin(Method::GET, &hook.path(""), None).await;
    answer.json()["webhook"].clone()
}

/// A delivery of the webhook, once there is one that stands at `status`.
async fn delivery_at(issuer: &Issuer, hook: &Hook, status: &str) -> Value {
    for _ in 0..600 {
        let mut found = deliveries(issuer, hook).await.into_iter();
        if let Some(delivery) = found.find(|delivery| delivery["status"] == json!(status)) {
            return delivery;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "none is {status} among {:#?}",
        deliveries(issuer, hook).await
    );
}
