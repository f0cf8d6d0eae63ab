//! The documented login of administrators.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::SystemClock;
use machineauth_issuer::store::{DynStore, MemoryStore};
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::{Value, json};

async fn login(issuer: &Issuer, body: Value) -> Answer {
    Answer::to(issuer.request(Method::POST, "/api/auth/login").json(&body)).await
}

async fn token(issuer: &Issuer) -> String {
    login(issuer, json!({ "email": ADMIN.0, "password": ADMIN.1 }))
        .await
        .str("access_token")
}

#[tokio::test]
async fn an_administrator_logs_in_by_user_name_or_e_mail_address() {
    let issuer = Issuer::start().await;
    issuer.organization("acme").await;
    for field in ["username", "email"] {
        let answer = login(&issuer, json!({ field: ADMIN.0, "password": ADMIN.1 })).await;
        let token = answer.str("access_token");
        assert_eq!(
            answer.json(),
            json!({ "success": true, "access_token": token, "expires_in": 28800, "role": "owner" })
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        let me = issuer
            .bearer(&token, Method::GET, "/api/auth/me", None)
            .await
            .json();
        assert_eq!(
            (&me["user"]["email"], &me["user"]["role"]),
            (&json!(ADMIN.0), &json!("owner"))
        );
        assert!(me["user"]["id"].is_string());
        assert_eq!(me["memberships"][0]["organization_slug"], "acme");
        let created = issuer
            .bearer(
                &token,
                Method::POST,
                "/api/agents",
                Some(json!({ "name": "a" })),
            )
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
        let stats = issuer
            .bearer(&token, Method::GET, "/api/stats", None)
            .await
            .json();
        assert_eq!(stats, {
            let mut metrics = issuer.get("/metrics").await.json();
            metrics["requests"] = stats["requests"].clone();
            metrics
        });
    }
}

#[tokio::test]
async fn a_bad_login_says_so_in_the_documented_shape() {
    let issuer = Issuer::start().await;
    for body in [
        json!({ "email": ADMIN.0, "password": "wrong" }),
        json!({ "email": "other@example.com", "password": ADMIN.1 }),
        json!({ "email": "", "password": "" }),
    ] {
        let answer = login(&issuer, body).await;
        answer.expect_error(401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Basic "));
        let json = answer.json();
        assert_eq!(
            (
                &json["success"],
                &json["access_token"],
                &json["expires_in"],
                &json["role"]
            ),
            (&json!(false), &json!(""), &json!(0), &json!(""))
        );
    }
    login(&issuer, json!({ "email": ADMIN.0 }))
        .await
        .expect_error(400, "invalid_request");
}

/// I12, I13
#[tokio::test]
async fn an_administrators_token_is_no_agents_token() {
    let issuer = Issuer::start().await;
    let token = token(&issuer).await;
    assert_eq!(issuer.introspect(&token).await, json!({ "active": false }));
    for path in ["/api/agents/me", "/api/verify"] {
        issuer
            .bearer(&token, Method::GET, path, None)
            .await
            .expect_error(401, "invalid_token");
    }
}

#[tokio::test]
async fn an_administrators_token_expires_and_ends_with_the_password() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let first = token(&issuer).await;
    let status = async |issuer: &Issuer, token: &str| {
        issuer
            .bearer(token, Method::GET, "/api/agents", None)
            .await
            .status
            .as_u16()
    };
    clock.advance(Duration::from_secs(28_799));
    assert_eq!(status(&issuer, &first).await, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(status(&issuer, &first).await, 401);

    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
    let before = Issuer::builder().store(Arc::clone(&store)).start().await;
    let token = token(&before).await;
    let same = Issuer::builder().store(Arc::clone(&store)).start().await;
    assert_eq!(
        status(&same, &token).await,
        200,
        "it works at every issuer on the store"
    );
    let after = Issuer::builder()
        .store(store)
        .with("ADMIN_PASSWORD", "another")
        .start()
        .await;
    assert_eq!(status(&after, &token).await, 401);
    let mut changed = token.clone();
    changed.replace_range(6..7, if &token[6..7] == "A" { "B" } else { "A" });
    assert_eq!(status(&same, &changed).await, 401);
}
