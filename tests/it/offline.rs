//! The commands that open the store themselves.

mod admin;
mod backup;
mod export;

use std::process::Stdio;
use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::go_store::{GoStore, bcrypt};
use machineauth_tests::http::{self, Answer};
use machineauth_tests::installation::{ADMIN, Installation};
use machineauth_tests::process::Process;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_issuer");
const SECRET: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c";

/// A request to a server process by its administrator.
async fn admin(server: &Process, method: Method, path: &str, body: Option<Value>) -> Answer {
    let request = http::client()
        .request(method, format!("{}{path}", server.base))
        .basic_auth(ADMIN.0, Some(ADMIN.1));
    Answer::to(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// The answer of a server process to a client that asks for a token.
async fn token(server: &Process, agent: &Agent) -> Answer {
    let form = agent.form(&[("grant_type", "client_credentials")]);
    Answer::to(
        http::client()
            .post(format!("{}/oauth/token", server.base))
            .form(&form),
    )
    .await
}

#[tokio::test]
async fn while_a_server_holds_the_store_they_say_so_and_what_to_do() {
    let place = Installation::embedded(PROGRAM);
    place.write("old.json", GoStore::new().text());
    let server = place.start().await;
    for arguments in [
        ["import", "machineauth-json", "old.json"].as_slice(),
        &["export"],
        &["admin", "reset-password"],
        &["backup", "backup"],
    ] {
        let refused = place.command(arguments);
        assert!(
            !refused.is_success && refused.stderr.contains("stop the server"),
            "{refused:?}"
        );
    }
    assert!(server.terminate().await.status.success());
    assert!(place.command(&["export"]).is_success);
}

#[test]
fn nothing_is_exported_from_a_store_that_is_not_there() {
    let place = Installation::embedded(PROGRAM);
    let refused = place.command(&["export"]);
    assert!(!refused.is_success && refused.stderr.contains("there is no store"));
    assert_eq!(std::fs::read_dir(place.directory()).unwrap().count(), 0);
}

/// Starts a command, and kills it after a while. Says whether it had ended by then.
fn killed(place: &Installation, arguments: &[&str], after: Duration) -> bool {
    let mut child = std::process::Command::new(PROGRAM)
        .current_dir(place.directory())
        .env_clear()
        .envs(place.variables())
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    let has_ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    has_ended
}

/// I18
#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_ended() {
    let place = Installation::embedded(PROGRAM);
    let mut store = GoStore::new();
    let organization = Uuid::new_v4().to_string();
    store.organization(&organization, "acme", json!({}));
    let clients: Vec<_> = (0..300).map(|_| Uuid::new_v4().to_string()).collect();
    let hash = bcrypt(SECRET, 4);
    for (at, client) in clients.iter().enumerate() {
        let organization = if at % 2 == 0 { &*organization } else { "" };
        let changes = json!({ "client_secret_hash": hash, "organization_id": organization });
        store.agent(client, "", changes);
    }
    place.write("old.json", store.text());
    let arguments = ["import", "machineauth-json", "old.json"];
    let mut kills = 0;
    for after in (0..10).map(|step| Duration::from_millis(30 + 20 * step)) {
        match killed(&place, &arguments, after) {
            true => break,
            false => kills += 1,
        }
    }
    assert!(kills > 0, "it was never killed");
    let last = place.command(&arguments);
    assert!(last.is_success, "nothing is there in part");
    assert!(
        last.stdout.contains("0 here and different, 0 refused"),
        "{}",
        last.stdout
    );
    let server = place.start().await;
    let list = admin(&server, Method::GET, "/api/agents?limit=100&page=1", None).await;
    assert_eq!(list.json()["pagination"]["total"], 300);
    for client in clients.iter().step_by(23) {
        let agent = Agent {
            id: String::new(),
            client_id: client.clone(),
            client_secret: SECRET.to_owned(),
        };
        let granted = token(&server, &agent).await;
        assert_eq!(granted.status, 200, "{}", granted.text);
    }
}
