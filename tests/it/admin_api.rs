//! `/api/agents` under administrator authentication.

use std::time::Duration;

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_created_agent_is_shown_listed_and_counted() {
    let issuer = Issuer::start().await;
    let body =
        json!({ "name": "OpenClaw Agent", "scopes": ["read", "write"], "expires_in": 7_776_000 });
    let created = issuer.admin(Method::POST, "/api/agents", Some(body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let agent = created.json()["agent"].clone();
    assert_eq!(agent["name"], "OpenClaw Agent");
    assert_eq!(agent["organization_id"], "");
    assert_eq!(agent["scopes"], json!(["read", "write"]));
    assert_eq!(agent["is_active"], true);
    assert_eq!(
        (&agent["token_count"], &agent["refresh_count"]),
        (&json!(0), &json!(0))
    );
    for time in ["created_at", "updated_at", "expires_at"] {
        assert!(
            agent[time].as_str().unwrap().ends_with('Z'),
            "{time} in {agent}"
        );
    }
    let id = agent["id"].as_str().unwrap();
    let (client_id, client_secret) = (created.str("client_id"), created.str("client_secret"));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &*client_id),
        ("client_secret", &*client_secret),
    ];
    let refresh_token = issuer
        .post("/oauth/token", &form)
        .await
        .str("refresh_token");
    issuer
        .post("/oauth/refresh", &[("refresh_token", &refresh_token)])
        .await;

    let shown = issuer
        .admin(Method::GET, &format!("/api/agents/{id}"), None)
        .await
        .json()["agent"]
        .clone();
    assert_eq!(
        (&shown["token_count"], &shown["refresh_count"]),
        (&json!(1), &json!(1))
    );
    assert!(shown["last_token_issued_at"].is_string() && shown["last_activity_at"].is_string());
    let listed = issuer.admin(Method::GET, "/api/agents", None).await.json();
    assert_eq!(listed["agents"], json!([shown]));
    assert!(
        !format!("{listed}{shown}").contains(&client_secret),
        "a secret is shown once"
    );
}

#[tokio::test]
async fn a_long_list_is_walked_by_cursor() {
    let issuer = Issuer::start().await;
    let mut expected = Vec::new();
    for _ in 0..25 {
        expected.push(issuer.agent(&[]).await.id);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = issuer
            .admin(Method::GET, &format!("/api/agents?limit=10{cursor}"), None)
            .await
            .json();
        seen.extend(
            page["agents"]
                .as_array()
                .unwrap()
                .iter()
                .map(|agent| agent["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=x"] {
        issuer
            .admin(Method::GET, &format!("/api/agents?{query}"), None)
            .await
            .expect_error(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_deleted_agent_is_gone() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let path = format!("/api/agents/{}", agent.id);
    assert_eq!(issuer.admin(Method::DELETE, &path, None).await.status, 204);
    for method in [Method::GET, Method::DELETE] {
        issuer
            .admin(method, &path, None)
            .await
            .expect_error(404, "not_found");
    }
    issuer
        .admin(Method::POST, &format!("{path}/rotate"), None)
        .await
        .expect_error(404, "not_found");
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(issuer.get("/health/ready").await.json()["agents_count"], 0);
}

#[tokio::test]
async fn every_value_that_cannot_be_accepted_is_named() {
    let issuer = Issuer::start().await;
    let scopes: Vec<_> = (0..101).map(|n| format!("s{n}")).collect();
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "  " }), "name"),
        (json!({ "name": 7 }), "name"),
        (json!({ "name": "a\u{0}b" }), "name"),
        (json!({ "name": "a".repeat(201) }), "name"),
        (json!({ "name": "a", "scopes": "read" }), "scopes"),
        (json!({ "name": "a", "scopes": ["re ad"] }), "scopes"),
        (json!({ "name": "a", "scopes": [""] }), "scopes"),
        (json!({ "name": "a", "scopes": scopes }), "scopes"),
        (json!({ "name": "a", "expires_in": 0 }), "expires_in"),
        (json!({ "name": "a", "expires_in": -1 }), "expires_in"),
        (json!({ "name": "a", "expires_in": u64::MAX }), "expires_in"),
        (json!({ "name": "a", "expires_in": "1h" }), "expires_in"),
        (
            json!({ "name": "a", "organization_id": "org-123" }),
            "organization_id",
        ),
    ] {
        let answer = issuer
            .admin(Method::POST, "/api/agents", Some(body.clone()))
            .await;
        answer.expect_error(400, "invalid_request");
        assert!(
            answer.str("message").contains(field),
            "{body}: {}",
            answer.text
        );
    }
    let agent = issuer.agent(&[]).await;
    let answer = issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}", agent.id),
            Some(json!({ "action": "explode" })),
        )
        .await;
    answer.expect_error(400, "invalid_request");
    assert!(answer.str("message").contains("action"));
}

/// I22
#[tokio::test]
async fn a_body_of_json_that_is_no_object_is_refused_everywhere() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&[]).await;
    let one = format!("/api/agents/{}", agent.id);
    // The fields in their order, and what else is JSON.
    let bodies = [
        json!([]),
        json!(["a", ["read"], 60]),
        json!(["rotate", true]),
        json!([{ "name": "a", "action": "rotate" }]),
        json!("rotate"),
        json!(true),
        json!(null),
    ];
    for path in [
        "/api/agents".to_owned(),
        one.clone(),
        format!("{one}/rotate"),
        format!("{one}/deactivate"),
    ] {
        for body in &bodies {
            let answer = issuer.admin(Method::POST, &path, Some(body.clone())).await;
            answer.expect_error(400, "invalid_request");
            assert_eq!(answer.str("message"), "expected a JSON object", "{path}");
        }
    }
    assert_eq!(
        issuer.token_answer(&agent).await.status,
        200,
        "nothing happened to the agent"
    );
}

