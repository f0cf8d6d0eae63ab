//! Changes of the configuration and of the binary while requests go on.

use std::time::Duration;

use machineauth_core::dpop::ProofBuilder;
use machineauth_core::{Algorithm, SigningKey};
use machineauth_tests::edge::Edge;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::upstream::{Arrived, Upstream};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{EDGE, Stage, configuration};

const CLOSED: &str = "[[route]]\nupstream = \"api\"\nscopes = \"write\"\n";
const OPEN: &str = "[[route]]\nupstream = \"api\"\nscopes = \"read\"\n";

#[tokio::test]
async fn a_change_of_the_file_counts_for_the_next_request_and_drops_no_connection() {
    let stage = Stage::with(CLOSED).await;
    let token = stage.token(&["read"]).await;
    let mut kept = stage.edge.connect().await;
    let request = format!("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut ask = async || {
        kept.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 4096];
        let read = kept.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    assert!(ask().await.starts_with("HTTP/1.1 403"));
    stage.edge.write(&stage.configuration(OPEN));
    stage.edge.comes_to("/a", Some(&token), 200).await;
    assert!(
        ask().await.starts_with("HTTP/1.1 200"),
        "the same connection"
    );
    let applied = stage
        .edge
        .metric("machineauth_edge_reloads_total{outcome=\"applied\"}")
        .await;
    assert_eq!(applied, Some(1.0));
}

#[tokio::test]
async fn sighup_has_the_file_read_at_once() {
    let stage = Stage::with(CLOSED).await;
    let token = stage.token(&["read"]).await;
    stage.edge.write(&stage.configuration(OPEN));
    stage.edge.process.signal("HUP").await;
    stage
        .edge
        .process
        .logged_until("the new configuration is in force")
        .await;
    assert_eq!(stage.edge.get("/a", Some(&token)).await.status, 200);
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_and_the_log_says_which_line() {
    let stage = Stage::with(OPEN).await;
    let token = stage.token(&["read"]).await;
    let wrong = stage
        .configuration(CLOSED)
        .replace("upstream = \"api\"", "upstream = \"ap\"");
    stage.edge.write(&wrong);
    let log = stage
        .edge
        .process
        .logged_until("the configuration in force stays")
        .await;
    assert!(log.contains("there is no upstream `ap`"), "{log}");
    let line = wrong
        .lines()
        .position(|line| line.contains("\"ap\""))
        .unwrap()
        + 1;
    assert!(log.contains(&format!("edge.toml:{line}:")), "{log}");
    assert_eq!(stage.edge.get("/a", Some(&token)).await.status, 200);
    let refused = stage
        .edge
        .metric("machineauth_edge_reloads_total{outcome=\"refused\"}")
        .await;
    assert_eq!(refused, Some(1.0));
    stage.edge.write(&stage.configuration(CLOSED));
    stage.edge.comes_to("/a", Some(&token), 403).await;
}

#[tokio::test]
async fn a_policy_file_is_followed_as_well() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let routes = "[[route]]\nupstream = \"api\"\npolicy = \"policy.toml\"\n";
    let policy = |scope: &str| {
        format!("[[rule]]\nmethods = [\"GET\"]\npath = \"/{{*all}}\"\nscopes = \"{scope}\"\n")
    };
    let files = [("policy.toml", policy("write"))];
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let edge = Edge::start_with(EDGE, &configuration(&issuer, &upstream, routes), &files).await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    assert_eq!(edge.get("/a", Some(&token)).await.status, 403);
    std::fs::write(edge.file("policy.toml"), policy("read")).unwrap();
    edge.comes_to("/a", Some(&token), 200).await;
}

#[tokio::test]
async fn an_issuer_that_did_not_change_keeps_what_it_knows() {
    let stage = Stage::with(OPEN).await;
    let token = stage.token(&["read"]).await;
    assert_eq!(stage.edge.get("/a", Some(&token)).await.status, 200);
    stage.issuer.revoke(&token).await;
    stage.edge.comes_to("/a", Some(&token), 401).await;
    let configuration = stage.configuration(&format!("{OPEN}timeout = \"9s\"\n"));
    let Stage { issuer, edge, .. } = stage;
    issuer.stop().await;
    edge.write(&configuration);
    edge.process
        .logged_until("the new configuration is in force")
        .await;
    edge.get("/a", Some(&token))
        .await
        .expect_error(401, "invalid_token");
}

#[tokio::test]
async fn issuers_and_servers_that_are_gone_are_no_longer_told_of() {
    let stage = Stage::with(OPEN).await;
    let told = async |metric: &str| {
        let name = format!("machineauth_edge_{metric}{{");
        stage.edge.metric(&name).await.is_some()
    };
    assert!(told("issuer_keys_usable").await);
    let other = Upstream::echo("other").await;
    let (old, new) = (stage.upstream.address, other.address);
    stage.edge.write(&format!(
        "[[upstream]]\nname = \"api\"\nservers = [\"{new}\"]\n\
         [[route]]\nupstream = \"api\"\npublic = true\n"
    ));
    stage.edge.comes_to("/a", None, 200).await;
    assert!(!told("issuer_keys_usable").await);
    assert!(!told("revocations_live").await);
    let server = |address| {
        format!("machineauth_edge_upstream_server_up{{upstream=\"api\",server=\"{address}\"}}")
    };
    while stage.edge.metric(&server(new)).await.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stage.edge.metric(&server(old)).await, None);
}

