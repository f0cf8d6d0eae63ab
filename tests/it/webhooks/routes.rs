//! `/api/webhooks`, route by route, as documented.

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::receiver::{Receiver, Reply};
use reqwest::Method;
use serde_json::json;

use super::{deliveries, hook, shown};

#[tokio::test]
async fn a_webhook_is_created_seen_changed_and_deleted() {
    let issuer = Issuer::start().await;
    let body = json!({
        "name": "My Webhook",
        "url": "http://127.0.0.1:9/webhook",
        "events": ["agent.created", "agent.deleted", "token.issued"],
        "max_retries": 5,
        "retry_backoff_base": 3,
    });
    let created = issuer
        .admin(Method::POST, "/api/webhooks", Some(body))
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert!(created.str("secret").starts_with("whsec_"));
    let webhook = created.json()["webhook"].clone();
    for (field, value) in [
        ("organization_id", json!("")),
        ("team_id", json!("")),
        ("name", json!("My Webhook")),
        ("url", json!("http://127.0.0.1:9/webhook")),
        (
            "events",
            json!(["agent.created", "agent.deleted", "token.issued"]),
        ),
        ("is_active", json!(true)),
        ("max_retries", json!(5)),
        ("retry_backoff_base", json!(3)),
        ("last_tested_at", json!(null)),
        ("consecutive_fails", json!(0)),
    ] {
        assert_eq!(webhook[field], value, "{field}");
    }
    let path = format!("/api/webhooks/{}", webhook["id"].as_str().unwrap());
    let list = issuer
        .admin(Method::GET, "/api/webhooks", None)
        .await
        .json();
    assert_eq!(list["webhooks"], json!([webhook]));
    let seen = issuer.admin(Method::GET, &path, None).await;
    assert_eq!(seen.json()["webhook"], webhook);
    assert!(!seen.text.contains("whsec_") && !seen.text.contains("sealed"));

    let change = json!({
        "name": "Updated Name",
        "url": "http://127.0.0.1:9/new",
        "events": ["*"],
        "is_active": false,
        "max_retries": 0,
        "retry_backoff_base": 1,
    });
    for method in [Method::PUT, Method::PATCH] {
        let changed = issuer.admin(method, &path, Some(change.clone())).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let changed = changed.json()["webhook"].clone();
        for (field, value) in change.as_object().unwrap() {
            assert_eq!(&changed[field], value, "{field}");
        }
    }
    let outdated = issuer
        .request(Method::PUT, &path)
        .basic_auth(ADMIN.0, Some(ADMIN.1))
        .header("if-match", seen.header("etag"))
        .json(&json!({ "name": "late" }));
    Answer::to(outdated)
        .await
        .expect_error(412, "precondition_failed");

    let deleted = issuer.admin(Method::DELETE, &path, None).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    for method in [Method::GET, Method::DELETE] {
        let gone = issuer.admin(method, &path, None).await;
        gone.expect_error(404, "not_found");
    }
}

