//! The whole of `docyard-machine-authentication.txt`: the issuer and the example API as processes, and in front of them the
//! classes that the guide prints, unmodified but for the base URL (`tests/clients/docyard_guide`).

use std::path::Path;
use std::time::{Duration, Instant};

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::process::{Process, free_port};
use machineauth_tests::program::{node, python};
use serde_json::{Value, json};
use tempfile::TempDir;

const ADMIN: (&str, &str) = ("admin@example.com", "changeme");
/// Far more than the milliseconds that news takes.
const HEARS_WITHIN: Duration = Duration::from_secs(20);

struct Docyard {
    issuer: Process,
    api: Process,
    client: reqwest::Client,
    _directory: TempDir,
}

impl Docyard {
    /// As in production: introspection and the feed are for the API's own client only.
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, api_port) = (free_port(), free_port());
        let port_text = port.to_string();
        let variables = [
            ("PORT", port_text.as_str()),
            ("INTROSPECTION_AUTH", "required"),
            ("REVOCATIONS_AUTH", "required"),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
        let issuer = Process::start(program, directory.path(), port, &variables, &[]).await;
        let client = http::client();
        let scopes = ["tokens:introspect", "revocations:read"];
        let body = json!({ "name": "docyard-api", "scopes": scopes });
        let request = client.post(format!("{}/api/agents", issuer.base));
        let (user, password) = ADMIN;
        let request = request.basic_auth(user, Some(password)).json(&body);
        let own = Agent::read(&Answer::to(request).await);

        let listen = format!("127.0.0.1:{api_port}");
        let variables = [
            ("ISSUER", issuer.base.as_str()),
            ("LISTEN", &listen),
            ("MACHINEAUTH_CLIENT_ID", &own.client_id),
            ("MACHINEAUTH_CLIENT_SECRET", &own.client_secret),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_docyard-api"));
        let api = Process::start(program, directory.path(), api_port, &variables, &[]).await;
        Self {
            issuer,
            api,
            client,
            _directory: directory,
        }
    }

    async fn created(&self, path: &str, body: Value, key: Option<&str>) -> Answer {
        let request = self.client.post(format!("{}{path}", self.issuer.base));
        let (user, password) = ADMIN;
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request.basic_auth(user, Some(password)),
        };
        let answer = Answer::to(request.json(&body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer
    }

    /// Step 1 of the guide, in an organization of its own.
    async fn machine_client(&self, slug: &str, dock: Option<&str>) -> Agent {
        let body = json!({ "name": slug, "slug": slug });
        let organization = self.created("/api/organizations", body, None).await;
        let organization = organization.str("id");
        let path = format!("/api/organizations/{organization}/api-keys");
        let key = self.created(&path, json!({ "name": "k" }), None).await;
        let mut body = json!({
            "name": "epic-ehr-integration",
            "scopes": ["artifacts:write", "artifacts:read"],
        });
        if let Some(dock) = dock {
            body["dockId"] = json!(dock);
        }
        let path = format!("/v1/organizations/{organization}/machine-clients");
        let created = self.created(&path, body, Some(&key.str("key"))).await;
        let client = Agent {
            id: created.str("id"),
            client_id: created.str("clientId"),
            client_secret: created.str("clientSecret"),
        };
        // Until the API knows what is revoked it refuses everybody.
        let token = self.token(&client).await;
        let started = Instant::now();
        while self.list("dock_1", &token).await.status == 503 {
            assert!(started.elapsed() < HEARS_WITHIN, "the feed does not arrive");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client
    }

    /// Step 3 of the guide, at the API's address.
    async fn token(&self, client: &Agent) -> String {
        let body = json!({
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": client.client_secret,
        });
        let request = self
            .client
            .post(format!("{}/v1/oauth/token", self.api.base));
        let answer = Answer::to(request.json(&body)).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.str("access_token")
    }

    async fn list(&self, dock: &str, token: &str) -> Answer {
        let url = format!("{}/v1/machine/docks/{dock}/artifacts", self.api.base);
        Answer::to(self.client.get(url).bearer_auth(token)).await
    }

    async fn upload(&self, dock: &str, token: &str, filename: &str) -> Answer {
        let url = format!("{}/v1/machine/docks/{dock}/artifacts", self.api.base);
        let request = self.client.post(url).bearer_auth(token);
        Answer::to(request.json(&json!({ "filename": filename }))).await
    }
}

#[tokio::test]
async fn the_guides_classes_run_unmodified_but_for_the_base_url() {
    let docyard = Docyard::start().await;
    for (slug, run_node) in [("in-python", false), ("in-node", true)] {
        let client = docyard.machine_client(slug, Some("dock_1")).await;
        let variables = [
            ("BASE", docyard.api.base.as_str()),
            ("CLIENT_ID", &client.client_id),
            ("CLIENT_SECRET", &client.client_secret),
            ("DOCK", "dock_1"),
        ];
        match run_node {
            true => node("docyard_guide", &variables).await,
            false => python("docyard_guide", &variables).await,
        }
    }
}

#[tokio::test]
async fn a_client_without_a_dock_reaches_every_dock_of_its_organization_and_no_other() {
    let docyard = Docyard::start().await;
    let clinic = docyard.machine_client("clinic", None).await;
    let clinic = docyard.token(&clinic).await;
    for dock in ["dock_1", "dock_2"] {
        assert_eq!(docyard.upload(dock, &clinic, "a.pdf").await.status, 201);
    }
    let stranger = docyard.machine_client("stranger", None).await;
    let stranger = docyard.token(&stranger).await;
    let seen = docyard.list("dock_1", &stranger).await;
    assert_eq!(
        (seen.status.as_u16(), &seen.json()["meta"]["total"]),
        (200, &json!(0))
    );
    assert_eq!(
        docyard.list("dock_1", &clinic).await.json()["meta"]["total"],
        1
    );
}

/// Troubleshooting, 401: the feed, not the next introspection, ends a token.
#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_nothing_else_is() {
    let docyard = Docyard::start().await;
    let client = docyard.machine_client("clinic", Some("dock_1")).await;
    let (token, other) = (docyard.token(&client).await, docyard.token(&client).await);
    for token in [&token, &other] {
        assert_eq!(docyard.list("dock_1", token).await.status, 200);
    }
    let form = client.form(&[("token", &token)]);
    let request = docyard
        .client
        .post(format!("{}/oauth/revoke", docyard.issuer.base));
    assert_eq!(Answer::to(request.form(&form)).await.status, 200);
    let started = Instant::now();
    while docyard.list("dock_1", &token).await.status != 401 {
        assert!(started.elapsed() < HEARS_WITHIN, "the news does not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(docyard.list("dock_1", &other).await.status, 200);
}

#[tokio::test]
async fn what_is_no_upload_is_refused_with_a_reason() {
    let docyard = Docyard::start().await;
    let client = docyard.machine_client("clinic", Some("dock_1")).await;
    let token = docyard.token(&client).await;
    let url = format!("{}/v1/machine/docks/dock_1/artifacts", docyard.api.base);
    let form = "multipart/form-data; boundary=x";
    let without_file =
        "--x\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n{}\r\n--x--\r\n";
    for (content_type, body, status) in [
        ("application/json", "{}", 422),
        ("application/json", "{", 400),
        ("text/plain", "a", 415),
        (form, without_file, 400),
        (form, "--y", 400),
    ] {
        let request = docyard.client.post(&url).bearer_auth(&token);
        let request = request.header("content-type", content_type).body(body);
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, status, "{content_type} {body}");
        assert!(!answer.str("message").is_empty());
    }
    // What no rule names is not there for anybody.
    let elsewhere = docyard
        .client
        .get(format!("{}/v1/machine/docks", docyard.api.base));
    assert_eq!(Answer::to(elsewhere.bearer_auth(&token)).await.status, 403);
}
