//! The main job, by real processes on both stores a stranger may choose: create an agent, get a token, call a
//! protected API, be refused after revocation.

use std::path::Path;
use std::time::{Duration, Instant};

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::process::{self, Process, free_port};
use machineauth_tests::redis_server::RedisServer;
use serde_json::json;
use tempfile::TempDir;

const SERVER_KEY: &str = "5c0a0c4b6a2e9375d8c1b0a4f3e2d1c00f1e2d3c4b5a69788796a5b4c3d2e1f1";
/// Far more than the milliseconds that it takes; a test that fails waits this long.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// Several attempts of the API to reach its issuer.
const HEALS_WITHIN: Duration = Duration::from_secs(20);

struct Stage {
    issuer: Process,
    api: Process,
    client: reqwest::Client,
    _directory: TempDir,
}

impl Stage {
    async fn set(database_url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, api_port) = (free_port(), free_port());
        let port_text = port.to_string();
        let variables = [
            ("PORT", port_text.as_str()),
            ("DATABASE_URL", database_url),
            ("SERVER_KEY", SERVER_KEY),
        ];
        let issuer = Process::start(
            Path::new(env!("CARGO_BIN_EXE_issuer")),
            directory.path(),
            port,
            &variables,
            &[],
        )
        .await;
        let listen = format!("127.0.0.1:{api_port}");
        let arguments = ["--issuer", &issuer.base, "--listen", &listen];
        let program = Path::new(env!("CARGO_BIN_EXE_axum-api"));
        let api = Process::start(program, directory.path(), api_port, &[], &arguments).await;
        Self {
            issuer,
            api,
            client: http::client(),
            _directory: directory,
        }
    }

    async fn agent(&self, scopes: &[&str]) -> Agent {
        let created = self
            .client
            .post(format!("{}/api/agents", self.issuer.base))
            .basic_auth("admin@example.com", Some("changeme"))
            .json(&json!({ "name": "my-agent", "scopes": scopes }));
        Agent::read(&Answer::to(created).await)
    }

    async fn token(&self) -> String {
        let agent = self.agent(&["read"]).await;
        let request = self
            .client
            .post(format!("{}/oauth/token", self.issuer.base))
            .basic_auth(agent.client_id, Some(agent.client_secret))
            .form(&[("grant_type", "client_credentials")]);
        Answer::to(request).await.str("access_token")
    }

    async fn call(&self, token: &str) -> Answer {
        Answer::to(
            self.client
                .get(format!("{}/artifacts", self.api.base))
                .bearer_auth(token),
        )
        .await
    }

    /// Waits until the API knows what is revoked; until then it refuses everybody.
    async fn feed_has_arrived(&self, token: &str) {
        let started = Instant::now();
        while self.call(token).await.status == 503 {
            assert!(
                started.elapsed() < HEALS_WITHIN,
                "the API does not hear what is revoked"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn revoke(&self, token: &str) {
        let request = self
            .client
            .post(format!("{}/oauth/revoke", self.issuer.base))
            .form(&[("token", token)]);
        assert_eq!(Answer::to(request).await.status, 200);
    }
}

async fn journey(database_url: &str) {
    let stage = Stage::set(database_url).await;
    let (token, other) = (stage.token().await, stage.token().await);
    stage.feed_has_arrived(&token).await;
    for token in [&token, &other] {
        let answer = stage.call(token).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "[]"));
    }

    let write = stage
        .client
        .post(format!("{}/artifacts", stage.api.base))
        .bearer_auth(&token);
    let write = Answer::to(write.json(&json!({ "filename": "a.pdf" }))).await;
    assert_eq!(write.status, 403, "{}", write.text);
    assert!(
        write
            .header("www-authenticate")
            .contains("insufficient_scope"),
        "{}",
        write.header("www-authenticate")
    );
    let anonymous = Answer::to(stage.client.get(format!("{}/artifacts", stage.api.base))).await;
    assert_eq!(
        (
            anonymous.status.as_u16(),
            anonymous.header("www-authenticate")
        ),
        (401, "Bearer")
    );

    stage.revoke(&token).await;
    let revoked = Instant::now();
    let refused = loop {
        let answer = stage.call(&token).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(
            revoked.elapsed() < REFUSED_WITHIN,
            "the API still accepts the revoked token"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(
        (refused.status.as_u16(), refused.str("error").as_str()),
        (401, "invalid_token")
    );
    assert!(
        refused.str("message").contains("revoked"),
        "{}",
        refused.text
    );
    assert_eq!(
        stage.call(&other).await.status,
        200,
        "another token is untouched"
    );

    let Stage {
        issuer,
        api,
        client,
        ..
    } = stage;
    assert!(
        issuer.terminate().await.status.success(),
        "the issuer stops although the API listens to its feed"
    );
    let request = client
        .get(format!("{}/artifacts", api.base))
        .bearer_auth(&other);
    assert_eq!(
        Answer::to(request).await.status,
        200,
        "the API serves while the issuer is away"
    );
    assert!(api.terminate().await.status.success());
}

#[tokio::test]
async fn a_stranger_gets_a_verified_token_on_the_embedded_store() {
    journey("embedded:machineauth.redb").await;
}

#[tokio::test]
async fn a_stranger_gets_a_verified_token_on_redis() {
    let redis = RedisServer::start().await;
    journey(&redis.url()).await;
}

#[tokio::test]
async fn an_agent_with_its_secret_in_a_file_sends_artifacts() {
    let stage = Stage::set("embedded:machineauth.redb").await;
    let token = stage.token().await;
    stage.feed_has_arrived(&token).await;
    let agent = stage.agent(&["write"]).await;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("{}\n", agent.client_secret)).unwrap();

    let (issuer, api) = (&stage.issuer.base, &stage.api.base);
    let secret = secret.to_str().unwrap();
    let finished = process::run(
        Path::new(env!("CARGO_BIN_EXE_agent-client")),
        directory.path(),
        &[
            ("CLIENT_ID", &agent.client_id),
            ("CLIENT_SECRET_FILE", secret),
        ],
        &[
            "--issuer", issuer, "--api", api, "--count", "2", "--every", "0",
        ],
        "",
    );
    assert!(finished.is_success, "{}", finished.stderr);
    let sent: Vec<_> = finished.stdout.lines().collect();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|line| line.starts_with("201 Created")));
    let kept = stage.call(&token).await.json();
    assert_eq!(kept[1]["filename"], "report-2.txt");
    assert_eq!(kept[1]["created_by"], agent.id);
}

/// V16
#[tokio::test]
async fn an_api_that_starts_before_its_issuer_serves_once_the_issuer_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (port, api_port) = (free_port(), free_port());
    let base = format!("http://127.0.0.1:{port}");
    let listen = format!("127.0.0.1:{api_port}");
    let program = Path::new(env!("CARGO_BIN_EXE_axum-api"));
    let api = Process::start(
        program,
        directory.path(),
        api_port,
        &[],
        &["--issuer", &base, "--listen", &listen],
    )
    .await;
    let client = http::client();
    let call = || {
        client
            .get(format!("{}/artifacts", api.base))
            .bearer_auth("eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS0xIn0.e30.AAAA")
    };
    assert_eq!(
        Answer::to(call()).await.status,
        503,
        "nothing can be verified yet"
    );

    let port_text = port.to_string();
    let issuer = Path::new(env!("CARGO_BIN_EXE_issuer"));
    let issuer = Process::start(issuer, directory.path(), port, &[("PORT", &port_text)], &[]).await;
    let stage = Stage {
        issuer,
        api,
        client: client.clone(),
        _directory: directory,
    };
    let token = stage.token().await;
    stage.feed_has_arrived(&token).await;
    assert_eq!(stage.call(&token).await.status, 200);
}