#[tokio::test]
async fn what_a_webhook_cannot_have_is_named() {
    let issuer = Issuer::start().await;
    let good = json!({ "name": "w", "url": "http://127.0.0.1:9/", "events": ["*"] });
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(null)),
        ("url", json!("ftp://example.com")),
        ("url", json!("http://user:hunter2@example.com/")),
        ("url", json!(null)),
        ("events", json!([])),
        ("events", json!(["agent.exploded"])),
        ("events", json!("agent.created")),
        ("max_retries", json!(21)),
        ("max_retries", json!(-1)),
        ("retry_backoff_base", json!(0)),
        ("format", json!("xml")),
        ("token_events", json!("some")),
        ("organization_id", json!("nobody")),
        ("team_id", json!("3f1c2f0e-6a55-4b43-9a5c-0a4bb07c8f10")),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = issuer
            .admin(Method::POST, "/api/webhooks", Some(body))
            .await;
        refused.expect_error(400, "invalid_request");
        let message = refused.str("message");
        assert!(message.contains(field), "{field}={value}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

/// I16
#[tokio::test]
async fn in_production_nothing_is_sent_unencrypted() {
    let password = "a long enough one";
    let issuer = Issuer::builder()
        .with("ENV", "production")
        .with("ADMIN_PASSWORD", password)
        .with(
            "SERVER_KEY",
            "8d1f0c4b6a2e9375d8c1b0a4f3e2d1c00f1e2d3c4b5a69788796a5b4c3d2e1f0",
        )
        .with("JWT_ISSUER", "https://auth.example.com")
        .start()
        .await;
    let create = async |url: &str| {
        let request = issuer
            .request(Method::POST, "/api/webhooks")
            .basic_auth(ADMIN.0, Some(password))
            .json(&json!({ "name": "w", "url": url, "events": ["*"] }));
        Answer::to(request).await
    };
    create("http://example.com/")
        .await
        .expect_error(400, "invalid_request");
    assert_eq!(create("https://example.com/").await.status, 201);
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_says_what_became_of_it() {
    let issuer = Issuer::start().await;
    let receiver = Receiver::that(|received| {
        let is_refused = received.json()["refuse"] == json!(true);
        Reply::status(if is_refused { 500 } else { 200 })
    })
    .await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    let test = async |body| {
        let answer = issuer
            .admin(Method::POST, &hook.path("/test"), Some(body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    };
    let taken = json!({ "success": true, "status_code": 200, "error": "" });
    assert_eq!(
        test(json!({ "event": "webhook.test", "payload": "{\"test\": true}" })).await,
        taken
    );
    assert_eq!(test(json!({ "payload": { "test": true } })).await, taken);
    let answer = issuer.admin(Method::POST, &hook.path("/test"), None).await;
    assert_eq!(answer.json(), taken);
    let refused = test(json!({ "payload": { "refuse": true } })).await;
    assert_eq!(
        (&refused["success"], &refused["status_code"]),
        (&json!(false), &json!(500))
    );
    assert!(refused["error"].as_str().unwrap().contains("500"));

    let received = receiver.received();
    assert_eq!(
        received[0].body, "{\"test\": true}",
        "a text is sent as it is"
    );
    assert_eq!(received[1].json(), json!({ "test": true }));
    let ours = received[2].json();
    assert_eq!(
        (&ours["event"], &ours["webhook_id"]),
        (&json!("webhook.test"), &json!(hook.id))
    );
    assert_eq!(received[2].header("x-webhook-event"), "webhook.test");
    assert!(!shown(&issuer, &hook).await["last_tested_at"].is_null());
    let mut statuses: Vec<_> = deliveries(&issuer, &hook)
        .await
        .iter()
        .map(|delivery| delivery["status"].as_str().unwrap().to_owned())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["delivered", "delivered", "delivered", "failed"]);

    for body in [json!({ "event": "nothing" }), json!({ "payload": 7 })] {
        let refused = issuer
            .admin(Method::POST, &hook.path("/test"), Some(body))
            .await;
        refused.expect_error(400, "invalid_request");
    }
}

#[tokio::test]
async fn what_can_be_subscribed_to_is_listed() {
    let issuer = Issuer::start().await;
    let list = issuer
        .admin(Method::GET, "/api/webhook-events", None)
        .await
        .json();
    let events = list["events"].as_array().unwrap();
    for documented in [
        "agent.created",
        "agent.deleted",
        "agent.updated",
        "agent.credentials_rotated",
        "token.issued",
        "token.validation_success",
        "token.validation_failed",
        "webhook.created",
        "webhook.updated",
        "webhook.deleted",
        "webhook.test",
    ] {
        assert!(events.contains(&json!(documented)), "{documented}");
    }
    let receiver = Receiver::start().await;
    let names: Vec<_> = events.iter().map(|name| name.as_str().unwrap()).collect();
    hook(&issuer, &receiver, &names, json!({})).await;
}

/// I25
#[tokio::test]
async fn an_organization_has_webhooks_of_its_own_and_sees_no_others() {
    let issuer = Issuer::start().await;
    let acme = issuer.organization("acme").await;
    let other = issuer.organization("other").await;
    let key = issuer.api_key(&acme, json!({ "name": "k" })).await;
    let body = json!({ "name": "w", "url": "http://127.0.0.1:9/", "events": ["*"] });
    let own = issuer
        .bearer(&key, Method::POST, "/api/webhooks", Some(body.clone()))
        .await;
    assert_eq!(own.status, 201, "{}", own.text);
    assert_eq!(own.json()["webhook"]["organization_id"], json!(acme));
    for organization in ["", other.as_str()] {
        let mut body = body.clone();
        body["organization_id"] = json!(organization);
        let created = issuer
            .admin(Method::POST, "/api/webhooks", Some(body.clone()))
            .await;
        let id = created.json()["webhook"]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/webhooks/{id}");
        for (method, rest) in [
            (Method::GET, ""),
            (Method::PUT, ""),
            (Method::DELETE, ""),
            (Method::POST, "/test"),
            (Method::POST, "/rotate-secret"),
            (Method::POST, "/replay"),
            (Method::GET, "/deliveries"),
            (
                Method::GET,
                "/deliveries/3f1c2f0e-6a55-4b43-9a5c-0a4bb07c8f10",
            ),
        ] {
            let body = Some(json!({ "name": "mine now" }));
            let refused = issuer
                .bearer(&key, method, &format!("{path}{rest}"), body)
                .await;
            refused.expect_error(404, "not_found");
        }
        if !organization.is_empty() {
            let refused = issuer
                .bearer(&key, Method::POST, "/api/webhooks", Some(body))
                .await;
            refused.expect_error(400, "invalid_request");
        }
    }
    let seen = issuer
        .bearer(&key, Method::GET, "/api/webhooks", None)
        .await
        .json();
    assert_eq!(seen["webhooks"].as_array().unwrap().len(), 1);
}
