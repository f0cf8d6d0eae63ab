//! Another version takes over, one issuer after the other, while clients are served: `docs/operations.md`.
//!
//! The earlier version is this one, unless `scripts/upgrade` has built one: also then nobody may notice when an issuer is
//! replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::installation::{ADMIN, Installation};
use machineauth_tests::process::Process;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::select;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_issuer");
/// How many clients are always in the middle of something.
const CLIENTS: usize = 4;
/// How many tokens are fetched before the next step.
const TOKENS_A_STEP: usize = 40;
const A_MINUTE: Duration = Duration::from_secs(60);
/// How long it is until somebody looks again whether an issuer is ready.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_of_two_versions_share_a_store_and_are_replaced_unnoticed_there_and_back() {
    let (earlier, this) = (earlier(), Path::new(PROGRAM));
    let installation = Installation::on_redis(PROGRAM).await;
    let first = installation.start_as(&earlier, &[]).await;
    let second = installation.start_as(&earlier, &[]).await;
    let balancer = Balancer::before(&[&first, &second]);
    let mut load = Load::on(&balancer, &second.base).await;

    let third = replace(&balancer, first, installation.start_as(this, &[]).await).await;
    load.goes_on().await;
    agree(&second.base, &third.base).await;
    agree(&third.base, &second.base).await;

    let fourth = replace(&balancer, second, installation.start_as(this, &[]).await).await;
    load.goes_on().await;
    agree(&third.base, &fourth.base).await;

    // Back: what the new version wrote, the earlier one reads.
    let fifth = installation.start_as(&earlier, &[]).await;
    let fifth = replace(&balancer, third, fifth).await;
    load.goes_on().await;
    agree(&fourth.base, &fifth.base).await;
    agree(&fifth.base, &fourth.base).await;

    load.end().await;
    for version in [&*earlier, this] {
        let verified = installation.command_of(version, &["audit", "verify"]);
        assert!(verified.is_success, "{}", verified.stderr);
    }
}

/// The program of the version that is replaced.
#[expect(
    clippy::disallowed_methods,
    reason = "scripts/upgrade says which, and nobody else"
)]
fn earlier() -> PathBuf {
    std::env::var_os("MACHINEAUTH_TEST_EARLIER").map_or_else(|| PROGRAM.into(), PathBuf::from)
}

/// Sends clients to the issuers that are in service.
#[derive(Debug, Clone)]
struct Balancer(Arc<RwLock<Vec<String>>>);

impl Balancer {
    fn before(issuers: &[&Process]) -> Self {
        let bases = issuers.iter().map(|issuer| issuer.base.clone());
        Self(Arc::new(RwLock::new(bases.collect())))
    }

    /// Sends nobody to `old` any more once `new` is ready; returns when nobody is there.
    async fn replace(&self, old: &str, new: &str) {
        let (client, ready) = (http::client(), format!("{new}/health/ready"));
        timeout(A_MINUTE, async {
            while Answer::to(client.get(&ready)).await.status != 200 {
                sleep(LOOKS_AGAIN_AFTER).await;
            }
        })
        .await
        .expect("the new issuer is ready in time");
        // Whoever is being served holds the lock.
        let mut bases = self.0.write().await;
        bases.retain(|base| base != old);
        bases.push(new.to_owned());
    }
}

/// Puts `new` in the place of `old`, which ends as it should.
async fn replace(balancer: &Balancer, old: Process, new: Process) -> Process {
    balancer.replace(&old.base, &new.base).await;
    let ended = old.terminate().await;
    assert!(ended.status.success(), "{}", ended.printed);
    new
}

