//! Refresh tokens: RFC 6749 §6, RFC 9700 §4.14.2, and the families of the design.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_refresh_gets_the_next_pair_of_the_same_family() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let (first, refresh_token) = issuer.tokens(&agent).await;
    assert!(refresh_token.starts_with("rt_"));
    let answer = issuer.refresh(&agent, &refresh_token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let second = answer.str("access_token");
    assert_ne!(answer.str("refresh_token"), refresh_token);
    assert_eq!(claims(&first)["fid"], claims(&second)["fid"]);
    assert_ne!(claims(&first)["jti"], claims(&second)["jti"]);
    assert_eq!(answer.str("scope"), "read write");
    let next = issuer.refresh(&agent, &answer.str("refresh_token")).await;
    assert_eq!(next.status, 200, "{}", next.text);
}

#[tokio::test]
async fn the_documented_short_form_needs_only_the_refresh_token() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    let answer = issuer
        .post("/oauth/refresh", &[("refresh_token", &refresh_token)])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    issuer
        .post("/oauth/refresh", &[("grant_type", "client_credentials")])
        .await
        .expect_error(400, "unsupported_grant_type");
    issuer
        .post("/oauth/refresh", &[])
        .await
        .expect_error(400, "invalid_request");
}

/// I9
#[tokio::test]
async fn a_hundred_redemptions_at_once_get_one_and_the_same_successor() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    let answers = join_all((0..100).map(|_| issuer.refresh(&agent, &refresh_token))).await;
    let mut successors = BTreeSet::new();
    let mut token_ids = BTreeSet::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        successors.insert(answer.str("refresh_token"));
        token_ids.insert(claims(&answer.str("access_token"))["jti"].to_string());
    }
    assert_eq!((successors.len(), token_ids.len()), (1, 1));
    let metrics = issuer.get("/metrics").await.json();
    assert_eq!(metrics["tokens_refreshed"], 1);
    let successor = successors.first().unwrap();
    assert_eq!(issuer.refresh(&agent, successor).await.status, 200);
}

/// I9
#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again_for_ten_seconds() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    let lost = issuer.refresh(&agent, &refresh_token).await;
    clock.advance(Duration::from_millis(9_999));
    let repeated = issuer.refresh(&agent, &refresh_token).await;
    assert_eq!(repeated.str("refresh_token"), lost.str("refresh_token"));
    assert_eq!(
        claims(&repeated.str("access_token")),
        claims(&lost.str("access_token"))
    );
}

/// I9
#[tokio::test]
async fn re_use_after_the_grace_ends_the_family_with_its_access_tokens() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (access, refresh_token) = issuer.tokens(&agent).await;
    let successor = issuer.refresh(&agent, &refresh_token).await;
    clock.advance(Duration::from_secs(10));
    issuer
        .refresh(&agent, &refresh_token)
        .await
        .expect_error(400, "invalid_grant");
    issuer
        .refresh(&agent, &successor.str("refresh_token"))
        .await
        .expect_error(400, "invalid_grant");
    for token in [access, successor.str("access_token")] {
        assert_eq!(
            issuer.introspect(&token).await,
            json!({ "active": false, "revoked": true, "reason": "revoked" })
        );
    }
    let (fresh, _) = issuer.tokens(&agent).await;
    assert_eq!(
        issuer.introspect(&fresh).await["active"],
        true,
        "another family is untouched"
    );
}

/// I9
#[tokio::test]
async fn re_use_within_the_grace_ends_the_family_once_somebody_went_on() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, first) = issuer.tokens(&agent).await;
    let second = issuer.refresh(&agent, &first).await.str("refresh_token");
    let third = issuer.refresh(&agent, &second).await.str("refresh_token");
    issuer
        .refresh(&agent, &first)
        .await
        .expect_error(400, "invalid_grant");
    issuer
        .refresh(&agent, &third)
        .await
        .expect_error(400, "invalid_grant");
}

/// I9
#[tokio::test]
async fn a_repeat_without_authentication_gets_nothing_and_ends_nothing() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, first) = issuer.tokens(&agent).await;
    let second = issuer.refresh(&agent, &first).await.str("refresh_token");
    issuer
        .post("/oauth/refresh", &[("refresh_token", &first)])
        .await
        .expect_error(400, "invalid_grant");
    assert_eq!(issuer.refresh(&agent, &second).await.status, 200);
}

