//! The store goes away and comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use machineauth_core::clock::SystemClock;
use machineauth_issuer::domain::keys::REFRESH;
use machineauth_issuer::store::RedisStore;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::redis_server::RedisServer;
use machineauth_tests::token::kid;
use reqwest::Method;
use serde_json::json;

/// How long the server may need to notice that its store is back.
const HEALS_WITHIN: Duration = Duration::from_secs(10);

async fn on_redis(redis: &RedisServer) -> Issuer {
    let store = RedisStore::connect(&redis.url(), Arc::new(SystemClock))
        .await
        .unwrap();
    Issuer::builder().store(Arc::new(store)).start().await
}

/// Another issuer of the same name.
async fn beside(one: &Issuer, redis: &RedisServer) -> Issuer {
    let store = RedisStore::connect(&redis.url(), Arc::new(SystemClock))
        .await
        .unwrap();
    Issuer::builder()
        .store(Arc::new(store))
        .with("JWT_ISSUER", &one.base)
        .start()
        .await
}

/// I15
#[tokio::test]
async fn while_the_store_is_away_everything_that_needs_it_is_refused_and_then_heals() {
    let mut redis = RedisServer::start().await;
    let issuer = on_redis(&redis).await;
    let agent = issuer.agent(&["read"]).await;
    let (token, refresh_token) = issuer.tokens(&agent).await;
    redis.kill();

    let one = format!("/api/agents/{}", agent.id);
    let answers = [
        issuer.token_answer(&agent).await,
        issuer.refresh(&agent, &refresh_token).await,
        issuer.post("/oauth/introspect", &[("token", &token)]).await,
        issuer.post("/oauth/revoke", &[("token", &token)]).await,
        issuer
            .admin(Method::POST, "/api/agents", Some(json!({ "name": "a" })))
            .await,
        issuer.admin(Method::GET, "/api/agents", None).await,
        issuer.admin(Method::GET, &one, None).await,
        issuer.admin(Method::DELETE, &one, None).await,
        issuer
            .admin(Method::POST, &format!("{one}/rotate"), None)
            .await,
        issuer.get("/oauth/revocations").await,
        issuer.get("/health/ready").await,
    ];
    for answer in answers {
        answer.expect_error(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    for path in [
        "/health",
        "/",
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
    ] {
        assert_eq!(issuer.get(path).await.status, 200, "{path} needs no store");
    }

    redis.start_again().await;
    let back = Instant::now();
    while issuer.get("/health/ready").await.status != 200 {
        assert!(back.elapsed() < HEALS_WITHIN, "the server does not heal");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        issuer.introspect(&token).await["active"],
        true,
        "nothing was half done"
    );
    assert_eq!(issuer.refresh(&agent, &refresh_token).await.status, 200);
}

/// I15
#[tokio::test]
async fn a_store_that_dies_in_the_middle_of_traffic_never_makes_a_half_granted_token() {
    let mut redis = RedisServer::start().await;
    let issuer = Arc::new(on_redis(&redis).await);
    let agent = issuer.agent(&["read"]).await;
    let traffic = {
        let (issuer, agent) = (Arc::clone(&issuer), agent.clone());
        tokio::spawn(async move {
            let mut answers: Vec<Answer> = Vec::new();
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                answers.push(issuer.token_answer(&agent).await);
            }
            answers
        })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.start_again().await;
    let answers = traffic.await.unwrap();
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(
        granted > 0 && granted < answers.len(),
        "{granted} of {}",
        answers.len()
    );
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.expect_error(503, "temporarily_unavailable");
    }
    assert_eq!(
        answers.last().unwrap().status,
        200,
        "the server healed by itself"
    );
}

#[tokio::test]
async fn two_issuers_on_one_redis_see_the_same_agents_and_revocations_at_once() {
    let redis = RedisServer::start().await;
    let one = on_redis(&redis).await;
    let two = beside(&one, &redis).await;
    let agent = one.agent(&["read"]).await;
    let (token, _) = two.tokens(&agent).await;
    assert_eq!(one.introspect(&token).await["active"], true);
    one.revoke(&token).await;
    assert_eq!(two.introspect(&token).await["active"], false);
    // Both have the agent's record in their caches by now; neither may refuse or grant by it.
    one.tokens(&agent).await;
    one.admin(
        Method::POST,
        &format!("/api/agents/{}/deactivate", agent.id),
        None,
    )
    .await;
    two.token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    two.admin(
        Method::POST,
        &format!("/api/agents/{}/reactivate", agent.id),
        None,
    )
    .await;
    one.tokens(&agent).await;
}

/// I23: until the other issuer has heard of it, it takes tokens of a stolen key, and signs with it. What it asks the store for
/// every now and then anyway would be far too late for all of these keys.
#[tokio::test]
async fn a_signing_key_that_one_issuer_revokes_is_no_good_at_the_other_either() {
    let redis = RedisServer::start().await;
    let one = on_redis(&redis).await;
    let two = beside(&one, &redis).await;
    let organization = one.organization("acme").await;
    let path = format!("/api/organizations/{organization}");
    let own = json!({ "jwt_issuer": format!("{}/acme", one.base) });
    one.admin(Method::PATCH, &path, Some(own)).await;
    let of_server = (one.agent(&["read"]).await, String::new());
    let of_organization = (
        one.agent_in(&organization, &["read"]).await,
        format!("?organization_id={organization}"),
    );
    for (agent, whose) in [of_server, of_organization] {
        let mut waited = Duration::ZERO;
        for _ in 0..10 {
            let (token, _) = two.tokens(&agent).await;
            let key = format!("/api/keys/{}{whose}", kid(&token));
            let revoked = one.admin(Method::DELETE, &key, None).await;
            assert_eq!(revoked.status, 204, "{}", revoked.text);
            let since = Instant::now();
            while two.introspect(&token).await["active"] == true
                || kid(&two.tokens(&agent).await.0) == kid(&token)
            {
                tokio::task::yield_now().await;
            }
            waited += since.elapsed();
        }
        assert!(waited < REFRESH, "{waited:?} {whose}");
    }
}