/// Clients that fetch tokens, refresh them and have them introspected, and are never refused.
#[derive(Debug)]
struct Load {
    clients: JoinSet<()>,
    tokens: watch::Receiver<usize>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    async fn on(balancer: &Balancer, base: &str) -> Self {
        let (counter, tokens) = watch::channel(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let agent = Issuer(base).agent().await;
            let (balancer, counter, is_over) =
                (balancer.clone(), counter.clone(), Arc::clone(&is_over));
            clients.spawn(async move {
                for turn in number.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let bases = balancer.0.read().await;
                    let issuer = Issuer(&bases[turn % bases.len()]);
                    let (access, refresh) = issuer.tokens(&agent).await;
                    let (again, _) = issuer.refreshed(&agent, &refresh).await.tokens();
                    for token in [access, again] {
                        assert!(issuer.is_active(&token).await);
                        counter.send_modify(|tokens| *tokens += 1);
                    }
                }
            });
        }
        Self {
            clients,
            tokens,
            is_over,
        }
    }

    /// Waits until some more clients were served.
    async fn goes_on(&mut self) {
        let enough = *self.tokens.borrow() + TOKENS_A_STEP;
        let served = self.tokens.wait_for(|tokens| *tokens >= enough);
        select! {
            served = timeout(A_MINUTE, served) => {
                let served = served.expect("clients are served in time");
                served.expect("clients count");
            }
            refused = self.clients.join_next() => panic!("a client was refused: {refused:?}"),
        }
    }

    async fn end(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no client was refused");
        }
    }
}

/// What one issuer does, the other knows at once.
async fn agree(one: &str, other: &str) {
    let (one, other) = (Issuer(one), Issuer(other));
    let agent = one.agent().await;
    let (token, first) = other.tokens(&agent).await;
    assert!(one.is_active(&token).await);

    let (token, second) = one.refreshed(&agent, &first).await.tokens();
    assert!(other.is_active(&token).await);
    let (_, third) = other.refreshed(&agent, &second).await.tokens();
    let replayed = one.refreshed(&agent, &first).await;
    replayed.0.expect_error(400, "invalid_grant");
    let family_is_over = other.refreshed(&agent, &third).await;
    family_is_over.0.expect_error(400, "invalid_grant");

    let (token, _) = one.tokens(&agent).await;
    one.post("/oauth/revoke", &[("token", &token)]).await;
    assert!(!other.is_active(&token).await);

    let path = format!("/api/agents/{}/rotate", agent.id);
    let rotated = one.admin(Method::POST, &path, None).await;
    let refused = other.token_answer(&agent).await;
    refused.expect_error(401, "invalid_client");
    let agent = Agent {
        client_secret: rotated.str("client_secret"),
        ..agent
    };

    one.admin(Method::POST, "/api/keys/rotate", None).await;
    let (token, _) = one.tokens(&agent).await;
    assert!(other.is_active(&token).await, "its key is a new one");

    let path = format!("/api/agents/{}", agent.id);
    other.admin(Method::DELETE, &path, None).await;
    assert!(!one.is_active(&token).await);
    one.token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
}

/// An issuer, by where it listens.
#[derive(Debug, Clone, Copy)]
struct Issuer<'a>(&'a str);

/// What a request for a token was answered.
#[derive(Debug)]
struct Grant(Answer);

impl Grant {
    /// The access token and the refresh token.
    fn tokens(&self) -> (String, String) {
        assert_eq!(self.0.status, 200, "{}", self.0.text);
        (self.0.str("access_token"), self.0.str("refresh_token"))
    }
}

impl Issuer<'_> {
    fn client() -> Client {
        http::client()
    }

    async fn post(self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = Self::client().post(format!("{}{path}", self.0));
        Answer::to(request.form(form)).await
    }

    async fn admin(self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Self::client()
            .request(method, format!("{}{path}", self.0))
            .basic_auth(ADMIN.0, Some(ADMIN.1));
        let answer = Answer::to(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        answer
    }

    async fn agent(self) -> Agent {
        let body = json!({ "name": "a", "scopes": ["read"] });
        Agent::read(&self.admin(Method::POST, "/api/agents", Some(body)).await)
    }

    async fn token_answer(self, agent: &Agent) -> Answer {
        let form = agent.form(&[("grant_type", "client_credentials")]);
        self.post("/oauth/token", &form).await
    }

    async fn tokens(self, agent: &Agent) -> (String, String) {
        Grant(self.token_answer(agent).await).tokens()
    }

    async fn refreshed(self, agent: &Agent, refresh_token: &str) -> Grant {
        let more = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        Grant(self.post("/oauth/token", &agent.form(&more)).await)
    }

    async fn is_active(self, token: &str) -> bool {
        let answer = self.post("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["active"] == true
    }
}
