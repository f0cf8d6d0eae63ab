//! Quick Start for AI Agents: the document's commands, run as they stand but for the address and the credentials.

use std::path::Path;
use std::process::Command;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::process::{Process, free_port};
use serde_json::{Value, json};

/// What `curl` with these arguments, split at spaces outside single quotes by a shell, answers.
fn curl(arguments: &str) -> Value {
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("curl -sS {arguments}"))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn the_five_steps_work_as_written() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let port_text = port.to_string();
    let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
    let issuer = Process::start(
        program,
        directory.path(),
        port,
        &[("PORT", &port_text)],
        &[],
    )
    .await;
    let base = &issuer.base;

    // Step 1: the administrator creates an agent.
    let created = http::client()
        .post(format!("{base}/api/agents"))
        .basic_auth("admin@example.com", Some("changeme"))
        .json(&json!({ "name": "quick start", "scopes": ["read"] }));
    let agent = Agent::read(&Answer::to(created).await);
    let (id, secret) = (&agent.client_id, &agent.client_secret);

    // Step 2: a token.
    let granted = curl(&format!(
        r#"-X POST {base}/oauth/token \
  -H "Content-Type: application/json" \
  -d '{{
    "grant_type": "client_credentials",
    "client_id": "{id}",
    "client_secret": "{secret}"
  }}'"#
    ));
    let token = granted["access_token"].as_str().unwrap();
    let bearer = format!(r#"-H "Authorization: Bearer {token}""#);

    // Step 3: its use.
    let me = curl(&format!("{base}/api/agents/me {bearer}"));
    assert_eq!(me["agent"]["client_id"], json!(id));

    // Step 4: refreshed before it expires.
    let refresh_token = granted["refresh_token"].as_str().unwrap();
    let refreshed = curl(&format!(
        r#"-X POST {base}/oauth/refresh \
  -H "Content-Type: application/json" \
  -d '{{
    "refresh_token": "{refresh_token}"
  }}'"#
    ));
    assert!(refreshed["access_token"].is_string(), "{refreshed}");

    // Step 5: who am I?
    let verified = curl(&format!("{base}/api/verify {bearer}"));
    assert_eq!(verified["valid"], json!(true));
}
