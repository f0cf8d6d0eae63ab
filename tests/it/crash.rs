//! The issuer is killed in the middle of its work, and what it had answered for is still so afterwards.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::process::{Process, free_port};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// How many clients are always in the middle of something.
const CLIENTS: usize = 8;
const ROUNDS: u64 = 3;
const A_MINUTE: Duration = Duration::from_secs(60);

/// What was answered for, and so must hold for ever.
#[derive(Debug, Default)]
struct Promises {
    /// Agents with the secret that they have, and those that they had.
    agents: Vec<(Agent, Vec<String>)>,
    /// Agents that may have been rotated: the answer was lost.
    uncertain: Vec<Agent>,
    revoked: Vec<String>,
    deleted: Vec<Agent>,
}

impl Promises {
    /// Enough of each kind for a crash to break some.
    fn are_many(&self) -> bool {
        self.agents.len() > CLIENTS && self.revoked.len() > CLIENTS && !self.deleted.is_empty()
    }

    /// Of every four agents one.
    fn is_time_to_delete(&self) -> bool {
        (self.agents.len() + self.deleted.len()) % 4 == 3
    }
}

#[derive(Debug, Clone)]
struct Work {
    client: Client,
    base: String,
    promises: Arc<Mutex<Promises>>,
}

impl Work {
    fn promises(&self) -> MutexGuard<'_, Promises> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .basic_auth("admin@example.com", Some("changeme"))
    }

    async fn token(&self, agent: &Agent) -> reqwest::Result<Answer> {
        let form = agent.form(&[("grant_type", "client_credentials")]);
        let request = self.client.post(format!("{}/oauth/token", self.base));
        Answer::try_to(request.form(&form)).await
    }

    async fn introspected(&self, token: &str) -> Value {
        let request = self.client.post(format!("{}/oauth/introspect", self.base));
        Answer::to(request.form(&[("token", token)])).await.json()
    }

    /// Waits until a crash could break something.
    async fn under_way(&self) {
        while !self.promises().are_many() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Creates, rotates, revokes and deletes until the server is gone.
    async fn until_killed(self) {
        while self.one_life().await.is_ok() {}
    }

    async fn one_life(&self) -> reqwest::Result<()> {
        let body = json!({ "name": "a", "scopes": ["read"] });
        let created = Answer::try_to(self.admin(Method::POST, "/api/agents").json(&body)).await?;
        let mut agent = Agent::read(&created);
        let mut former = Vec::new();
        for _ in 0..2 {
            let token = self.token(&agent).await?.str("access_token");
            let revoke = self.client.post(format!("{}/oauth/revoke", self.base));
            Answer::try_to(revoke.form(&[("token", &token)])).await?;
            self.promises().revoked.push(token);

            let path = format!("/api/agents/{}/rotate", agent.id);
            let rotated = match Answer::try_to(self.admin(Method::POST, &path)).await {
                Ok(rotated) => rotated,
                Err(error) => {
                    self.promises().uncertain.push(agent);
                    return Err(error);
                }
            };
            former.push(agent.client_secret);
            agent.client_secret = rotated.str("client_secret");
        }
        if self.promises().is_time_to_delete() {
            let path = format!("/api/agents/{}", agent.id);
            Answer::try_to(self.admin(Method::DELETE, &path)).await?;
            self.promises().deleted.push(agent);
        } else {
            self.promises().agents.push((agent, former));
        }
        Ok(())
    }

    async fn check(&self) {
        let Promises {
            agents,
            uncertain,
            revoked,
            deleted,
        } = std::mem::take(&mut *self.promises());
        for (agent, former) in agents {
            let granted = self.token(&agent).await.unwrap();
            assert_eq!(granted.status, 200, "{}: {}", agent.id, granted.text);
            for client_secret in former {
                let before = Agent {
                    client_secret,
                    ..agent.clone()
                };
                let answer = self.token(&before).await.unwrap();
                answer.expect_error(401, "invalid_client");
            }
        }
        for agent in uncertain {
            let path = format!("/api/agents/{}", agent.id);
            let shown = Answer::to(self.admin(Method::GET, &path)).await;
            assert_eq!(shown.status, 200, "it was created: {}", shown.text);
        }
        for token in revoked {
            let answer = self.introspected(&token).await;
            assert_eq!(answer["active"], false, "{answer}");
        }
        for agent in deleted {
            let answer = self.token(&agent).await.unwrap();
            answer.expect_error(401, "invalid_client");
        }
    }
}

async fn start(directory: &Path, port: u16) -> Process {
    let port_text = port.to_string();
    // Every former secret is presented once more.
    let variables = [("PORT", port_text.as_str()), ("FAILURE_LIMIT", "0")];
    let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
    Process::start(program, directory, port, &variables, &[]).await
}

/// I18
#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_answered_for_survives_kill_9_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut issuer = start(directory.path(), port).await;
    for round in 0..ROUNDS {
        let work = Work {
            client: http::client(),
            base: issuer.base.clone(),
            promises: Arc::default(),
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(work.clone().until_killed()))
            .collect();
        timeout(A_MINUTE, work.under_way()).await.unwrap();
        // Not at a special moment: the rounds end in different places.
        sleep(Duration::from_millis(500 + 137 * round)).await;
        issuer.kill().await;
        for client in clients {
            client.await.unwrap();
        }
        issuer = start(directory.path(), port).await;
        work.check().await;
    }
    assert!(issuer.terminate().await.status.success());
}
