//! What the issuer prints never helps a thief, however much it is asked to print.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::process::{Process, free_port};
use machineauth_tests::redis_server::RedisServer;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ADMIN: (&str, &str) = ("admin@example.com", "correct-horse-battery");
const REDIS_PASSWORD: &str = "redis-password-8f2d";
const SERVER_KEY: &str = "6a0a0c4b6a2e9375d8c1b0a4f3e2d1c00f1e2d3c4b5a69788796a5b4c3d2e1f2";

/// A real issuer that logs all it can, and every secret that it was told or told itself, by what it is.
struct Stage {
    issuer: Process,
    client: reqwest::Client,
    secrets: BTreeMap<String, String>,
}

impl Stage {
    async fn set(directory: &Path, database_url: &str) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let variables = [
            ("HOST", "127.0.0.1"),
            ("PORT", port_text.as_str()),
            ("DATABASE_URL", database_url),
            ("SERVER_KEY", SERVER_KEY),
            ("ADMIN_PASSWORD", ADMIN.1),
            ("LOG", "trace"),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
        let issuer = Process::start(program, directory, port, &variables, &[]).await;
        let mut stage = Self {
            issuer,
            client: http::client(),
            secrets: BTreeMap::new(),
        };
        stage.note("the server key", SERVER_KEY);
        stage.note("the administrator's password", ADMIN.1);
        stage.note("the password of Redis", REDIS_PASSWORD);
        stage.note_basic("the administrator", ADMIN.0, ADMIN.1);
        stage
    }

    fn note(&mut self, what: &str, secret: &str) {
        self.secrets.insert(what.to_owned(), secret.to_owned());
    }

    /// Notes the value of an Authorization header, and the part that would do.
    fn note_basic(&mut self, whose: &str, user: &str, password: &str) {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        self.note(&format!("the Authorization of {whose}"), &credentials);
    }

    /// Notes a JWT by the part that cannot be made from anything else, a refresh token as a whole.
    fn note_tokens(&mut self, which: &str, answer: &Answer) {
        let access = answer.str("access_token");
        let (content, signature) = access.rsplit_once('.').unwrap();
        self.note(&format!("the signature of {which}"), signature);
        self.note(&format!("the content of {which}"), content);
        let refresh_token = answer.str("refresh_token");
        let random = refresh_token.trim_start_matches("rt_");
        self.note(&format!("the refresh token with {which}"), random);
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.issuer.base))
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Answer::to(self.request(Method::POST, path).form(form)).await
    }

    async fn admin(&self, path: &str, body: serde_json::Value) -> Answer {
        let request = self
            .request(Method::POST, path)
            .basic_auth(ADMIN.0, Some(ADMIN.1));
        Answer::to(request.json(&body)).await
    }

    async fn agent(&mut self) -> Agent {
        let body = json!({ "name": "a", "scopes": ["read"] });
        let agent = Agent::read(&self.admin("/api/agents", body).await);
        self.note("the client secret", &agent.client_secret[3..]);
        self.note_basic("the client", &agent.client_id, &agent.client_secret);
        agent
    }
}

