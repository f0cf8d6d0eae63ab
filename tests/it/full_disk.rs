//! The disk under the embedded store is full, and then there is room again.

use std::path::Path;
use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::ADMIN;
use machineauth_tests::process::{Process, TOLD_OF_FULL_DISKS, free_port};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::time::{Instant, sleep};

const HEALS_WITHIN: Duration = Duration::from_secs(10);
/// Far more than fit into what a file has in reserve.
const MANY: usize = 5_000;
const REFUSALS: usize = 20;

struct Server {
    process: Process,
    client: reqwest::Client,
}

impl Server {
    async fn start(directory: &Path) -> Self {
        let port = free_port();
        let text = port.to_string();
        let variables = [("PORT", text.as_str())];
        let arguments = ["-c", TOLD_OF_FULL_DISKS, env!("CARGO_BIN_EXE_issuer")];
        let shell = Path::new("/bin/sh");
        Self {
            process: Process::start(shell, directory, port, &variables, &arguments).await,
            client: http::client(),
        }
    }

    fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.at(path));
        request.basic_auth(ADMIN.0, Some(ADMIN.1))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.process.base)
    }

    async fn create(&self) -> Answer {
        let body = json!({ "name": "agent", "scopes": ["read"] });
        Answer::to(self.admin(Method::POST, "/api/agents").json(&body)).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Answer::to(self.client.post(self.at(path)).form(form)).await
    }

    async fn token(&self, agent: &Agent) -> String {
        let form = agent.form(&[("grant_type", "client_credentials")]);
        self.post("/oauth/token", &form).await.str("access_token")
    }

    async fn is_active(&self, token: &str) -> bool {
        let answer = self.post("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["active"] == true
    }
}

/// I15
#[tokio::test]
async fn on_a_full_disk_nothing_is_changed_everything_is_read_and_room_heals_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let agent = Agent::read(&server.create().await);
    let (good, revoked) = (server.token(&agent).await, server.token(&agent).await);
    let answer = server.post("/oauth/revoke", &[("token", &revoked)]).await;
    assert_eq!(answer.status, 200);

    let file = std::fs::metadata(directory.path().join("machineauth.redb")).unwrap();
    server.process.set_largest_file(Some(file.len()));
    let (mut acknowledged, mut refused) = (vec![agent], 0);
    while refused < REFUSALS {
        let answer = server.create().await;
        match answer.status.as_u16() {
            // The file has something in reserve, and finds more of it when it is opened again.
            201 => acknowledged.push(Agent::read(&answer)),
            _ => {
                answer.expect_error(503, "temporarily_unavailable");
                refused += 1;
                assert!(server.is_active(&good).await);
                assert!(!server.is_active(&revoked).await);
            }
        }
        assert!(acknowledged.len() < MANY, "the disk is never full");
    }

    server.process.set_largest_file(None);
    let room = Instant::now();
    while server.create().await.status != 201 {
        assert!(room.elapsed() < HEALS_WITHIN, "it does not heal");
        sleep(Duration::from_millis(20)).await;
    }
    for agent in &acknowledged {
        let path = format!("/api/agents/{}", agent.id);
        let shown = Answer::to(server.admin(Method::GET, &path)).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
    }
    assert!(server.is_active(&good).await);
    assert!(!server.is_active(&revoked).await);
}