/// I10
#[tokio::test]
async fn the_credentials_of_another_client_do_not_redeem() {
    let issuer = Issuer::start().await;
    let (owner, thief) = (issuer.agent(&["read"]).await, issuer.agent(&["read"]).await);
    let (_, refresh_token) = issuer.tokens(&owner).await;
    issuer
        .refresh(&thief, &refresh_token)
        .await
        .expect_error(400, "invalid_grant");
    let form = [
        ("refresh_token", refresh_token.as_str()),
        ("client_id", &thief.client_id),
    ];
    issuer
        .post("/oauth/refresh", &form)
        .await
        .expect_error(400, "invalid_grant");
    let form = [
        ("refresh_token", refresh_token.as_str()),
        ("client_id", &owner.client_id),
        ("client_secret", "wrong"),
    ];
    issuer
        .post("/oauth/refresh", &form)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(
        issuer.refresh(&owner, &refresh_token).await.status,
        200,
        "a thief's attempt costs the owner nothing"
    );
}

/// I10
#[tokio::test]
async fn an_inactive_an_expired_and_a_deleted_agent_refresh_nothing() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let suspended = issuer.agent(&["read"]).await;
    let (_, of_suspended) = issuer.tokens(&suspended).await;
    issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}/deactivate", suspended.id),
            None,
        )
        .await;
    let deleted = issuer.agent(&["read"]).await;
    let (_, of_deleted) = issuer.tokens(&deleted).await;
    issuer
        .admin(Method::DELETE, &format!("/api/agents/{}", deleted.id), None)
        .await;
    let expired = issuer
        .create(json!({ "name": "brief", "expires_in": 60 }))
        .await;
    let (_, of_expired) = issuer.tokens(&expired).await;
    clock.advance(Duration::from_secs(60));
    for refresh_token in [of_suspended, of_deleted, of_expired] {
        issuer
            .post("/oauth/refresh", &[("refresh_token", &refresh_token)])
            .await
            .expect_error(400, "invalid_grant");
    }
}

/// I10
#[tokio::test]
async fn after_a_rotation_that_revokes_tokens_nothing_of_before_refreshes() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (access, refresh_token) = issuer.tokens(&agent).await;
    let body = json!({ "action": "rotate", "revoke_tokens": true });
    issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}", agent.id),
            Some(body),
        )
        .await;
    issuer
        .post("/oauth/refresh", &[("refresh_token", &refresh_token)])
        .await
        .expect_error(400, "invalid_grant");
    assert_eq!(issuer.introspect(&access).await["active"], false);
}

#[tokio::test]
async fn a_family_lives_seven_days_however_often_it_is_refreshed() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, mut refresh_token) = issuer.tokens(&agent).await;
    for _ in 0..6 {
        clock.advance(Duration::from_secs(86_400));
        refresh_token = issuer
            .refresh(&agent, &refresh_token)
            .await
            .str("refresh_token");
    }
    clock.advance(Duration::from_secs(86_400));
    issuer
        .refresh(&agent, &refresh_token)
        .await
        .expect_error(400, "invalid_grant");
}

/// I8
#[tokio::test]
async fn a_refresh_narrows_scopes_and_never_widens_them() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let form = agent.form(&[("grant_type", "client_credentials"), ("scope", "read")]);
    let refresh_token = issuer
        .post("/oauth/token", &form)
        .await
        .str("refresh_token");
    let form = agent.form(&[("refresh_token", &refresh_token), ("scope", "write")]);
    issuer
        .post("/oauth/refresh", &form)
        .await
        .expect_error(400, "invalid_scope");
    let form = agent.form(&[("refresh_token", &refresh_token), ("scope", "read write")]);
    assert_eq!(
        issuer.post("/oauth/refresh", &form).await.str("scope"),
        "read"
    );
}

#[tokio::test]
async fn a_changed_refresh_token_is_worth_nothing() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (access, refresh_token) = issuer.tokens(&agent).await;
    let middle = refresh_token.len() / 2;
    let flipped = if refresh_token.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    let changed = format!(
        "{}{flipped}{}",
        &refresh_token[..middle],
        &refresh_token[middle + 1..]
    );
    for text in [
        changed.as_str(),
        &refresh_token[3..],
        "rt_",
        "rt_AAAA",
        &access,
        "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
    ] {
        issuer
            .refresh(&agent, text)
            .await
            .expect_error(400, "invalid_grant");
    }
    assert_eq!(issuer.refresh(&agent, &refresh_token).await.status, 200);
}

#[tokio::test]
async fn refresh_can_demand_client_authentication_or_be_switched_off() {
    let issuer = Issuer::builder()
        .with("REFRESH_CLIENT_AUTH", "required")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    issuer
        .post("/oauth/refresh", &[("refresh_token", &refresh_token)])
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(issuer.refresh(&agent, &refresh_token).await.status, 200);

    let issuer = Issuer::builder()
        .with("REFRESH_TOKENS", "off")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let answer = issuer.token_answer(&agent).await.json();
    assert!(answer.get("refresh_token").is_none(), "{answer}");
}
