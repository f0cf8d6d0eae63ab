//! `machineauth-authentication.txt`, the authentication guide, from its first chapter to its last.

use std::process::Command;
use std::time::Duration;

use machineauth_core::{HttpKeys, JwksCache, Verifier, bearer_token};
use machineauth_tests::agent::Agent;
use machineauth_tests::document::{assert_exact_shape, assert_shape};
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

async fn token(issuer: &Issuer, body: Value) -> Answer {
    Answer::to(issuer.request(Method::POST, "/oauth/token").json(&body)).await
}

fn credentials(agent: &Agent, scope: &str) -> Value {
    json!({
        "grant_type": "client_credentials",
        "client_id": agent.client_id,
        "client_secret": agent.client_secret,
        "scope": scope,
    })
}

/// How It Works, in its four steps; the resource server is one that knows nothing but the key set.
#[tokio::test]
async fn it_works_in_four_steps() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let granted = token(&issuer, credentials(&agent, "read write")).await;
    let request = issuer
        .request(Method::GET, "/api")
        .bearer_auth(granted.str("access_token"))
        .build()
        .unwrap();
    let verifier = Verifier::builder(&issuer.base, "machineauth-api")
        .jwks(JwksCache::new(HttpKeys::discover(&issuer.base).unwrap()))
        .build()
        .unwrap();
    let uri = "/api".parse().unwrap();
    let bearer = bearer_token(request.headers(), &uri).unwrap();
    let verified = verifier.verify(bearer).await.unwrap();
    assert_eq!(verified.claims().subject, agent.client_id);
}

/// Token Request, Token Response. Decided: identifiers are UUIDs as in the other document, secrets begin with `cs_`.
#[tokio::test]
async fn a_token_request_gets_the_documented_response() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let granted = token(&issuer, credentials(&agent, "read write")).await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    assert_shape(
        &granted.json(),
        &json!({
            "access_token": "eyJhbGciOiJSUzI1NiIs...",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "read write",
            "refresh_token": "rt_xyz789...",
        }),
    );
    assert_eq!(granted.str("token_type"), "Bearer");
    assert_eq!(granted.str("scope"), "read write");
    assert!(agent.client_secret.starts_with("cs_"));
    assert!(granted.str("refresh_token").starts_with("rt_"));
    assert!(
        granted
            .str("access_token")
            .starts_with("eyJhbGciOiJSUzI1NiIs")
    );
}

/// Scopes
#[tokio::test]
async fn scopes_limit_what_a_token_permits() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write", "admin"]).await;
    for scope in ["read", "write", "admin", "read write"] {
        let granted = token(&issuer, credentials(&agent, scope)).await;
        let scopes: Vec<_> = scope.split(' ').collect();
        assert_eq!(granted.str("scope"), scope);
        assert_eq!(claims(&granted.str("access_token"))["scope"], json!(scopes));
    }
    let all = token(&issuer, credentials(&agent, "")).await;
    assert_eq!(all.str("scope"), "read write admin");
}

/// Token Introspection, by the guide's own command.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_introspected_by_the_documented_command() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let introspect = |token: &str| curl(&issuer, "/oauth/introspect", token);
    let active = introspect(&token);
    assert_shape(
        &active,
        &json!({
            "active": true,
            "scope": "read write",
            "client_id": "cid_abc123...",
            "exp": 1_709_308_800,
            "iat": 1_709_305_200,
            "token_type": "Bearer",
        }),
    );
    assert_eq!(active["active"], true);
    assert_eq!(active["client_id"], agent.client_id);
    clock.advance(Duration::from_secs(86_400));
    let expired = introspect(&token);
    assert_exact_shape(&expired, &json!({ "active": false, "reason": "expired" }));
    assert_eq!(expired, json!({ "active": false, "reason": "expired" }));
    assert_eq!(introspect("YOUR_ACCESS_TOKEN"), json!({ "active": false }));
}

/// Token Revocation, by the guide's own command.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_immediately_by_the_documented_command() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    assert_eq!(
        curl(&issuer, "/oauth/revoke", &token),
        json!({ "status": "revoked" })
    );
    assert_eq!(issuer.introspect(&token).await["active"], false);
}

fn curl(issuer: &Issuer, path: &str, token: &str) -> Value {
    let output = Command::new("curl")
        .args(["-sS", "-X", "POST"])
        .arg(format!("{}{path}", issuer.base))
        .args(["-d", &format!("token={token}")])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
