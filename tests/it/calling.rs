//! A program that calls others with tokens of its own: core's `ClientCredentials`, against an issuer.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::client::{
    ClientAuthentication, ClientCredentials, ClientCredentialsBuilder, Refusal, TokenErrorKind,
    TokenSource as _,
};
use machineauth_core::clock::{ManualClock, Timestamp};
use machineauth_core::{Algorithm, SigningKey};
use machineauth_tests::agent::Agent;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::json;

fn tokens_of(issuer: &Issuer, agent: &Agent) -> ClientCredentialsBuilder {
    ClientCredentials::discover(&issuer.base).client(&agent.client_id, agent.client_secret.as_str())
}

#[tokio::test]
async fn tokens_are_fetched_once_and_say_what_was_asked_for() {
    let issuer = Issuer::start().await;
    let agent = issuer
        .create(json!({
            "name": "reporter",
            "scopes": ["read", "write"],
            "audiences": ["https://api.example"],
        }))
        .await;
    for authentication in [ClientAuthentication::Basic, ClientAuthentication::Post] {
        let source = tokens_of(&issuer, &agent)
            .authentication(authentication)
            .audience("https://api.example")
            .scope("read")
            .build()
            .unwrap();
        let token = source.token().await.unwrap();
        assert_eq!(token.scope(), Some(&"read".parse().unwrap()));
        assert_eq!(claims(token.expose())["aud"], "https://api.example");
        let again = source.token().await.unwrap();
        assert_eq!(token.expose(), again.expose());
    }
}

#[tokio::test]
async fn a_client_without_a_secret_signs_who_it_is() {
    let issuer = Issuer::start().await;
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let key = Arc::new(SigningKey::generate(algorithm).unwrap());
        let agent = issuer
            .create(json!({
                "name": "signer", "scopes": ["read"], "public_key": key.public_jwk("any"),
            }))
            .await;
        let source = ClientCredentials::discover(&issuer.base)
            .client_with_key(&agent.client_id, Arc::clone(&key))
            .build()
            .unwrap();
        let first = source.token().await.unwrap();
        assert_eq!(claims(first.expose())["sub"], agent.client_id.as_str());
        assert!(source.refused(&first));
        let second = source.token().await.unwrap();
        assert_ne!(first.expose(), second.expose());
    }
}

#[tokio::test]
async fn what_the_issuer_refuses_is_named() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let kind = async |source: ClientCredentialsBuilder| {
        let source = source.build().unwrap();
        source.token().await.unwrap_err().kind()
    };
    let wrong = ClientCredentials::discover(&issuer.base).client(&agent.client_id, "wrong");
    let refused = |refusal| TokenErrorKind::Refused(refusal);
    assert_eq!(kind(wrong).await, refused(Refusal::InvalidClient));
    let scope = tokens_of(&issuer, &agent).scope("write");
    assert_eq!(kind(scope).await, refused(Refusal::InvalidScope));
    let target = tokens_of(&issuer, &agent).resource("https://other.example");
    assert_eq!(kind(target).await, refused(Refusal::InvalidTarget));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_the_issuer_may_be_away_meanwhile() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let issuer = Issuer::builder()
        .clock(&clock)
        .with("JWT_ACCESS_TOKEN_EXPIRY", "3600")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let source = tokens_of(&issuer, &agent)
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let first = source.token().await.unwrap();
    clock.advance(Duration::from_secs(3600 - 299));
    source.token().await.unwrap();
    let renewed = async {
        while source.token().await.unwrap().expose() == first.expose() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed)
        .await
        .expect("it is renewed");
    issuer.stop().await;
    clock.advance(Duration::from_secs(3600 - 60));
    assert!(source.token().await.is_ok(), "the old one is still good");
    clock.advance(Duration::from_secs(60));
    let error = source.token().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Unreachable);
}

/// I11
#[tokio::test]
async fn a_refused_token_of_a_rotated_agent_is_replaced() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let source = tokens_of(&issuer, &agent).build().unwrap();
    let token = source.token().await.unwrap();
    let path = format!("/api/agents/{}/deactivate", agent.id);
    let body = json!({ "revoke_tokens": true });
    issuer.admin(Method::POST, &path, Some(body)).await;
    let path = format!("/api/agents/{}/reactivate", agent.id);
    issuer.admin(Method::POST, &path, None).await;
    assert_eq!(issuer.introspect(token.expose()).await["active"], false);
    assert!(source.refused(&token));
    let token = source.token().await.unwrap();
    assert_eq!(issuer.introspect(token.expose()).await["active"], true);
}
