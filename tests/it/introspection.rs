//! `POST /oauth/introspect`: RFC 7662, and the documented answers.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock as _, ManualClock, Timestamp};
use machineauth_issuer::store::{DynStore, MemoryStore};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn an_active_token_is_described() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let granted = issuer.token_answer(&agent).await;
    let answer = issuer.introspect(&granted.str("access_token")).await;
    assert_eq!(answer["active"], true);
    assert_eq!(answer["scope"], "read write");
    assert_eq!(answer["client_id"], agent.client_id);
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["iat"], granted.json()["issued_at"]);
    assert_eq!(
        answer["exp"].as_u64().unwrap() - answer["iat"].as_u64().unwrap(),
        86_400
    );
    assert!(
        answer.get("reason").is_none() && answer.get("revoked").is_none(),
        "{answer}"
    );
}

/// I13
#[tokio::test]
async fn expired_revoked_and_malformed_tokens_are_inactive() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (expired, _) = issuer.tokens(&agent).await;
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(
        issuer.introspect(&expired).await,
        json!({ "active": false, "reason": "expired" })
    );
    let (revoked, _) = issuer.tokens(&agent).await;
    issuer.revoke(&revoked).await;
    assert_eq!(
        issuer.introspect(&revoked).await,
        json!({ "active": false, "revoked": true, "reason": "revoked" })
    );
    for malformed in [
        "x",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.e30.",
        "rt_xyz",
        &"a".repeat(20_000),
        "\u{1F511}",
    ] {
        assert_eq!(
            issuer.introspect(malformed).await,
            json!({ "active": false }),
            "{malformed:.20}"
        );
    }
}

/// I13
#[tokio::test]
async fn a_token_of_another_issuer_is_inactive() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    let agent = other.agent(&["read"]).await;
    let (foreign, _) = other.tokens(&agent).await;
    assert_eq!(
        issuer.introspect(&foreign).await,
        json!({ "active": false })
    );
}

/// I13, V21
#[tokio::test]
async fn an_issuer_whose_clock_is_behind_takes_the_fresh_tokens_of_another() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let behind = ManualClock::new(clock.now().saturating_sub(Duration::from_secs(2)));
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
    let one = Issuer::builder()
        .clock(&clock)
        .store(Arc::clone(&store))
        .start()
        .await;
    let two = Issuer::builder()
        .clock(&behind)
        .store(store)
        .with("JWT_ISSUER", &one.base)
        .start()
        .await;
    let agent = one.agent(&["read"]).await;
    let (access, refresh_token) = one.tokens(&agent).await;
    for token in [&access, &refresh_token] {
        assert_eq!(two.introspect(token).await["active"], true);
    }
    for token in [&access, &refresh_token] {
        two.revoke(token).await;
        for issuer in [&one, &two] {
            assert_eq!(issuer.introspect(token).await["active"], false);
        }
    }
}

/// I11
#[tokio::test]
async fn the_tokens_of_an_agent_are_inactive_while_it_is_and_after_its_end() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, refresh_token) = issuer.tokens(&agent).await;
    issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}/deactivate", agent.id),
            None,
        )
        .await;
    for token in [&token, &refresh_token] {
        assert_eq!(issuer.introspect(token).await["active"], false);
    }
    issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}/reactivate", agent.id),
            None,
        )
        .await;
    for token in [&token, &refresh_token] {
        assert_eq!(issuer.introspect(token).await["active"], true);
    }
    issuer
        .admin(Method::DELETE, &format!("/api/agents/{}", agent.id), None)
        .await;
    for token in [&token, &refresh_token] {
        assert_eq!(issuer.introspect(token).await["active"], false);
    }
}

#[tokio::test]
async fn a_refresh_token_is_active_until_it_is_redeemed() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    let answer = issuer.introspect(&refresh_token).await;
    assert_eq!(
        (&answer["active"], &answer["token_type"]),
        (&json!(true), &json!("refresh_token"))
    );
    issuer.refresh(&agent, &refresh_token).await;
    assert_eq!(issuer.introspect(&refresh_token).await["active"], false);
}

#[tokio::test]
async fn a_request_without_a_token_is_refused() {
    let issuer = Issuer::start().await;
    issuer
        .post("/oauth/introspect", &[])
        .await
        .expect_error(400, "invalid_request");
    issuer
        .post("/oauth/introspect", &[("token", "")])
        .await
        .expect_error(400, "invalid_request");
}

