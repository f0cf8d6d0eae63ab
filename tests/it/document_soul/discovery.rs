//! Service Discovery & Health.

use machineauth_tests::document::{assert_exact_shape, assert_shape};
use machineauth_tests::issuer::Issuer;
use serde_json::json;

#[tokio::test]
async fn get_root_says_what_the_service_is() {
    let issuer = Issuer::start().await;
    let about = issuer.get("/").await;
    assert_eq!(about.status, 200);
    assert_exact_shape(
        &about.json(),
        &json!({ "service": "", "status": "", "version": "", "endpoints": "" }),
    );
    assert_eq!(about.str("service"), "MachineAuth");
    assert_eq!(about.str("status"), "running");
    let endpoints = about.str("endpoints");
    let listed: Vec<_> = endpoints.split(", ").collect();
    for documented in [
        "/oauth/token",
        "/oauth/introspect",
        "/oauth/revoke",
        "/oauth/refresh",
        "/api/agents",
        "/.well-known/jwks.json",
    ] {
        assert!(listed.contains(&documented), "{documented} in {listed:?}");
    }
}

#[tokio::test]
async fn get_health_says_that_the_process_runs() {
    let issuer = Issuer::start().await;
    let health = issuer.get("/health").await;
    assert_eq!(
        (health.status.as_u16(), health.json()),
        (200, json!({ "status": "ok" }))
    );
}

#[tokio::test]
async fn get_health_ready_counts_agents() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    for _ in 0..5 {
        issuer.agent(&[]).await;
    }
    let ready = issuer.get("/health/ready").await;
    assert_eq!(
        (ready.status.as_u16(), ready.json()),
        (
            200,
            json!({ "status": "ok", "timestamp": "2027-01-15T08:00:00Z", "agents_count": 5 })
        )
    );
}

#[tokio::test]
async fn get_metrics_counts_tokens_and_agents() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    issuer.agent(&["read"]).await;
    let mut last = String::new();
    for _ in 0..4 {
        last = issuer.tokens(&agent).await.1;
    }
    for _ in 0..2 {
        last = issuer.refresh(&agent, &last).await.str("refresh_token");
    }
    let (revoked, _) = issuer.tokens(&agent).await;
    issuer.revoke(&revoked).await;

    let metrics = issuer.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let metrics = metrics.json();
    assert_exact_shape(
        &metrics,
        &json!({
            "requests": 0,
            "tokens_issued": 42,
            "tokens_refreshed": 10,
            "tokens_revoked": 3,
            "active_tokens": 39,
            "total_agents": 5,
        }),
    );
    for (name, value) in [
        ("tokens_issued", 5),
        ("tokens_refreshed", 2),
        ("tokens_revoked", 1),
        // As in the documented example: issued less revoked.
        ("active_tokens", 4),
        ("total_agents", 2),
    ] {
        assert_eq!(metrics[name], value, "{name}");
    }
}

#[tokio::test]
async fn get_jwks_publishes_the_rsa_key() {
    let issuer = Issuer::start().await;
    let keys = issuer.get("/.well-known/jwks.json").await;
    assert_eq!(keys.status, 200);
    let keys = keys.json();
    assert_exact_shape(&keys, &json!({ "keys": [] }));
    let [key] = keys["keys"].as_array().unwrap().as_slice() else {
        panic!("one key is documented: {keys}");
    };
    assert_exact_shape(
        key,
        &json!({ "kty": "", "kid": "", "use": "", "alg": "", "n": "", "e": "" }),
    );
    assert_shape(key, &json!({ "n": "", "e": "" }));
    for (name, value) in [
        ("kty", "RSA"),
        ("kid", "key-1"),
        ("use", "sig"),
        ("alg", "RS256"),
        ("e", "AQAB"),
    ] {
        assert_eq!(key[name], value, "{name}");
    }
    // 2048 bits are 256 bytes, which are 342 characters without padding.
    assert_eq!(key["n"].as_str().unwrap().len(), 342);
}