#[tokio::test]
async fn servers_that_are_gone_are_no_longer_asked_how_they_are_and_told_of() {
    let (old, new) = (Upstream::echo("old").await, Upstream::echo("new").await);
    let watched = |server: &Upstream| {
        let address = server.address;
        format!(
            r#"
            [[upstream]]
            name = "api"
            servers = ["{address}"]
            health = {{ path = "/status/200", every = "20ms" }}
            [[route]]
            upstream = "api"
            public = true
            "#
        )
    };
    let edge = Edge::start(EDGE, &watched(&old)).await;
    old.was_asked().await;
    edge.write(&watched(&new));
    edge.process
        .logged_until("the new configuration is in force")
        .await;
    let asked = old.count();
    while new.count() < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One question may have been on its way.
    assert!(old.count() <= asked + 1, "{asked}, then {}", old.count());
    let told = |server: &Upstream| {
        let address = server.address;
        format!("machineauth_edge_upstream_server_up{{upstream=\"api\",server=\"{address}\"}}")
    };
    assert_eq!(edge.metric(&told(&new)).await, Some(1.0));
    assert_eq!(edge.metric(&told(&old)).await, None);
}

/// V22
#[tokio::test]
async fn a_proof_that_was_used_stays_used() {
    const ORIGIN: &str = "https://api.example.com";
    let dpop = format!("[dpop]\norigins = [\"{ORIGIN}\"]\n");
    let stage = Stage::with(&format!("{OPEN}{dpop}")).await;
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let agent = stage.issuer.agent(&["read"]).await;
    let url = format!("{}/oauth/token", stage.issuer.base);
    let proof = ProofBuilder::new("POST", &url).sign(&key).unwrap();
    let form = agent.form(&[("grant_type", "client_credentials")]);
    let asked = stage.issuer.request(Method::POST, "/oauth/token");
    let token = Answer::to(asked.form(&form).header("dpop", proof)).await;
    let token = token.str("access_token");
    let proof = ProofBuilder::new("GET", format!("{ORIGIN}/a"));
    let proof = proof.token(&token).sign(&key).unwrap();
    let send = async || {
        let request = stage.edge.request(Method::GET, "/a");
        let request = request.header("authorization", format!("DPoP {token}"));
        Answer::to(request.header("dpop", &proof)).await
    };
    assert_eq!(send().await.status, 200);
    let changed = format!("{OPEN}timeout = \"9s\"\n{dpop}");
    stage.edge.write(&stage.configuration(&changed));
    stage
        .edge
        .process
        .logged_until("the new configuration is in force")
        .await;
    send().await.expect_error(401, "invalid_dpop_proof");
}

/// V24
#[tokio::test]
async fn an_issuer_of_which_something_else_is_said_keeps_its_keys_and_what_it_revoked() {
    let stage = Stage::with(OPEN).await;
    let (agent, token) = stage.agent_and_token(&["read"]).await;
    let (other, _) = stage.issuer.tokens(&agent).await;
    stage.issuer.revoke(&token).await;
    stage.edge.comes_to("/a", Some(&token), 401).await;
    let configuration = stage.configuration(OPEN);
    let changed = configuration.replace("audience =", "leeway = \"20s\"\naudience =");
    let Stage { issuer, edge, .. } = stage;
    issuer.stop().await;
    edge.write(&changed);
    edge.process
        .logged_until("the new configuration is in force")
        .await;
    assert_eq!(edge.get("/a", Some(&token)).await.status, 401);
    assert_eq!(edge.get("/a", Some(&other)).await.status, 200);
}

#[tokio::test]
async fn another_process_takes_over_the_listener_and_no_request_that_was_read_is_lost() {
    let server = "[server]\nupgrade_socket = \"upgrade.sock\"\ngrace_period = \"20s\"\n";
    let mut stage = Stage::with(&format!("{server}{OPEN}")).await;
    let token = stage.token(&["read"]).await;
    let url = format!("{}/a", stage.edge.base);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let asking = tokio::spawn(async move {
        let (mut answered, mut repeated) = (0, 0);
        while stopped.try_recv().is_err() {
            // Each on a connection of its own: one of them would stay with the old process.
            let client = machineauth_tests::http::client();
            let request = || client.get(&url).bearer_auth(&token);
            let answer = match Answer::try_to(request()).await {
                Ok(answer) => answer,
                // Pingora closes connections whose request it has not read yet, as it does idle ones (RFC 9112 §9.5).
                Err(_) => {
                    repeated += 1;
                    Answer::to(request()).await
                }
            };
            Arrived::of(&answer);
            answered += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(repeated <= 1, "the old process ends once");
        answered
    });
    let old = stage.edge.upgrade(EDGE).await;
    old.logged_until("stopped").await;
    let answer = Answer::to(stage.edge.request(Method::GET, "/healthz")).await;
    assert_eq!(answer.status, 200, "the new process answers");
    stop.send(()).unwrap();
    assert!(asking.await.unwrap() > 10);
}

#[tokio::test]
async fn requests_under_way_finish_when_the_edge_is_told_to_stop() {
    let stage = Stage::with("[[route]]\nupstream = \"api\"\npublic = true\n").await;
    let mut stream = stage.edge.connect().await;
    let half = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst";
    stream.write_all(half).await.unwrap();
    while stage
        .edge
        .metric("machineauth_edge_requests_in_flight")
        .await
        != Some(1.0)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.edge.process.signal("TERM").await;
    stage.edge.process.logged_until("stopping").await;
    stream.write_all(b"-last").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("first-last"), "{answer}");
    let ended = stage.edge.process.logged_until("stopped").await;
    assert!(!ended.contains("panicked"));
}
