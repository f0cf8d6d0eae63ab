//! Error Response, Common Error Codes.

use bytes::Bytes;
use machineauth_issuer::store::{Batch, Outcome, Partition};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

use super::json_post;

/// Every error body has `error` and `error_description`. Decided: it also has `message`, is always JSON, and the OAuth
/// statuses are those of RFC 6749 §5.2, so `invalid_grant` is 400.
#[tokio::test]
async fn the_common_errors_have_their_status_and_code() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let wrong = Agent {
        client_secret: "wrong".into(),
        ..agent.clone()
    };
    let token = async |body| json_post(&issuer, "/oauth/token", body).await;
    token(json!({})).await.expect_error(400, "invalid_request");
    token(json!({ "grant_type": "implicit" }))
        .await
        .expect_error(400, "unsupported_grant_type");
    let refused = issuer.token_answer(&wrong).await;
    refused.expect_error(401, "invalid_client");
    assert!(refused.header("www-authenticate").starts_with("Basic "));
    token(json!({ "grant_type": "refresh_token", "refresh_token": "rt_expired" }))
        .await
        .expect_error(400, "invalid_grant");
    issuer
        .get("/api/agents/me")
        .await
        .expect_error(401, "invalid_token");
    issuer
        .get("/api/nothing")
        .await
        .expect_error(404, "not_found");
    Answer::to(issuer.request(Method::PUT, "/api/agents"))
        .await
        .expect_error(405, "method_not_allowed");
}

/// The record of the only agent becomes unreadable, as by another version's mistake.
#[tokio::test]
async fn an_internal_error_is_a_server_error_that_tells_nothing() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let store = &issuer.app.store;
    let mut broken = 0;
    for partition in Partition::data() {
        let rows = store.scan(&partition.key("agent"), None, 10).await.unwrap();
        for (key, _) in rows {
            let batch = Batch::new(partition).put(&key, Bytes::from_static(b"\x01{garbage"));
            assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
            broken += 1;
        }
    }
    assert_eq!(broken, 1);
    let answer = issuer.token_answer(&agent).await;
    answer.expect_error(500, "server_error");
    assert!(!answer.text.contains("garbage") && !answer.text.contains("agent/"));
    issuer
        .admin(Method::GET, &format!("/api/agents/{}", agent.id), None)
        .await
        .expect_error(500, "server_error");
}