/// What a client does that has nothing to hide and nothing goes wrong for; then its agent gets another secret.
async fn use_every_endpoint(stage: &mut Stage) -> Agent {
    let agent = stage.agent().await;
    let request = stage
        .request(Method::POST, "/oauth/token")
        .basic_auth(&agent.client_id, Some(&agent.client_secret));
    let granted = Answer::to(request.form(&[("grant_type", "client_credentials")])).await;
    stage.note_tokens("the first token", &granted);
    let first = granted.str("refresh_token");
    let mut last = first.clone();
    for which in ["the second token", "the third token"] {
        let form = agent.form(&[("refresh_token", &last)]);
        let refreshed = stage.post("/oauth/refresh", &form).await;
        stage.note_tokens(which, &refreshed);
        last = refreshed.str("refresh_token");
    }
    // Used again after somebody went on, which is worth a warning.
    stage
        .post("/oauth/refresh", &agent.form(&[("refresh_token", &first)]))
        .await
        .expect_error(400, "invalid_grant");
    for path in ["/oauth/introspect", "/oauth/revoke", "/oauth/introspect"] {
        for token in [&granted.str("access_token"), &last] {
            let answer = stage.post(path, &agent.form(&[("token", token)])).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }

    let path = format!("/api/agents/{}/rotate", agent.id);
    let rotated = stage.admin(&path, json!({})).await;
    let agent = Agent {
        client_secret: rotated.str("client_secret"),
        ..agent
    };
    stage.note("the rotated secret", &agent.client_secret[3..]);
    agent
}

/// What goes wrong between honest people: secrets in wrong places, and almost right ones.
async fn make_every_mistake(stage: &mut Stage, agent: &Agent) {
    let (id, secret) = (&agent.client_id, &agent.client_secret);
    let grant = ("grant_type", "client_credentials");
    let wrong = format!("{secret}-with-a-typo");
    stage.note_basic("a client with a typo", id, &wrong);
    stage.note_basic("nobody", "", secret);
    let token = Method::POST;
    let urls = [
        format!("/oauth/token?client_id={id}&client_secret={secret}"),
        format!("/oauth/{secret}"),
        format!("/api/agents/{secret}"),
        format!("/api/agents?cursor={secret}"),
    ];
    let encoded = URL_SAFE_NO_PAD.encode(format!("{id}:{secret}"));
    stage.note("credentials in the wrong Base64", &encoded);
    let mut requests: Vec<RequestBuilder> = [
        format!("Basic {encoded}"),
        format!("Basic {secret}"),
        format!("Bearer {secret}"),
        format!("{secret} Basic"),
        secret.clone(),
        format!("Basic {}", STANDARD.encode(secret)),
    ]
    .into_iter()
    .flat_map(|value| {
        ["/oauth/token", "/oauth/introspect", "/api/agents"].map(|path| {
            stage
                .request(token.clone(), path)
                .header("authorization", &value)
                .form(&[grant])
        })
    })
    .collect();
    stage.note("a secret in Base64", &STANDARD.encode(secret));
    requests.extend(urls.map(|url| stage.request(token.clone(), &url).form(&[grant])));
    for body in [
        format!("{{\"client_secret\":\"{secret}\""),
        format!("{{\"client_secret\":[\"{secret}\"]}}"),
        format!("[\"{secret}\"]"),
        format!("{{\"name\":\"a\",\"expires_in\":\"{secret}\"}}"),
        format!("{{\"{secret}\":1}}"),
        format!("{{\"{secret}\":[1,}}"),
        format!("{{\"name\":{{\"{secret}\":1}}}}"),
        format!("client_secret={secret}&client_secret={secret}"),
    ] {
        for content_type in [
            "application/json",
            "application/x-www-form-urlencoded",
            "text/plain",
        ] {
            for path in ["/oauth/token", "/oauth/revoke", "/api/agents"] {
                let request = stage
                    .request(Method::POST, path)
                    .basic_auth(ADMIN.0, Some(ADMIN.1))
                    .header("content-type", content_type);
                requests.push(request.body(body.clone()));
            }
        }
    }
    requests.push(
        stage
            .request(token, "/oauth/token")
            .basic_auth(id, Some(&wrong))
            .form(&[grant]),
    );
    for request in requests {
        let answer = Answer::to(request).await;
        assert!(answer.status.is_client_error(), "{}", answer.text);
        assert!(!answer.text.contains(&secret[3..]), "{}", answer.text);
    }
}

/// What is no HTTP at all, each with a secret in it.
async fn talk_nonsense(stage: &Stage, agent: &Agent) {
    let secret = &agent.client_secret;
    let address = stage.issuer.base.trim_start_matches("http://");
    for nonsense in [
        format!("{secret}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nauthorization Basic {secret}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nauthorization: Basic {secret}\0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\ncontent-length: {secret}\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(nonsense.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

async fn nothing_secret_is_printed_on(database_url: &str) {
    let directory = tempfile::tempdir().unwrap();
    nothing_secret_is_printed(directory.path(), database_url).await;
}

/// The secrets that were in use, and an agent that was.
async fn nothing_secret_is_printed(
    directory: &Path,
    database_url: &str,
) -> (BTreeMap<String, String>, Agent) {
    let mut stage = Stage::set(directory, database_url).await;
    let agent = use_every_endpoint(&mut stage).await;
    make_every_mistake(&mut stage, &agent).await;
    talk_nonsense(&stage, &agent).await;
    let ended = stage.issuer.terminate().await;
    assert!(ended.status.success());
    let log = ended.printed;
    assert!(
        log.contains("DEBUG") && log.contains("WARN") && log.contains(&agent.id),
        "all that the server has to say is in its log:\n{log}"
    );
    for (what, secret) in &stage.secrets {
        if let Some(line) = log.lines().find(|line| line.contains(secret.as_str())) {
            panic!("{what} is in the log: {line}");
        }
    }
    (stage.secrets, agent)
}

/// I5, I21
#[tokio::test]
async fn nothing_secret_is_printed_on_the_embedded_store_or_kept_in_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let (secrets, agent) =
        nothing_secret_is_printed(directory.path(), "embedded:machineauth.redb").await;
    let file = std::fs::read(directory.path().join("machineauth.redb")).unwrap();
    let holds = |text: &str| {
        file.windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds(&agent.id), "the file is the store");
    for (what, secret) in &secrets {
        assert!(!holds(secret), "{what} is in the store's file");
    }
}

/// I21
#[tokio::test]
async fn nothing_secret_is_printed_on_redis() {
    let redis = RedisServer::start_with_password(REDIS_PASSWORD).await;
    let url = redis
        .url()
        .replace("://", &format!("://:{REDIS_PASSWORD}@"));
    nothing_secret_is_printed_on(&url).await;
}