#[tokio::test]
async fn a_server_that_demands_authentication_shows_a_client_only_what_concerns_it() {
    let issuer = Issuer::builder()
        .with("INTROSPECTION_AUTH", "required")
        .start()
        .await;
    let owner = issuer.agent(&["read"]).await;
    let stranger = issuer.agent(&["read"]).await;
    let resource_server = issuer.agent(&["tokens:introspect"]).await;
    let (token, _) = issuer.tokens(&owner).await;
    issuer
        .post("/oauth/introspect", &[("token", &token)])
        .await
        .expect_error(401, "invalid_client");
    for (caller, sees) in [(&owner, true), (&stranger, false), (&resource_server, true)] {
        let answer = issuer
            .post("/oauth/introspect", &caller.form(&[("token", &token)]))
            .await;
        assert_eq!(answer.json()["active"], sees);
        let request = issuer
            .request(Method::POST, "/oauth/introspect")
            .basic_auth(&caller.client_id, Some(&caller.client_secret));
        assert_eq!(
            Answer::to(request.form(&[("token", &token)])).await.json()["active"],
            sees
        );
    }
    let wrong = [
        ("client_id", owner.client_id.as_str()),
        ("client_secret", "wrong"),
        ("token", &token),
    ];
    issuer
        .post("/oauth/introspect", &wrong)
        .await
        .expect_error(401, "invalid_client");
}

/// I13
#[tokio::test]
async fn a_stranger_learns_nothing_of_a_token_not_even_that_it_was_revoked_or_expired() {
    for policy in ["open", "required"] {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let issuer = Issuer::builder()
            .clock(&clock)
            .with("INTROSPECTION_AUTH", policy)
            .start()
            .await;
        let (owner, stranger) = (issuer.agent(&["read"]).await, issuer.agent(&["read"]).await);
        let (revoked, refresh_token) = issuer.tokens(&owner).await;
        let (expired, _) = issuer.tokens(&owner).await;
        for token in [&revoked, &refresh_token] {
            let answer = issuer
                .post("/oauth/revoke", &owner.form(&[("token", token)]))
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        for (token, lived) in [(&revoked, 0), (&refresh_token, 0), (&expired, 86_400)] {
            clock.advance(Duration::from_secs(lived));
            let ask = async |who: &Agent| {
                issuer
                    .post("/oauth/introspect", &who.form(&[("token", token)]))
                    .await
            };
            assert_eq!(ask(&stranger).await.text, r#"{"active":false}"#);
            assert!(ask(&owner).await.json()["reason"].is_string());
        }
    }
}

/// I25
#[tokio::test]
async fn an_api_key_sees_and_ends_the_tokens_of_its_organization_only() {
    let issuer = Issuer::builder()
        .with("INTROSPECTION_AUTH", "required")
        .start()
        .await;
    let (one, other) = (
        issuer.organization("one").await,
        issuer.organization("other").await,
    );
    let mine = issuer.agent_in(&one, &["read"]).await;
    let theirs = issuer.agent_in(&other, &["read"]).await;
    let key = issuer
        .api_key(&one, serde_json::json!({ "name": "k" }))
        .await;
    let blind = serde_json::json!({ "name": "k", "scopes": ["audit:read"] });
    let blind = issuer.api_key(&one, blind).await;
    let ask = async |key: &str, path: &str, token: &str| {
        let request = issuer
            .request(reqwest::Method::POST, path)
            .bearer_auth(key)
            .form(&[("token", token)]);
        machineauth_tests::http::Answer::to(request).await
    };
    let (my_token, my_refresh_token) = issuer.tokens(&mine).await;
    let (their_token, their_refresh_token) = issuer.tokens(&theirs).await;
    for token in [&my_token, &my_refresh_token] {
        assert_eq!(
            ask(&key, "/oauth/introspect", token).await.json()["active"],
            true
        );
        assert_eq!(
            ask(&blind, "/oauth/introspect", token).await.json()["active"],
            false
        );
        ask(&blind, "/oauth/revoke", token)
            .await
            .expect_error(400, "unauthorized_client");
    }
    for token in [&their_token, &their_refresh_token] {
        assert_eq!(
            ask(&key, "/oauth/introspect", token).await.json()["active"],
            false
        );
        ask(&key, "/oauth/revoke", token)
            .await
            .expect_error(400, "unauthorized_client");
    }
    assert_eq!(ask(&key, "/oauth/revoke", &my_token).await.status, 200);
    assert_eq!(
        ask(&key, "/oauth/introspect", &my_token).await.json()["active"],
        false
    );
    ask("mach_wrong", "/oauth/introspect", &my_token)
        .await
        .expect_error(401, "invalid_client");
}
