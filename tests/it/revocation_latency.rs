//! P6: from the answer to a revocation until resource servers refuse the token.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use machineauth_core::clock::SystemClock;
use machineauth_core::{ErrorKind, HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use machineauth_issuer::store::EmbeddedStore;
use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::process::{Process, free_port};
use serde_json::json;

const REVOCATIONS: usize = 200;
const RESTART_EVERY: usize = 67;
/// Nothing may take longer, restarts included: it would be lost.
const LOST: Duration = Duration::from_secs(30);

struct ResourceServer {
    verifier: Verifier,
    _feed: RevocationFeed,
}

impl ResourceServer {
    async fn of(issuer: &Issuer) -> Self {
        let revocations = RevocationSet::new();
        let feed = RevocationFeed::of(&issuer.base, revocations.clone())
            .start()
            .unwrap();
        let verifier = Verifier::builder(&issuer.base, "machineauth-api")
            .jwks(JwksCache::new(HttpKeys::discover(&issuer.base).unwrap()))
            .revocations(revocations)
            .build()
            .unwrap();
        feed.ready().await;
        Self {
            verifier,
            _feed: feed,
        }
    }

    async fn comes_to_refuse(&self, token: &str) {
        let refused = || matches!(self.verifier.check(token), Err(error) if error.kind() == ErrorKind::Revoked);
        while !refused() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// P6, V24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_resource_servers_hear_of_every_revocation_over_restarts_of_the_issuer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let open = async || -> Arc<EmbeddedStore> {
        let store = EmbeddedStore::open(&path, Arc::new(SystemClock)).await;
        Arc::new(store.unwrap())
    };
    let mut issuer = Issuer::builder().store(open().await).start().await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(ResourceServer::of(&issuer).await);
    }
    let agent = issuer.agent(&["read"]).await;
    let mut tokens = Vec::new();
    for _ in 0..REVOCATIONS {
        let (token, _) = issuer.tokens(&agent).await;
        for server in &servers {
            server.verifier.verify(&token).await.unwrap();
        }
        tokens.push(token);
    }

    let (mut latencies, mut after_restarts) = (Vec::new(), Vec::new());
    for (n, token) in tokens.iter().enumerate() {
        let restarts = n % RESTART_EVERY == RESTART_EVERY - 1;
        if restarts {
            let address = issuer.address;
            issuer.stop().await;
            let issuer_again = Issuer::builder().store(open().await).listen(address);
            issuer = issuer_again.start().await;
        }
        issuer.revoke(token).await;
        let answered = Instant::now();
        let refused = async {
            for server in &servers {
                server.comes_to_refuse(token).await;
            }
        };
        tokio::time::timeout(LOST, refused)
            .await
            .expect("no revocation is lost");
        match restarts {
            true => after_restarts.push(answered.elapsed()),
            false => latencies.push(answered.elapsed()),
        }
    }
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    println!(
        "P6 from {REVOCATIONS} answers to refusal at three resource servers, p99   {:.1} ms   target ≤ 250",
        p99.as_secs_f64() * 1e3
    );
    println!("right after a restart of the issuer: {after_restarts:?}");
    for token in &tokens {
        for server in &servers {
            assert!(
                server.verifier.check(token).is_err(),
                "what was refused stays refused"
            );
        }
    }
}

/// The issuer as a process, with one file for its store.
async fn issuer_process(directory: &Path, port: u16) -> Process {
    let port_text = port.to_string();
    let variables = [
        ("PORT", port_text.as_str()),
        ("DATABASE_URL", "embedded:machineauth.redb"),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
    Process::start(program, directory, port, &variables, &[]).await
}

async fn api_process(directory: &Path, issuer: &str) -> Process {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["--issuer", issuer, "--listen", &listen];
    let program = Path::new(env!("CARGO_BIN_EXE_axum-api"));
    Process::start(program, directory, port, &[], &arguments).await
}

/// Waits until the API answers the token's request with `status`.
async fn comes_to_answer(api: &Process, token: &str, status: u16) {
    let client = http::client();
    let answers = async {
        let url = format!("{}/artifacts", api.base);
        while Answer::to(client.get(&url).bearer_auth(token)).await.status != status {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LOST, answers)
        .await
        .unwrap_or_else(|_| panic!("the API does not answer {status}"));
}

/// P6, I18: killed right after it has answered, the issuer has told nobody; they hear of it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_hear_of_every_revocation_although_their_issuer_is_killed() {
    const REVOCATIONS: usize = 40;
    const KILL_EVERY: usize = 10;
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut issuer = issuer_process(directory.path(), port).await;
    let base = issuer.base.clone();
    let mut apis = Vec::new();
    for _ in 0..3 {
        apis.push(api_process(directory.path(), &base).await);
    }
    let client = http::client();
    let body = json!({ "name": "agent", "scopes": ["read"] });
    let request = client.post(format!("{base}/api/agents")).json(&body);
    let request = request.basic_auth("admin@example.com", Some("changeme"));
    let agent = Agent::read(&Answer::to(request).await);
    let mut tokens = Vec::new();
    for _ in 0..REVOCATIONS {
        let form = agent.form(&[("grant_type", "client_credentials")]);
        let request = client.post(format!("{base}/oauth/token")).form(&form);
        let token = Answer::to(request).await.str("access_token");
        join_all(apis.iter().map(|api| comes_to_answer(api, &token, 200))).await;
        tokens.push(token);
    }

    let (mut latencies, mut after_kills) = (Vec::new(), Vec::new());
    for (n, token) in tokens.iter().enumerate() {
        let form = agent.form(&[("token", token)]);
        let request = client.post(format!("{base}/oauth/revoke")).form(&form);
        assert_eq!(Answer::to(request).await.status, 200);
        let answered = Instant::now();
        let kills = n % KILL_EVERY == KILL_EVERY - 1;
        if kills {
            issuer.kill().await;
            issuer = issuer_process(directory.path(), port).await;
        }
        join_all(apis.iter().map(|api| comes_to_answer(api, token, 401))).await;
        match kills {
            true => after_kills.push(answered.elapsed()),
            false => latencies.push(answered.elapsed()),
        }
    }
    latencies.sort_unstable();
    let (median, slowest) = (
        latencies[latencies.len() / 2],
        latencies[latencies.len() - 1],
    );
    println!("P6, processes: {REVOCATIONS} revocations, median {median:?}, slowest {slowest:?}");
    println!("where the issuer was killed right after its answer: {after_kills:?}");
}
