//! `docyard-machine-authentication.txt`, the guide to machine clients, from its first chapter to its last: what of it is
//! the issuer's. Artifacts are a resource server's.

use std::time::Duration;

use machineauth_core::clock::ManualClock;
use machineauth_tests::document::{assert_exact_shape, assert_shape};
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::{Value, json};

/// The prerequisites: an organization, and an API key that administers it.
struct Docyard {
    issuer: Issuer,
    clock: ManualClock,
    organization: String,
    key: String,
}

impl Docyard {
    async fn start() -> Self {
        let clock = ManualClock::new(machineauth_core::clock::Timestamp::from_secs(1_800_000_000));
        let issuer = Issuer::builder()
            .clock(&clock)
            // The guide's hour; in development it is a day.
            .with("JWT_ACCESS_TOKEN_EXPIRY", "3600")
            .start()
            .await;
        let organization = issuer.organization("docyard").await;
        let key = issuer
            .api_key(&organization, json!({ "name": "dk_live" }))
            .await;
        Self {
            issuer,
            clock,
            organization,
            key,
        }
    }

    fn path(&self, rest: &str) -> String {
        format!(
            "/v1/organizations/{}/machine-clients{rest}",
            self.organization
        )
    }

    async fn call(&self, method: Method, rest: &str, body: Option<Value>) -> Answer {
        self.issuer
            .bearer(&self.key, method, &self.path(rest), body)
            .await
    }

