//! Authentication Overview: how agents authenticate, what tokens say, how long they live.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use machineauth_tests::agent::Agent;
use machineauth_tests::document::assert_shape;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

use super::{by_admin, json_post, organization_with_team};

#[tokio::test]
async fn an_agent_authenticates_in_seven_steps() {
    let issuer = Issuer::start().await;
    // 1. Creation by an administrator gives client_id and client_secret.
    let created = by_admin(
        &issuer,
        Method::POST,
        "/api/agents",
        Some(json!({ "name": "OpenClaw Agent", "scopes": ["read", "write"] })),
    )
    .await;
    let agent = Agent::read(&created);
    // 2. and 3. The credentials get a JWT and a refresh token.
    let granted = json_post(
        &issuer,
        "/oauth/token",
        json!({
            "grant_type": "client_credentials",
            "client_id": agent.client_id,
            "client_secret": agent.client_secret,
        }),
    )
    .await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    let (access, refresh_token) = (granted.str("access_token"), granted.str("refresh_token"));
    // 4. It is a Bearer token.
    let me = issuer
        .bearer(&access, Method::GET, "/api/agents/me", None)
        .await;
    assert_eq!(me.json()["agent"]["client_id"], agent.client_id);
    // 5. Any service verifies it by the public keys.
    assert_eq!(verified(&issuer, &access).await["agent_id"], agent.id);
    // 7., since 6. ends it: it is refreshed.
    let refreshed = json_post(
        &issuer,
        "/oauth/refresh",
        json!({ "refresh_token": refresh_token }),
    )
    .await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    // 6. It is introspected and revoked.
    assert_eq!(issuer.introspect(&access).await["active"], true);
    issuer.revoke(&access).await;
    assert_eq!(issuer.introspect(&access).await["active"], false);
}

/// The claims of a token, verified as the document describes it: the key by the `kid` of the header, RS256, from `n` and
/// `e`.
async fn verified(issuer: &Issuer, token: &str) -> Value {
    let header = decode_header(token).unwrap();
    assert_eq!(header.alg, Algorithm::RS256);
    let keys: JwkSet =
        serde_json::from_str(&issuer.get("/.well-known/jwks.json").await.text).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["machineauth-api"]);
    decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation)
        .unwrap()
        .claims
}

#[tokio::test]
async fn every_access_token_has_the_documented_claims() {
    let issuer = Issuer::builder()
        .with("JWT_ISSUER", "http://localhost:8080")
        .start()
        .await;
    let (organization, team) = organization_with_team(&issuer).await;
    let agent = issuer
        .create(json!({
            "name": "OpenClaw Agent",
            "scopes": ["read", "write"],
            "organization_id": organization,
            "team_id": team,
        }))
        .await;
    let (token, _) = issuer.tokens(&agent).await;
    let claims = claims(&token);
    assert_shape(
        &claims,
        &json!({
            "iss": "https://auth.example.com",
            "sub": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "agent_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "org_id": "org-123",
            "team_id": "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            "aud": "machineauth-api",
            "iat": 1,
            "exp": 1,
            "scope": ["read"],
            "jti": "1",
        }),
    );
    for (name, value) in [
        ("iss", json!("http://localhost:8080")),
        ("sub", json!(agent.client_id)),
        ("agent_id", json!(agent.id)),
        ("org_id", json!(organization)),
        ("team_id", json!(team)),
        ("aud", json!("machineauth-api")),
        ("scope", json!(["read", "write"])),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let (again, _) = issuer.tokens(&agent).await;
    assert_ne!(
        machineauth_tests::token::claims(&again)["jti"],
        claims["jti"],
        "jti is unique"
    );
}

#[tokio::test]
async fn tokens_live_as_long_as_documented() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let granted = issuer.token_answer(&agent).await;
    assert_eq!(granted.json()["expires_in"], 86_400, "in development");

    let week = Duration::from_secs(604_800);
    clock.advance(week - Duration::from_secs(1));
    let refreshed = issuer.refresh(&agent, &granted.str("refresh_token")).await;
    assert_eq!(refreshed.status, 200, "a refresh token lives seven days");
    clock.advance(Duration::from_secs(1));
    // Decided: seven days are those of the whole family, whatever is refreshed in between.
    issuer
        .refresh(&agent, &refreshed.str("refresh_token"))
        .await
        .expect_error(400, "invalid_grant");

    let production = Issuer::builder()
        .with("ENV", "production")
        .with("ADMIN_PASSWORD", "correct horse battery")
        .with("SERVER_KEY", &"5c0a".repeat(16))
        .with("JWT_ISSUER", "https://auth.example.com")
        .start()
        .await;
    let create = production
        .request(Method::POST, "/api/agents")
        .basic_auth("admin@example.com", Some("correct horse battery"))
        .json(&json!({ "name": "a" }));
    let agent = Agent::read(&Answer::to(create).await);
    assert_eq!(
        production.token_answer(&agent).await.json()["expires_in"],
        3_600,
        "in production"
    );

    let configured = Issuer::builder()
        .with("JWT_ACCESS_TOKEN_EXPIRY", "120")
        .start()
        .await;
    let agent = configured.agent(&[]).await;
    assert_eq!(
        configured.token_answer(&agent).await.json()["expires_in"],
        120
    );
}
