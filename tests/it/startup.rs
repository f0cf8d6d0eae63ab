//! The real binary: what it creates, prints, refuses, and how it stops.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::SERVER_KEY;
use machineauth_tests::process::{Process, free_port};
use machineauth_tests::redis_server::RedisServer;

const ISSUER: &str = env!("CARGO_BIN_EXE_issuer");

async fn start(directory: &Path, port: u16, variables: &[(&str, &str)]) -> Process {
    let port_text = port.to_string();
    let mut all = vec![("PORT", port_text.as_str())];
    all.extend_from_slice(variables);
    Process::start(Path::new(ISSUER), directory, port, &all, &[]).await
}

/// What the binary says when it refuses to start in `directory` with this one variable.
fn refused(directory: &Path, name: &str, value: &str) -> String {
    let output = Command::new(ISSUER)
        .current_dir(directory)
        .env_clear()
        .env(name, value)
        .output()
        .unwrap();
    assert!(!output.status.success(), "it starts with {name}={value}");
    String::from_utf8(output.stderr).unwrap()
}

/// Pastes what the issuer printed for that into a shell, and expects what it says.
async fn the_printed_lines_work(issuer: &Process) {
    let printed = issuer.printed_until("/oauth/introspect").await;
    assert!(
        printed.contains(&format!("listens on {}", issuer.base)),
        "{printed}"
    );
    let lines: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("curl "))
        .collect();
    assert_eq!(lines.len(), 3, "{printed}");
    let output = Command::new("sh")
        .arg("-c")
        .arg(lines.join("\n"))
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (answer["active"].as_bool(), answer["scope"].as_str()),
        (Some(true), Some("read write"))
    );
}

#[tokio::test]
async fn nothing_configured_is_enough_and_the_printed_lines_work() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = start(directory.path(), free_port(), &[]).await;
    the_printed_lines_work(&issuer).await;
    for name in ["machineauth.redb", "machineauth.redb.key"] {
        let mode = std::fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(issuer.terminate().await.status.success());
}

#[tokio::test]
async fn the_printed_lines_work_where_whoever_introspects_must_say_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("INTROSPECTION_AUTH", "required")];
    let issuer = start(directory.path(), free_port(), &variables).await;
    the_printed_lines_work(&issuer).await;
}

#[tokio::test]
async fn a_redis_that_leaves_the_disk_to_its_system_is_warned_of() {
    let redis = RedisServer::start_as(&["--appendfsync", "no"]).await;
    let directory = tempfile::tempdir().unwrap();
    let url = redis.url();
    let variables = [("DATABASE_URL", url.as_str()), ("SERVER_KEY", SERVER_KEY)];
    let issuer = start(directory.path(), free_port(), &variables).await;
    issuer.logged_until("set `appendfsync everysec`").await;
}

#[tokio::test]
async fn a_hangup_ends_no_server_that_has_no_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = start(directory.path(), free_port(), &[]).await;
    issuer.signal("HUP").await;
    issuer.logged_until("nothing is read again on SIGHUP").await;
    assert!(issuer.terminate().await.status.success());
}

#[tokio::test]
async fn as_many_connections_are_allowed_as_files_may_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let with_limits = async |limits: &str, most: &str| {
        let port = free_port();
        let variables = [("PORT", &*port.to_string()), ("MAX_CONNECTIONS", most)];
        let command = format!("{limits} && exec {ISSUER}");
        let shell = Path::new("/bin/sh");
        let arguments = ["-c", &*command];
        let issuer = Process::start(shell, directory.path(), port, &variables, &arguments).await;
        issuer.printed_until("listens on").await;
        issuer.terminate().await.printed
    };
    let printed = with_limits("ulimit -n 200", "100").await;
    assert!(printed.contains("wanted=100 fitting=72"), "{printed}");
    // What the system lets a process have, it takes by itself.
    let printed = with_limits("ulimit -Sn 200 && ulimit -Hn 400", "100").await;
    assert!(!printed.contains("fitting="), "{printed}");
}

/// I18
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let issuer = start(directory.path(), port, &[]).await;
    let client = http::client();
    let created = client
        .post(format!("{}/api/agents", issuer.base))
        .basic_auth("admin@example.com", Some("changeme"))
        .json(&serde_json::json!({ "name": "a", "scopes": ["read"] }));
    let agent = Agent::read(&Answer::to(created).await);
    let form = agent.form(&[("grant_type", "client_credentials")]);
    let token_of = async |base: &str| {
        Answer::to(client.post(format!("{base}/oauth/token")).form(&form))
            .await
            .str("access_token")
    };
    let before = token_of(&issuer.base).await;
    issuer.kill().await;
    let issuer = start(directory.path(), port, &[]).await;
    let introspected = client
        .post(format!("{}/oauth/introspect", issuer.base))
        .form(&[("token", &before)]);
    assert_eq!(Answer::to(introspected).await.json()["active"], true);
    token_of(&issuer.base).await;
}

/// I20
#[test]
fn production_refuses_the_defaults_and_names_each_variable() {
    let directory = tempfile::tempdir().unwrap();
    let complaint = refused(directory.path(), "ENV", "production");
    for name in ["ADMIN_PASSWORD", "SERVER_KEY", "JWT_ISSUER"] {
        assert!(
            complaint.contains(name),
            "{name} is missing in: {complaint}"
        );
    }
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing was created"
    );
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let _first = start(directory.path(), free_port(), &[]).await;
    let complaint = refused(directory.path(), "PORT", &free_port().to_string());
    assert!(
        complaint.contains("in use by another process"),
        "{complaint}"
    );
}

#[tokio::test]
async fn a_lost_server_key_is_noticed_and_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = start(directory.path(), free_port(), &[]).await;
    assert!(issuer.terminate().await.status.success());
    let key = directory.path().join("machineauth.redb.key");
    std::fs::remove_file(&key).unwrap();
    let complaint = refused(directory.path(), "PORT", &free_port().to_string());
    assert!(complaint.contains("server key"), "{complaint}");
    assert!(!key.exists(), "a key that cannot fit is not left behind");
}
