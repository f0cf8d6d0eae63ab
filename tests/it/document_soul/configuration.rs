//! Configuration (Environment Variables).

use std::path::Path;
use std::process::Command;

use machineauth_issuer::config::{Config, StoreUrl};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::process::{Process, free_port};
use reqwest::Method;
use serde_json::json;

fn configured(variables: &[(&str, &str)]) -> Config {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_variables(variables).unwrap()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = configured(&[]);
    assert_eq!(config.listen.port(), 8080, "PORT");
    assert_eq!(config.tokens.lifetime.as_secs(), 86_400, "in development");
    assert_eq!(config.keys.algorithm.as_str(), "RS256");
    assert_eq!(config.keys.kid.as_str(), "key-1");
    let origins: Vec<_> = config
        .protection
        .allowed_origins
        .iter()
        .map(|origin| origin.as_str())
        .collect();
    assert_eq!(origins, ["http://localhost:3000"]);
    assert!(!config.protection.require_https);
    assert_eq!(config.admin.email, "admin@example.com");
    assert_eq!(config.admin.password.reveal(), "changeme");
    // Decided: one crash-safe file instead of the JSON file, which loses data at a crash.
    assert_eq!(config.store, StoreUrl::Embedded("machineauth.redb".into()));
}

#[tokio::test]
async fn port_and_database_url_say_where() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let port_text = port.to_string();
    let variables = [
        ("PORT", port_text.as_str()),
        ("DATABASE_URL", "embedded:elsewhere.redb"),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
    let issuer = Process::start(program, directory.path(), port, &variables, &[]).await;
    let health = machineauth_tests::http::client().get(format!("{}/health", issuer.base));
    assert_eq!(Answer::to(health).await.status, 200);
    assert!(directory.path().join("elsewhere.redb").exists());
}

/// Decided: production storage is Redis. What the document has instead is refused with a sentence that helps.
#[test]
fn the_stores_that_this_server_does_not_have_are_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    for url in ["postgres://localhost/auth", "json:machineauth.json"] {
        let output = Command::new(env!("CARGO_BIN_EXE_issuer"))
            .current_dir(directory.path())
            .env_clear()
            .env("DATABASE_URL", url)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(
            complaint.contains("DATABASE_URL: ")
                && complaint.contains("embedded:PATH")
                && complaint.contains("redis://HOST"),
            "{complaint}"
        );
    }
}

#[tokio::test]
async fn jwt_variables_shape_tokens_and_keys() {
    let issuer = Issuer::builder()
        .with("JWT_SIGNING_ALGORITHM", "ES256")
        .with("JWT_KEY_ID", "my-key")
        .with("JWT_ACCESS_TOKEN_EXPIRY", "900")
        .start()
        .await;
    let agent = issuer.agent(&[]).await;
    let granted = issuer.token_answer(&agent).await;
    assert_eq!(granted.json()["expires_in"], 900);
    let header = jsonwebtoken::decode_header(granted.str("access_token")).unwrap();
    assert_eq!(header.alg, jsonwebtoken::Algorithm::ES256);
    assert_eq!(header.kid.as_deref(), Some("my-key"));
    let keys = issuer.get("/.well-known/jwks.json").await.json();
    assert_eq!(
        (&keys["keys"][0]["kid"], &keys["keys"][0]["alg"]),
        (&json!("my-key"), &json!("ES256"))
    );
}

#[tokio::test]
async fn allowed_origins_may_call_from_a_browser_and_others_may_not() {
    let issuer = Issuer::builder()
        .with(
            "ALLOWED_ORIGINS",
            "https://one.example.com,https://two.example.com",
        )
        .start()
        .await;
    for (origin, expected) in [
        ("https://one.example.com", "https://one.example.com"),
        ("https://two.example.com", "https://two.example.com"),
        ("http://localhost:3000", ""),
    ] {
        let request = issuer
            .request(Method::OPTIONS, "/api/agents")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            );
        let answer = Answer::to(request).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            expected,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn require_https_refuses_what_came_without() {
    let issuer = Issuer::builder()
        .with("REQUIRE_HTTPS", "true")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    issuer.get("/").await.expect_error(403, "https_required");
    let request = issuer
        .request(Method::GET, "/")
        .header("x-forwarded-proto", "https");
    assert_eq!(Answer::to(request).await.status, 200);
}

#[tokio::test]
async fn admin_email_and_admin_password_open_the_admin_api() {
    let issuer = Issuer::builder()
        .with("ADMIN_EMAIL", "root@example.com")
        .with("ADMIN_PASSWORD", "open sesame")
        .start()
        .await;
    let create = async |user: &str, password: &str| {
        let request = issuer
            .request(Method::POST, "/api/agents")
            .basic_auth(user, Some(password))
            .json(&json!({ "name": "a" }));
        Answer::to(request).await
    };
    Agent::read(&create("root@example.com", "open sesame").await);
    for (user, password) in [
        ("admin@example.com", "changeme"),
        ("admin@example.com", "open sesame"),
        ("root@example.com", "changeme"),
    ] {
        create(user, password)
            .await
            .expect_error(401, "unauthorized");
    }
}
