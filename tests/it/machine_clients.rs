//! Docyard's machine clients, in the order of their document.

use std::time::Duration;

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

struct Docyard {
    issuer: Issuer,
    clock: machineauth_core::clock::ManualClock,
    key: String,
    clients: String,
    organization: String,
}

impl Docyard {
    async fn start() -> Self {
        let (issuer, clock) = Issuer::at_fixed_time().await;
        let organization = issuer.organization("clinic").await;
        Self {
            key: issuer
                .api_key(&organization, json!({ "name": "key" }))
                .await,
            clients: format!("/v1/organizations/{organization}/machine-clients"),
            issuer,
            clock,
            organization,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.issuer.bearer(&self.key, method, path, body).await
    }

    async fn create(&self, body: Value) -> Value {
        let created = self.call(Method::POST, &self.clients, Some(body)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        created.json()
    }

    async fn token(&self, client: &Value, scope: &str) -> Answer {
        let body = json!({
            "grant_type": "client_credentials",
            "client_id": client["clientId"],
            "client_secret": client["clientSecret"],
            "scope": scope,
        });
        Answer::to(
            self.issuer
                .request(Method::POST, "/v1/oauth/token")
                .json(&body),
        )
        .await
    }
}

fn ehr() -> Value {
    json!({
        "name": "epic-ehr-integration",
        "dockId": "dock_01HQ3K",
        "scopes": ["artifacts:write", "artifacts:read"],
        "partyId": "pty_01HQ3L",
    })
}

#[tokio::test]
async fn a_machine_client_is_created_and_gets_an_opaque_token() {
    let docyard = Docyard::start().await;
    let client = docyard.create(ehr()).await;
    for (field, prefix) in [
        ("id", "mc_"),
        ("clientId", "dyc_"),
        ("clientSecret", "dys_"),
    ] {
        assert!(
            client[field].as_str().unwrap().starts_with(prefix),
            "{client}"
        );
    }
    for (field, value) in ehr().as_object().unwrap() {
        assert_eq!(&client[field], value, "{field}");
    }
    assert_eq!(client["organizationId"], json!(docyard.organization));
    assert_eq!(
        (&client["isActive"], &client["createdAt"]),
        (&json!(true), &json!("2027-01-15T08:00:00Z"))
    );

    let answer = docyard.token(&client, "artifacts:write").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let token = answer.str("access_token");
    assert!(token.starts_with("dyt_"));
    assert_eq!(
        (answer.str("token_type"), answer.str("scope")),
        ("Bearer".into(), "artifacts:write".into())
    );
    assert_eq!(answer.json().get("refresh_token"), None);

    let introspection = docyard.issuer.introspect(&token).await;
    for (field, value) in [
        ("active", json!(true)),
        ("client_id", client["clientId"].clone()),
        ("scope", json!("artifacts:write")),
        ("dockId", json!("dock_01HQ3K")),
        ("partyId", json!("pty_01HQ3L")),
        ("org_id", json!(docyard.organization)),
    ] {
        assert_eq!(introspection[field], value, "{field}");
    }
    docyard.issuer.revoke(&token).await;
    assert_eq!(docyard.issuer.introspect(&token).await["active"], false);

    // Whatever is changed in it, it is no token any more.
    let mut changed = docyard.token(&client, "").await.str("access_token");
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'B' } else { 'A' });
    assert_eq!(
        docyard.issuer.introspect(&changed).await,
        json!({ "active": false })
    );
}

#[tokio::test]
async fn a_machine_client_may_have_tokens_that_everybody_can_verify() {
    let docyard = Docyard::start().await;
    let mut body = ehr();
    body["tokenFormat"] = json!("jwt");
    let client = docyard.create(body).await;
    let token = docyard.token(&client, "").await.str("access_token");
    let claims = claims(&token);
    assert_eq!(
        (&claims["dockId"], &claims["partyId"]),
        (&json!("dock_01HQ3K"), &json!("pty_01HQ3L"))
    );
    assert_eq!(claims["client_id"], client["clientId"]);
    assert_eq!(docyard.issuer.introspect(&token).await["active"], true);
}

#[tokio::test]
async fn without_scopes_a_machine_client_has_all() {
    let docyard = Docyard::start().await;
    let client = docyard.create(json!({ "name": "all" })).await;
    assert_eq!(
        client["scopes"],
        json!(["artifacts:write", "artifacts:read", "policies:read"])
    );
    assert_eq!(client.get("dockId"), None);
}