    async fn create(&self) -> Answer {
        let body = json!({
            "name": "epic-ehr-integration",
            "dockId": "dock_01HQ3K",
            "scopes": ["artifacts:write", "artifacts:read"],
            "partyId": "pty_01HQ3L",
        });
        let created = self.call(Method::POST, "", Some(body)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        created
    }

    async fn token(&self, client_id: &str, client_secret: &str, scope: Option<&str>) -> Answer {
        let mut body = json!({
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
        });
        if let Some(scope) = scope {
            body["scope"] = json!(scope);
        }
        Answer::to(
            self.issuer
                .request(Method::POST, "/v1/oauth/token")
                .json(&body),
        )
        .await
    }
}

/// Step 1: Create a Machine Client
#[tokio::test]
async fn step_1_a_machine_client_is_created_for_a_dock() {
    let docyard = Docyard::start().await;
    let created = docyard.create().await;
    assert_shape(
        &created.json(),
        &json!({
            "id": "mc_01HQ3K9B2...",
            "clientId": "dyc_epic_prod_a1b2c3d4",
            "clientSecret": "dys_live_efghijklmnop...",
            "name": "epic-ehr-integration",
            "scopes": ["artifacts:write", "artifacts:read"],
            "dockId": "dock_01HQ3K...",
            "organizationId": "org_01HQ3J...",
            "partyId": "pty_01HQ3L...",
            "isActive": true,
            "createdAt": "2024-03-01T12:00:00Z",
        }),
    );
    for (name, value) in [
        ("name", json!("epic-ehr-integration")),
        ("scopes", json!(["artifacts:write", "artifacts:read"])),
        ("dockId", json!("dock_01HQ3K")),
        ("organizationId", json!(docyard.organization)),
        ("partyId", json!("pty_01HQ3L")),
        ("isActive", json!(true)),
        ("createdAt", json!("2027-01-15T08:00:00Z")),
    ] {
        assert_eq!(created.json()[name], value, "{name}");
    }
    let shown = docyard
        .call(Method::GET, &format!("/{}", created.str("clientId")), None)
        .await;
    assert!(
        !shown.text.contains(&created.str("clientSecret")),
        "displayed only once"
    );
}

/// Step 1, Parameters: all but the name are optional, and the scopes default to all that there are.
#[tokio::test]
async fn step_1_only_the_name_is_required() {
    let docyard = Docyard::start().await;
    let created = docyard
        .call(Method::POST, "", Some(json!({ "name": "wide" })))
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(
        created.json()["scopes"],
        json!(["artifacts:write", "artifacts:read", "policies:read"])
    );
    assert_eq!(created.json().get("dockId"), None);
    assert_eq!(created.json().get("partyId"), None);
    docyard
        .call(Method::POST, "", Some(json!({ "dockId": "dock_1" })))
        .await
        .expect_error(400, "invalid_request");
    Answer::to(
        docyard
            .issuer
            .request(Method::POST, &docyard.path(""))
            .json(&json!({ "name": "a" })),
    )
    .await
    .expect_error(401, "unauthorized");
}

/// Step 3: Issue an Access Token, and the Token Prefix Reference.
#[tokio::test]
async fn step_3_a_token_is_issued_with_the_documented_prefixes() {
    let docyard = Docyard::start().await;
    let client = docyard.create().await;
    let (id, secret) = (client.str("clientId"), client.str("clientSecret"));
    let granted = docyard.token(&id, &secret, Some("artifacts:write")).await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    // Decided: `issued_at` is there as at the other token endpoint.
    assert_exact_shape(
        &granted.json(),
        &json!({
            "access_token": "dyt_live_qrstuvwx...",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "artifacts:write",
            "issued_at": 1,
        }),
    );
    assert_eq!(granted.str("token_type"), "Bearer");
    assert_eq!(granted.json()["expires_in"], 3600);
    assert_eq!(granted.str("scope"), "artifacts:write");
    for (text, prefix) in [
        (id.as_str(), "dyc_"),
        (&secret, "dys_"),
        (&granted.str("access_token"), "dyt_"),
    ] {
        assert!(text.starts_with(prefix), "{prefix}");
    }
    // As the guide's pipeline asks, without a scope.
    let all = docyard.token(&id, &secret, None).await;
    assert_eq!(all.str("scope"), "artifacts:write artifacts:read");
}

/// Step 4: Make API Calls. What the resource server learns by introspection is enough to hold the client to its dock.
#[tokio::test]
async fn step_4_a_token_says_which_dock_and_party_it_is_for() {
    let docyard = Docyard::start().await;
    let client = docyard.create().await;
    let granted = docyard
        .token(&client.str("clientId"), &client.str("clientSecret"), None)
        .await;
    let described = docyard
        .issuer
        .introspect(&granted.str("access_token"))
        .await;
    for (name, value) in [
        ("active", json!(true)),
        ("client_id", json!(client.str("clientId"))),
        ("dockId", json!("dock_01HQ3K")),
        ("partyId", json!("pty_01HQ3L")),
        ("scope", json!("artifacts:write artifacts:read")),
    ] {
        assert_eq!(described[name], value, "{name}");
    }
}

/// Step 5: Handle Token Expiration
#[tokio::test]
async fn step_5_a_token_expires_after_an_hour_and_another_is_had() {
    let docyard = Docyard::start().await;
    let client = docyard.create().await;
    let (id, secret) = (client.str("clientId"), client.str("clientSecret"));
    let first = docyard.token(&id, &secret, None).await.str("access_token");
    docyard.clock.advance(Duration::from_secs(3_600));
    assert_eq!(
        docyard.issuer.introspect(&first).await,
        json!({ "active": false, "reason": "expired" })
    );
    let second = docyard.token(&id, &secret, None).await.str("access_token");
    assert_eq!(docyard.issuer.introspect(&second).await["active"], true);
}

/// Production Best Practices, 1. Secret Rotation: both work until a day has passed, or the old one is revoked.
#[tokio::test]
async fn practice_1_the_old_secret_works_for_a_day() {
    let docyard = Docyard::start().await;
    let client = docyard.create().await;
    let (id, old) = (client.str("clientId"), client.str("clientSecret"));
    let rotated = docyard
        .call(Method::POST, &format!("/{id}/rotate"), None)
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let new = rotated.str("clientSecret");
    for secret in [&old, &new] {
        assert_eq!(docyard.token(&id, secret, None).await.status, 200);
    }
    docyard.clock.advance(Duration::from_secs(24 * 3_600));
    docyard
        .token(&id, &old, None)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(docyard.token(&id, &new, None).await.status, 200);

    let newest = docyard
        .call(Method::POST, &format!("/{id}/rotate"), None)
        .await
        .str("clientSecret");
    let shown = docyard
        .call(Method::GET, &format!("/{id}"), None)
        .await
        .json();
    let secrets = shown["secrets"].as_array().unwrap();
    let ending = secrets
        .iter()
        .find(|secret| secret["expiresAt"].is_string());
    let ending = ending.unwrap()["id"].as_str().unwrap();
    let revoked = docyard
        .call(Method::DELETE, &format!("/{id}/secrets/{ending}"), None)
        .await;
    assert_eq!(revoked.status, 204);
    docyard
        .token(&id, &new, None)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(docyard.token(&id, &newest, None).await.status, 200);
}

/// Production Best Practices, 2. Error Handling: 401, 403 and 429, as the guide's code reads them.
#[tokio::test]
async fn practice_2_every_error_can_be_handled_as_documented() {
    let clock = ManualClock::new(machineauth_core::clock::Timestamp::from_secs(1_800_000_000));
    let issuer = Issuer::builder()
        .clock(&clock)
        .with("RATE_LIMIT_PER_CLIENT", "1")
        .start()
        .await;
    let organization = issuer.organization("docyard").await;
    let key = issuer.api_key(&organization, json!({ "name": "k" })).await;
    let docyard = Docyard {
        issuer,
        clock,
        organization,
        key,
    };
    let client = docyard.create().await;
    let (id, secret) = (client.str("clientId"), client.str("clientSecret"));
    docyard
        .token(&id, "dys_wrong", None)
        .await
        .expect_error(401, "invalid_client");
    let limited = loop {
        let answer = docyard.token(&id, &secret, None).await;
        if answer.status != 200 {
            break answer;
        }
    };
    limited.expect_error(429, "too_many_requests");
    let seconds: u64 = limited.header("retry-after").parse().unwrap();
    docyard.clock.advance(Duration::from_secs(seconds));
    assert_eq!(docyard.token(&id, &secret, None).await.status, 200);

    // A key that may not administer: the message says which scope is missing.
    let weak = json!({ "name": "weak", "scopes": ["tokens:introspect"] });
    let weak = docyard.issuer.api_key(&docyard.organization, weak).await;
    let refused = docyard
        .issuer
        .bearer(&weak, Method::GET, &docyard.path(""), None)
        .await;
    refused.expect_error(403, "forbidden");
    assert!(refused.str("message").to_lowercase().contains("scope"));
}

/// Troubleshooting: Token Refresh Failing
#[tokio::test]
async fn a_deactivated_client_gets_no_token_and_its_token_is_inactive() {
    let docyard = Docyard::start().await;
    let client = docyard.create().await;
    let (id, secret) = (client.str("clientId"), client.str("clientSecret"));
    let token = docyard.token(&id, &secret, None).await.str("access_token");
    let path = format!("/{id}");
    let change = Some(json!({ "isActive": false }));
    let changed = docyard.call(Method::PATCH, &path, change).await;
    assert_eq!(changed.json()["isActive"], false, "the client's status");
    docyard
        .token(&id, &secret, None)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(docyard.issuer.introspect(&token).await["active"], false);
}