/// I22
#[tokio::test]
async fn an_identifier_of_any_bytes_names_no_agent() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&[]).await;
    for id in [
        "",
        "%ff",
        "%ff%fe",
        "%c3%28",
        "%00",
        "%0d%0a",
        "%2f",
        "%2e%2e%2f",
        "%",
        "%zz",
        "x",
        "0",
        "-1",
        "*",
        "%20",
        "'%20OR%201=1%20--",
        "00000000-0000-0000-0000-000000000000",
        &"a".repeat(5_000),
        &agent.client_id,
        &format!("{}%00", agent.id),
        &format!("{}%20", agent.id),
        &format!("%7B{}%7D", agent.id),
        &format!("urn:uuid:{}", agent.id),
        &agent.id.to_uppercase(),
    ] {
        for (method, action) in [
            (Method::GET, ""),
            (Method::DELETE, ""),
            (Method::POST, ""),
            (Method::POST, "/rotate"),
            (Method::POST, "/deactivate"),
            (Method::POST, "/reactivate"),
        ] {
            let path = format!("/api/agents/{id}{action}");
            let body = json!({ "action": "rotate" });
            let answer = issuer.admin(method.clone(), &path, Some(body)).await;
            answer.expect_error(404, "not_found");
            assert_eq!(
                answer.header("content-type"),
                "application/json",
                "{method} {path:.80}"
            );
        }
    }
    assert_eq!(
        issuer.token_answer(&agent).await.status,
        200,
        "nothing happened to the agent"
    );
}

#[tokio::test]
async fn times_are_shown_to_the_second_in_utc() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    clock.advance(Duration::from_millis(999));
    let agent = issuer
        .create(json!({ "name": "brief", "expires_in": 86_400 }))
        .await;
    let path = format!("/api/agents/{}", agent.id);
    let times = async || {
        let shown = issuer.admin(Method::GET, &path, None).await.json()["agent"].clone();
        [
            "created_at",
            "updated_at",
            "expires_at",
            "last_token_issued_at",
            "last_activity_at",
        ]
        .map(|name| shown[name].clone())
    };
    let (start, end) = (json!("2027-01-15T08:00:00Z"), json!("2027-01-16T08:00:00Z"));
    assert_eq!(
        times().await,
        [
            start.clone(),
            start.clone(),
            end.clone(),
            json!(null),
            json!(null)
        ]
    );
    clock.advance(Duration::from_secs(3_600));
    issuer.tokens(&agent).await;
    clock.advance(Duration::from_secs(60));
    issuer
        .admin(Method::POST, &format!("{path}/rotate"), None)
        .await;
    let (issued, rotated) = (json!("2027-01-15T09:00:00Z"), json!("2027-01-15T09:01:00Z"));
    assert_eq!(
        times().await,
        [start, rotated.clone(), end, issued.clone(), issued]
    );
    let ready = issuer.get("/health/ready").await;
    assert_eq!(ready.json()["timestamp"], rotated);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let issuer = Issuer::start().await;
    for (content_type, body, status) in [
        ("application/json", "{\"name\":\"a\"} x".to_owned(), 400),
        (
            "application/json",
            "{\"name\":\"a\",\"name\":\"b\"}".to_owned(),
            400,
        ),
        ("application/json", String::new(), 400),
        ("text/plain", "{\"name\":\"a\"}".to_owned(), 400),
        (
            "application/json",
            format!("{{\"name\":\"{}\"}}", "a".repeat(1024 * 1024)),
            413,
        ),
    ] {
        let request = issuer
            .request(Method::POST, "/api/agents")
            .basic_auth(ADMIN.0, Some(ADMIN.1));
        Answer::to(request.header("content-type", content_type).body(body))
            .await
            .expect_error(status, "invalid_request");
    }
}

/// I12
#[tokio::test]
async fn nobody_but_the_administrator_reaches_any_admin_route() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["admin"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let one = format!("/api/agents/{}", agent.id);
    let routes = [
        (Method::GET, "/api/agents".to_owned()),
        (Method::POST, "/api/agents".to_owned()),
        (Method::GET, one.clone()),
        (Method::DELETE, one.clone()),
        (Method::POST, one.clone()),
        (Method::POST, format!("{one}/rotate")),
        (Method::POST, format!("{one}/deactivate")),
        (Method::POST, format!("{one}/reactivate")),
    ];
    for (method, path) in routes {
        let request = || {
            issuer
                .request(method.clone(), &path)
                .json(&json!({ "name": "x", "action": "rotate" }))
        };
        // Only an agent of an organization can administer, and then only that organization.
        Answer::to(request().bearer_auth(&token))
            .await
            .expect_error(403, "forbidden");
        for refused in [
            request(),
            request().basic_auth(&agent.client_id, Some(&agent.client_secret)),
            request().basic_auth(ADMIN.0, Some("wrong")),
            request().basic_auth("other@example.com", Some(ADMIN.1)),
            request().basic_auth(ADMIN.0, None::<&str>),
        ] {
            let answer = Answer::to(refused).await;
            answer.expect_error(401, "unauthorized");
            assert!(
                answer.header("www-authenticate").starts_with("Basic "),
                "{method} {path}"
            );
        }
        let twice = request().basic_auth(ADMIN.0, Some(ADMIN.1));
        let twice = twice.header("authorization", "Basic eDp5");
        let twice = Answer::to(twice).await;
        twice.expect_error(400, "invalid_request");
    }
    assert_eq!(
        issuer.token_answer(&agent).await.status,
        200,
        "nothing happened to the agent"
    );
}