#[tokio::test]
async fn a_replaced_secret_works_for_a_day_or_until_it_is_revoked() {
    let docyard = Docyard::start().await;
    let old = docyard.create(ehr()).await;
    let path = format!("{}/{}", docyard.clients, old["clientId"].as_str().unwrap());
    let rotated = docyard
        .call(Method::POST, &format!("{path}/rotate"), None)
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let new = rotated.json();
    assert_eq!(new["clientId"], old["clientId"]);
    assert_eq!(new["previousSecretExpiresAt"], "2027-01-16T08:00:00Z");
    for client in [&old, &new] {
        assert_eq!(docyard.token(client, "").await.status, 200);
    }
    docyard.clock.advance(Duration::from_secs(86_400));
    docyard
        .token(&old, "")
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(docyard.token(&new, "").await.status, 200);

    docyard
        .call(Method::POST, &format!("{path}/rotate"), None)
        .await;
    let shown = docyard.call(Method::GET, &path, None).await.json();
    let graced = shown["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|secret| secret["expiresAt"].is_string());
    let secret = format!("{path}/secrets/{}", graced.unwrap()["id"].as_str().unwrap());
    assert_eq!(
        docyard.call(Method::DELETE, &secret, None).await.status,
        204
    );
    docyard
        .token(&new, "")
        .await
        .expect_error(401, "invalid_client");
}

#[tokio::test]
async fn machine_clients_are_listed_changed_and_deleted() {
    let docyard = Docyard::start().await;
    let first = docyard.create(ehr()).await;
    docyard.clock.advance(Duration::from_secs(1));
    let second = docyard.create(json!({ "name": "second" })).await;
    docyard
        .issuer
        .agent_in(&docyard.organization, &["read"])
        .await;
    let list = docyard
        .call(Method::GET, &docyard.clients, None)
        .await
        .json();
    assert_eq!(
        list["meta"],
        json!({ "total": 2, "page": 1, "pageSize": 20 })
    );
    assert_eq!(list["data"][0]["name"], "second");
    assert!(!list.to_string().contains("dys_"));
    let page = format!("{}?page=2&pageSize=1", docyard.clients);
    let page = docyard.call(Method::GET, &page, None).await.json();
    assert_eq!(
        page["meta"],
        json!({ "total": 2, "page": 2, "pageSize": 1 })
    );
    assert_eq!(page["data"][0]["id"], first["id"]);

    let by_id = format!("{}/{}", docyard.clients, first["id"].as_str().unwrap());
    let change = json!({ "name": "renamed", "scopes": ["artifacts:read"], "isActive": false });
    let changed = docyard
        .call(Method::PATCH, &by_id, Some(change))
        .await
        .json();
    assert_eq!(
        (&changed["name"], &changed["isActive"]),
        (&json!("renamed"), &json!(false))
    );
    docyard
        .token(&first, "")
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(docyard.call(Method::DELETE, &by_id, None).await.status, 204);
    docyard
        .call(Method::GET, &by_id, None)
        .await
        .expect_error(404, "not_found");

    for (body, field) in [
        (json!({ "dockId": "d" }), "name"),
        (json!({ "name": "n", "dockId": "a b" }), "dockId"),
        (json!({ "name": "n", "partyId": "" }), "partyId"),
        (json!({ "name": "n", "tokenFormat": "xml" }), "tokenFormat"),
        (json!({ "name": "n", "scopes": ["a b"] }), "scopes"),
    ] {
        let answer = docyard
            .call(Method::POST, &docyard.clients, Some(body))
            .await;
        answer.expect_error(400, "invalid_request");
        assert!(answer.str("message").contains(field), "{}", answer.text);
    }
    for page in ["page=0", "pageSize=101", "page=x"] {
        let path = format!("{}?{page}", docyard.clients);
        docyard
            .call(Method::GET, &path, None)
            .await
            .expect_error(400, "invalid_request");
    }

    // Another tenant's, and an agent that is no machine client.
    let other = docyard.issuer.organization("other").await;
    let their_key = docyard.issuer.api_key(&other, json!({ "name": "k" })).await;
    let second = second["clientId"].as_str().unwrap();
    for path in [
        format!("{}/{second}", docyard.clients),
        format!("/v1/organizations/{other}/machine-clients/{second}"),
    ] {
        docyard
            .issuer
            .bearer(&their_key, Method::GET, &path, None)
            .await
            .expect_error(404, "not_found");
    }
}
