//! The commands that talk to a running server: the real binary against a real issuer.

use std::path::Path;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use clap::{CommandFactory as _, Parser as _};
use http::StatusCode;
use machineauth_issuer::cli::Cli;
use machineauth_tests::certificate::{Pair, TlsFiles};
use machineauth_tests::command::{Commands, lines_of_document};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::process::free_port;
use machineauth_tests::redis_server::RedisServer;
use serde_json::{Value, json};

const ISSUER: &str = env!("CARGO_BIN_EXE_issuer");
/// Every group of commands, and every command that stands alone.
const NOUNS: [&str; 9] = [
    "agent",
    "org",
    "team",
    "api-key",
    "machine-client",
    "key",
    "token",
    "stats",
    "health",
];

async fn started() -> (Issuer, Commands) {
    let issuer = Issuer::start().await;
    let commands = Commands::new(ISSUER, &issuer.base);
    (issuer, commands)
}

/// The commands of a client, from what `--env` printed.
fn as_client(commands: &Commands, variables: &str) -> Commands {
    variables.lines().fold(commands.clone(), |commands, line| {
        let (name, value) = line.split_once('=').unwrap();
        commands.with(name, value)
    })
}

fn str<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[tokio::test]
async fn an_agent_lives_in_commands() {
    let (issuer, commands) = started().await;
    let created = commands
        .json("agent create deployer --scope read,write --tag ci --metadata {\"a\":1} --expires-in 30d")
        .await;
    let id = str(&created["agent"], "id").to_owned();
    assert_eq!(created["agent"]["scopes"], json!(["read", "write"]));
    assert_eq!(created["agent"]["metadata"], json!({ "a": 1 }));
    assert!(created["agent"]["expires_at"].is_string());

    let update = format!(
        "agent update {id} --name builder --scope read --tag= --expires-at none --token-lifetime 10m"
    );
    let updated = &commands.json(&update).await["agent"];
    assert_eq!(updated["name"], "builder");
    assert_eq!(updated["scopes"], json!(["read"]));
    assert_eq!(updated["tags"], json!([]));
    assert_eq!(updated["token_lifetime"], 600);
    assert_eq!(updated["expires_at"], Value::Null);
    assert_eq!(
        commands.json(&format!("agent get {id}")).await["agent"],
        *updated
    );

    let secret = commands
        .done(&format!("agent rotate {id} --grace 1h -q"))
        .await;
    assert!(secret.starts_with("cs_") && !secret.contains(char::is_whitespace));
    let secrets = commands.json(&format!("agent secrets {id}")).await;
    let old = secrets["secrets"].as_array().unwrap().iter();
    let old: Vec<_> = old
        .filter(|secret| secret["expires_at"].is_string())
        .collect();
    let cancel = format!("agent cancel-secret {id} {} --yes", str(old[0], "id"));
    assert_eq!(commands.done(&cancel).await, "Cancelled.");
    let live = commands.done(&format!("agent secrets {id} -q")).await;
    assert_eq!(live.lines().count(), 1);

    commands.done(&format!("agent deactivate {id}")).await;
    assert_eq!(commands.done("agent list --status inactive -q").await, id);
    commands.done(&format!("agent reactivate {id}")).await;
    assert_eq!(
        commands.run("agent list --status inactive -q").await.stdout,
        ""
    );
    commands.done(&format!("agent delete {id} --yes")).await;
    let missing = commands.run(&format!("agent get {id}")).await;
    assert!(missing.failed(1).contains("there is no such agent"));
    assert_eq!(issuer.get("/health/ready").await.json()["agents_count"], 0);
}

#[tokio::test]
async fn an_agent_administers_itself_with_its_token() {
    let (_issuer, commands) = started().await;
    let variables = commands.done("agent create a --scope read --env").await;
    let client = as_client(&commands, &variables);
    let token = client.done("token issue -q").await;
    let itself = commands.with("MACHINEAUTH_TOKEN", &token);
    let id = itself.done("agent get me -q").await;
    assert_eq!(itself.json("agent usage").await["token_count"], 1);
    itself.done("agent rotate me -q").await;
    itself.done("agent deactivate me").await;
    itself.done("agent reactivate me").await;
    itself.done("agent delete me --yes").await;
    commands.run(&format!("agent get {id}")).await.failed(1);
}

#[tokio::test]
async fn an_organization_lives_in_commands_and_administers_itself_with_its_key() {
    let (issuer, commands) = started().await;
    let org = commands.done("org create Acme --slug acme -q").await;
    let update =
        format!("org update {org} --owner-email a@example.com --token-lifetime 10m --plan pro");
    let updated = commands.json(&update).await;
    assert_eq!(
        (&updated["jwt_expiry_secs"], str(&updated, "plan")),
        (&json!(600), "pro")
    );
    let update = format!(
        "org update {org} --token-lifetime none --allowed-origin https://a.example,https://b.example"
    );
    let updated = commands.json(&update).await;
    assert_eq!(updated["jwt_expiry_secs"], 0);
    assert_eq!(
        updated["allowed_origins"],
        "https://a.example,https://b.example"
    );

    let variables = commands
        .done(&format!("api-key create ci --org {org} --env"))
        .await;
    let tenant = as_client(&commands, &variables);
    assert_eq!(tenant.done("org get -q").await, org);
    assert_eq!(tenant.done("org list -q").await, org);
    let team = tenant
        .done("team create builders --description them -q")
        .await;
    let renamed = tenant
        .json(&format!("team update {team} --name makers"))
        .await;
    assert_eq!(
        (str(&renamed, "name"), str(&renamed, "description")),
        ("makers", "them")
    );
    assert_eq!(tenant.done("team list -q").await, team);
    assert_eq!(
        commands
            .done(&format!("team get {team} --org {org} -q"))
            .await,
        team
    );

    let pair = tenant
        .done(&format!("agent create a --team {team} -q"))
        .await;
    assert!(pair.split_once(":cs_").is_some(), "{pair}");
    let refused = tenant.run(&format!("team delete {team} --yes")).await;
    assert!(refused.failed(1).contains("conflict: "));
    let agent = tenant.done("agent list -q").await;
    tenant.done(&format!("agent delete {agent} --yes")).await;
    tenant.done(&format!("team delete {team} --yes")).await;

    let key = tenant.done("api-key list -q").await;
    let created = tenant
        .json("api-key create other --scope tokens:introspect --expires-in 1d")
        .await;
    assert_eq!(created["api_key"]["scopes"], json!(["tokens:introspect"]));
    assert!(str(&created, "key").starts_with("mach_"));
    commands
        .done(&format!("api-key revoke {key} --org {org} --yes"))
        .await;
    assert!(
        tenant
            .run("org list")
            .await
            .failed(1)
            .contains("does not accept the API key")
    );

    commands.done(&format!("org delete {org} --yes")).await;
    assert_eq!(commands.run("org list -q").await.stdout, "");
    drop(issuer);
}

#[tokio::test]
async fn a_machine_client_lives_in_commands() {
    let (issuer, commands) = started().await;
    let org = issuer.organization("clinic").await;
    let key = issuer.api_key(&org, json!({ "name": "key" })).await;
    let tenant = commands.with("MACHINEAUTH_API_KEY", &key);
    let create = "machine-client create EHR --dock dock_1 --party party_1 --scope artifacts:read,artifacts:write";
    let variables = tenant.done(&format!("{create} --env")).await;
    assert!(
        variables.starts_with("MACHINEAUTH_CLIENT_ID=dyc_"),
        "{variables}"
    );
    let client = as_client(&commands, &variables);
    let token = client.done("token issue --scope artifacts:read -q").await;
    assert!(token.starts_with("dyt_"));
    let said = client.piped("token introspect --json", &token).await.done();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["active"], &said["dockId"]),
        (&json!(true), &json!("dock_1"))
    );
    for judge in ["inspect", "verify"] {
        let opaque = client.piped(&format!("token {judge}"), &token).await;
        assert!(opaque.failed(1).contains("token introspect"));
    }

    let id = tenant.done("machine-client list -q").await;
    let shown = tenant.json(&format!("machine-client get {id}")).await;
    assert_eq!(shown["name"], "EHR");
    let rotated = tenant
        .done(&format!("machine-client rotate {id} --grace 1h -q"))
        .await;
    assert!(rotated.starts_with("dys_"));
    let shown = tenant.json(&format!("machine-client get {id}")).await;
    let secrets = shown["secrets"].as_array().unwrap().iter();
    let old: Vec<_> = secrets
        .filter(|secret| secret["expiresAt"].is_string())
        .collect();
    let old = str(old[0], "id");
    tenant
        .done(&format!("machine-client cancel-secret {id} {old} --yes"))
        .await;
    client.run("token issue -q").await.failed(1);
    let updated = tenant
        .json(&format!(
            "machine-client update {id} --name other --scope artifacts:read --status inactive"
        ))
        .await;
    assert_eq!(
        (&updated["name"], &updated["isActive"]),
        (&json!("other"), &json!(false))
    );
    tenant
        .done(&format!("machine-client delete {id} --yes"))
        .await;
    assert_eq!(tenant.run("machine-client list -q").await.stdout, "");
}

#[tokio::test]
async fn signing_keys_live_in_commands() {
    let (_issuer, commands) = started().await;
    let first = commands.done("key list -q").await;
    let pem = commands.done(&format!("key export-pem {first}")).await;
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----") && pem.ends_with("-----"));
    let rotated = commands.json("key rotate --immediately").await;
    let second = str(&rotated["key"], "kid");
    assert_eq!(str(&rotated["key"], "state"), "signing");
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let imported = commands.piped("key import - --kid mine -q", &private).await;
    assert_eq!(imported.done(), "mine");
    let twice = commands.piped("key import - --kid mine -q", &private).await;
    assert!(twice.failed(1).contains("kid: there is a key of that name"));
    commands.done(&format!("key retire {first}")).await;
    assert!(
        commands
            .run(&format!("key retire {second}"))
            .await
            .failed(1)
            .contains("rotate first")
    );
    commands.done("key revoke mine --yes").await;
    let listed = commands.done("key list -q").await;
    assert_eq!(listed.lines().collect::<Vec<_>>(), [first.as_str(), second]);
}

#[tokio::test]
async fn a_token_lives_in_commands() {
    let (issuer, commands) = started().await;
    let variables = commands
        .done("agent create a --scope read,write --audience https://api.example --env")
        .await;
    let client = as_client(&commands, &variables);
    let granted = client
        .json("token issue --scope read --audience https://api.example")
        .await;
    let token = str(&granted, "access_token");
    assert_eq!(granted["scope"], "read");

    let nowhere = Commands::new(ISSUER, "http://127.0.0.1:1");
    let inspected = nowhere.piped("token inspect", token).await.done();
    assert!(inspected.contains("Nothing was verified"), "{inspected}");
    assert!(inspected.contains("https://api.example"), "{inspected}");
    let inspected = nowhere.json(&format!("token inspect {token}")).await;
    assert_eq!(inspected["verified"], false);
    assert_eq!(inspected["payload"]["iss"], issuer.base);

    let elsewhere = commands.piped("token verify", token).await;
    assert!(
        elsewhere.failed(1).contains("--audience"),
        "{}",
        elsewhere.stderr
    );
    let verify = "token verify --audience https://api.example";
    let verified = commands.piped(verify, token).await.done();
    assert!(
        verified.contains("The token is good") && verified.contains("--online"),
        "{verified}"
    );
    let agent = commands.done("agent list -q").await;
    assert_eq!(
        client
            .piped(&format!("{verify} --online -q"), token)
            .await
            .done(),
        agent
    );
    let last = if token.ends_with('A') { 'E' } else { 'A' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    let forged = commands.piped(verify, &forged).await;
    assert!(forged.failed(1).contains("the token is not good"));

    let refreshed = client
        .piped("token refresh --json", str(&granted, "refresh_token"))
        .await
        .done();
    let refreshed: Value = serde_json::from_str(&refreshed).unwrap();
    assert_ne!(refreshed["access_token"], granted["access_token"]);
    assert_eq!(
        client.piped("token introspect -q", token).await.done(),
        "true"
    );
    assert_eq!(client.piped("token revoke", token).await.done(), "Revoked.");
    assert_eq!(
        client.piped("token introspect -q", token).await.done(),
        "false"
    );
    client.piped(verify, token).await.done();
    let revoked = client.piped(&format!("{verify} --online"), token).await;
    assert!(revoked.failed(1).contains("not active"));
}

#[tokio::test]
async fn a_token_of_an_organization_is_verified_with_the_keys_of_its_issuer() {
    let (issuer, commands) = started().await;
    let org = issuer.organization("acme").await;
    let own = format!("{}/acme", issuer.base);
    commands
        .done(&format!("org update {org} --jwt-issuer {own}"))
        .await;
    let variables = commands
        .done(&format!("agent create a --org {org} --env"))
        .await;
    let token = as_client(&commands, &variables)
        .done("token issue -q")
        .await;
    let unnamed = commands.piped("token verify", &token).await;
    assert!(unnamed.failed(1).contains(&format!("--issuer {own}")));
    commands
        .piped(&format!("token verify --issuer {own}"), &token)
        .await
        .done();
    let kid = commands.done(&format!("key list --org {org} -q")).await;
    commands
        .done(&format!("key export-pem {kid} --org {org}"))
        .await;
}

#[tokio::test]
async fn a_token_flows_through_a_pipe() {
    let (_issuer, commands) = started().await;
    let variables = commands.done("agent create a --scope read --env").await;
    let client = as_client(&commands, &variables);
    let piped = client
        .shell("machineauth-issuer token issue -q | machineauth-issuer token introspect -q")
        .await;
    assert_eq!(piped.done(), "true");
    let as_curl_does = commands
        .shell("machineauth-issuer agent create b -q | cut -d: -f2 | cut -c1-3")
        .await;
    assert_eq!(as_curl_does.done(), "cs_");
}

#[tokio::test]
async fn a_list_is_shown_whole_whatever_its_length() {
    let (issuer, commands) = started().await;
    for number in 0..1_003 {
        let name = format!("agent-{number:04}");
        issuer.create(json!({ "name": name })).await;
    }
    let mut ids: Vec<_> = commands
        .done("agent list -q")
        .await
        .lines()
        .map(str::to_owned)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1_003);
    let all = commands.json("agent list --sort name").await;
    let names = all["agents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| str(agent, "name"));
    assert!(names.eq((0..1_003).map(|number| format!("agent-{number:04}"))));
    assert_eq!(all["next_cursor"], Value::Null);
    let table = commands.done("agent list").await;
    assert_eq!(
        table.lines().count(),
        1_004,
        "a line each, and one of titles"
    );

    let begin = commands.json("agent list --sort name --limit 1001").await;
    assert_eq!(begin["agents"].as_array().unwrap().len(), 1_001);
    let cursor = str(&begin, "next_cursor");
    let rest = commands
        .json(&format!("agent list --sort name --cursor {cursor}"))
        .await;
    assert_eq!(rest["agents"][0]["name"], "agent-1001");
    let cut = commands.run("agent list --limit 2").await;
    assert!(cut.stderr.contains("--cursor "), "{cut:?}");
    assert_eq!(cut.stdout.lines().count(), 3);
    let found = commands.done("agent list --name AGENT-000 -q").await;
    assert_eq!(found.lines().count(), 10);
}

#[tokio::test]
async fn a_list_in_numbered_pages_is_shown_whole() {
    let (issuer, commands) = started().await;
    let org = issuer.organization("clinic").await;
    let path = format!("/v1/organizations/{org}/machine-clients");
    for number in 0..203 {
        let body = json!({ "name": format!("client {number}") });
        issuer.admin(reqwest::Method::POST, &path, Some(body)).await;
    }
    let list = format!("machine-client list --org {org}");
    let mut ids: Vec<_> = commands
        .done(&format!("{list} -q"))
        .await
        .lines()
        .map(str::to_owned)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 203);
    for (limit, expected) in [(1, 1), (100, 100), (150, 150), (300, 203)] {
        let all = commands.json(&format!("{list} --limit {limit}")).await;
        assert_eq!(all["data"].as_array().unwrap().len(), expected);
    }
}

#[tokio::test]
async fn what_the_server_answered_is_printed_as_it_came() {
    let (issuer, commands) = started().await;
    issuer.agent(&["read"]).await;
    for (line, path) in [
        ("agent list --json", "/api/agents"),
        ("key list --json", "/api/keys"),
    ] {
        let answer = issuer.admin(reqwest::Method::GET, path, None).await;
        assert_eq!(commands.done(line).await, answer.text);
    }
    assert_eq!(commands.json("stats").await["total_agents"], 1);
}

#[tokio::test]
async fn a_change_can_insist_on_the_version_that_was_seen() {
    let (_issuer, commands) = started().await;
    let id = commands.done("org create Acme --slug acme -q").await;
    let shown = commands.done(&format!("org get {id}")).await;
    let tag = shown
        .lines()
        .find_map(|line| line.strip_prefix("etag"))
        .unwrap()
        .trim();
    commands
        .done(&format!("org update {id} --name first --if-match {tag}"))
        .await;
    let late = commands
        .run(&format!("org update {id} --name second --if-match {tag}"))
        .await;
    assert!(late.failed(1).contains("get it again"));
}

#[tokio::test]
async fn a_command_looks_for_the_server_where_the_same_variables_would_start_it() {
    let issuer = Issuer::start().await;
    let (_, port) = issuer.base.rsplit_once(':').unwrap();
    let commands = Commands::here(ISSUER).with("PORT", port);
    assert_eq!(commands.json("health").await["status"], "ok");
    for host in ["0.0.0.0", "127.0.0.1"] {
        let commands = commands.with("HOST", host);
        assert_eq!(commands.json("health").await["status"], "ok");
    }
    let wrong = commands.with("PORT", "x").run("health").await;
    assert!(wrong.failed(2).contains("PORT: "), "{wrong:?}");
}

#[tokio::test]
async fn every_failure_has_its_exit_code_and_says_what_to_do() {
    let issuer = Issuer::builder().with("FAILURE_LIMIT", "3").start().await;
    let commands = Commands::new(ISSUER, &issuer.base);
    let org = issuer.organization("acme").await;
    let key = issuer.api_key(&org, json!({ "name": "key" })).await;
    let tenant = commands.with("MACHINEAUTH_API_KEY", &key);
    let nowhere = Commands::new(ISSUER, &format!("http://127.0.0.1:{}", free_port()));
    let elsewhere = Commands::new(ISSUER, "http://issuer.example:8080");
    for (commands, line, code, expected) in [
        (&nowhere, "agent list", 3, "cannot be reached"),
        (&nowhere, "health", 3, "MACHINEAUTH_URL"),
        (&elsewhere, "agent list", 2, "ADMIN_PASSWORD"),
        (&tenant, "stats", 1, "not allowed: "),
        (&tenant, "org create B --slug b", 1, "not allowed: "),
        (&commands, "org create B --slug acme", 1, "conflict: slug"),
        (&commands, "org create B --slug /", 1, "refused: slug"),
        (&commands, "agent get none", 1, "not found: "),
        (&commands, "agent update none", 2, "nothing to change"),
        (&commands, "agent delete none", 2, "--yes"),
        (&commands, "team list", 2, "name the organization"),
        (&commands, "token issue", 2, "MACHINEAUTH_CLIENT_ID"),
        (&commands, "token inspect", 2, "no token"),
        (&commands, "agent list --json -q", 2, "--quiet"),
        (&commands, "agent list --api-key a --token b", 2, "once"),
        (
            &commands,
            "agent list --password-file /nonexistent",
            2,
            "/nonexistent",
        ),
        (
            &commands,
            "agent list --cacert /nonexistent",
            2,
            "/nonexistent",
        ),
        (&commands, "agent list --url ftp://a", 2, "--url"),
        (
            &commands,
            "agent list --url http://user:hunter2@a",
            2,
            "--url",
        ),
    ] {
        let ran = commands.run(line).await;
        assert!(ran.failed(code).contains(expected), "{line}: {ran:?}");
        assert_eq!(ran.stdout, "", "{line}");
    }
    for line in [
        "agent",
        "agent nothing",
        "agent get ../keys",
        "agent create a --expires-in soon",
    ] {
        assert_eq!(commands.run(line).await.code, 2, "{line}");
    }

    // The same guess again is the same failure, so each is another.
    let guess = |number: u32| commands.with("ADMIN_PASSWORD", &format!("guess {number}"));
    for number in 0..3 {
        let wrong = guess(number).run("agent list").await;
        assert!(wrong.failed(1).contains("check ADMIN_EMAIL"), "{wrong:?}");
    }
    let locked_out = guess(3).run("agent list").await;
    let sentence = locked_out.failed(1);
    assert!(sentence.contains("try again in "), "{sentence}");
}

#[tokio::test]
async fn credentials_come_from_the_command_line_before_the_environment() {
    let issuer = Issuer::builder()
        .with("ADMIN_PASSWORD", "correct horse")
        .start()
        .await;
    let commands = Commands::new(ISSUER, &issuer.base);
    assert!(
        commands
            .run("agent list")
            .await
            .failed(1)
            .contains("default password")
    );
    let right = commands.with("ADMIN_PASSWORD", "correct horse");
    right.run("agent list -q").await.done();
    right
        .with("MACHINEAUTH_API_KEY_FILE", "/nonexistent")
        .run("agent list")
        .await
        .failed(2);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "correct horse\n").unwrap();
    let file = file.to_str().unwrap();
    commands
        .with("ADMIN_PASSWORD_FILE", file)
        .run("agent list -q")
        .await
        .done();
    let wrong = commands.with("MACHINEAUTH_API_KEY", "mach_wrong");
    wrong.run("agent list").await.failed(1);
    wrong
        .run(&format!("agent list -q --password-file {file}"))
        .await
        .done();
    wrong
        .piped("agent list -q --password-file -", "correct horse\n")
        .await
        .done();
    let both = wrong.with("MACHINEAUTH_TOKEN", "x");
    assert!(both.run("agent list").await.failed(2).contains("both set"));

    let login = json!({ "email": "admin@example.com", "password": "correct horse" });
    let login = issuer
        .request(reqwest::Method::POST, "/api/auth/login")
        .json(&login);
    let token = machineauth_tests::http::Answer::to(login)
        .await
        .str("access_token");
    let logged_in = commands.with("MACHINEAUTH_TOKEN", &token);
    logged_in.run("agent list -q").await.done();
    assert!(
        logged_in
            .run("team list")
            .await
            .failed(2)
            .contains("name the organization")
    );
}

#[tokio::test]
async fn health_fails_while_the_store_is_away() {
    let mut redis = RedisServer::start().await;
    let clock = std::sync::Arc::new(machineauth_core::clock::SystemClock);
    let store = machineauth_issuer::store::RedisStore::connect(&redis.url(), clock)
        .await
        .unwrap();
    let issuer = Issuer::builder()
        .store(std::sync::Arc::new(store))
        .start()
        .await;
    let commands = Commands::new(ISSUER, &issuer.base);
    assert_eq!(commands.done("health -q").await, "");
    assert_eq!(commands.json("health").await["status"], "ok");
    redis.kill();
    assert!(
        commands
            .run("health -q")
            .await
            .failed(1)
            .contains("the store cannot be reached")
    );
    commands.done("health -q --live").await;
}

#[tokio::test]
async fn what_is_no_machineauth_server_is_recognized() {
    let router = Router::new()
        .route(
            "/api/agents",
            get(async || Redirect::to("https://elsewhere.example/")),
        )
        .route("/api/keys", get(async || "<html>"))
        .route(
            "/health/ready",
            get(async || (StatusCode::BAD_REQUEST, "{\"message\":\"\\u001b[31m\"}")),
        );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let commands = Commands::new(ISSUER, &base);
    for (line, expected) in [
        ("agent list", "redirects to https://elsewhere.example/"),
        ("key list", "not JSON"),
        ("stats", "without a word of machineauth"),
        ("health", "refused: \u{fffd}[31m"),
    ] {
        let ran = commands.run(line).await;
        assert!(ran.failed(1).contains(expected), "{line}: {ran:?}");
        assert!(!ran.stderr.trim_end().contains(char::is_control), "{ran:?}");
    }
    server.abort();
}

/// I21
#[tokio::test]
async fn no_secret_is_in_what_a_command_complains_about() {
    let (_issuer, commands) = started().await;
    let nowhere = Commands::new(ISSUER, "http://127.0.0.1:1");
    for (name, line) in [
        ("ADMIN_PASSWORD", "agent list"),
        ("MACHINEAUTH_API_KEY", "agent list"),
        ("MACHINEAUTH_TOKEN", "team list"),
        (
            "MACHINEAUTH_CLIENT_SECRET",
            "token issue --client-id 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0",
        ),
        ("X", "agent list --password hunter2hunter2"),
        (
            "X",
            "agent list --api-key hunter2hunter2 --token hunter2hunter2",
        ),
        (
            "X",
            "agent list --api-key hunter2hunter2 --api-key-file /nonexistent",
        ),
        ("X", "agent list --url http://hunter2hunter2@127.0.0.1"),
        ("X", "agent list --url http://127.0.0.1/?hunter2hunter2"),
        ("X", "token verify hunter2hunter2"),
        ("X", "token verify a.hunter2hunter2.b"),
        ("X", "token refresh hunter2hunter2"),
        ("X", "token issue --client-secret hunter2hunter2"),
    ] {
        for commands in [&commands, &nowhere] {
            let ran = commands.with(name, "hunter2hunter2").run(line).await;
            assert_ne!(ran.code, 0, "{line}");
            assert!(!format!("{ran:?}").contains("hunter2"), "{line}: {ran:?}");
        }
    }
    let pem = "-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----";
    let ran = commands.piped("key import -", pem).await;
    assert!(!ran.failed(1).contains("hunter2"), "{ran:?}");
}

#[tokio::test]
async fn credentials_that_travel_in_the_open_are_warned_about() {
    let commands =
        Commands::new(ISSUER, "http://issuer.invalid").with("MACHINEAUTH_API_KEY", "mach_x");
    let ran = commands.run("agent list").await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.stderr
            .starts_with("warning: http://issuer.invalid/ is not encrypted"),
        "{ran:?}"
    );
    let ran = commands.run("health").await;
    assert!(!ran.stderr.contains("warning"), "{ran:?}");
}

#[tokio::test]
async fn a_closed_pipe_ends_a_command_quietly() {
    let (issuer, commands) = started().await;
    issuer.agent(&[]).await;
    for line in [
        "agent list",
        "agent list -q",
        "agent list --json",
        "key list",
        "completions bash",
        "config",
    ] {
        assert_eq!(
            commands.unread(line).await,
            (Some(0), String::new()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn every_shell_completes_every_command() {
    let commands = Commands::new(ISSUER, "http://127.0.0.1:1");
    for shell in ["bash", "zsh", "fish"] {
        let script = commands.done(&format!("completions {shell}")).await;
        for word in NOUNS
            .into_iter()
            .chain(["export-pem", "cancel-secret", "introspect", "cacert"])
        {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
    }
}

/// The commands below `command` that do something.
fn leaves(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
    let path = format!("{path} {}", command.get_name());
    if command.get_subcommands().next().is_none() {
        return vec![(path, command.clone())];
    }
    let below = command
        .get_subcommands()
        .filter(|command| command.get_name() != "help");
    below.flat_map(|command| leaves(command, &path)).collect()
}

#[test]
fn every_command_has_an_example_that_it_understands() {
    let root = Cli::command();
    let online = root
        .get_subcommands()
        .filter(|command| NOUNS.contains(&command.get_name()));
    let leaves: Vec<_> = online
        .flat_map(|command| leaves(command, "machineauth-issuer"))
        .collect();
    assert!(leaves.len() > 40, "{}", leaves.len());
    for (path, command) in leaves {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let example = help
            .strip_prefix("Example:\n  ")
            .unwrap_or_else(|| panic!("{path} has no example"));
        assert!(example.starts_with(&path), "{path}: {example}");
        let words = example
            .split([' '])
            .take_while(|word| !["<", ">", "|"].contains(word));
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}

#[tokio::test]
async fn the_lines_of_the_readme_work_as_printed() {
    let (_issuer, commands) = started().await;
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let lines = lines_of_document(&readme, "## From the command line");
    assert!(lines.lines().count() >= 5, "{lines}");
    let printed = commands.shell(&lines).await.done();
    for expected in [
        "Nothing was verified",
        "The token is good",
        "Revoked.",
        "my-agent",
    ] {
        assert!(printed.contains(expected), "{printed}");
    }
}

#[tokio::test]
async fn a_certificate_authority_of_ones_own_is_named_by_its_file() {
    let (pair, other) = (Pair::new(), Pair::new());
    let files = TlsFiles::holding(&pair);
    let issuer = Issuer::builder().tls(&files, &[&pair]).start().await;
    let commands = Commands::new(ISSUER, &issuer.base);
    let trusting =
        |files: &TlsFiles| format!("agent list -q --cacert {}", files.certificate().display());
    commands.done(&trusting(&files)).await;
    let strangers = commands.run(&trusting(&TlsFiles::holding(&other))).await;
    let sentence = strangers.failed(3);
    assert!(
        sentence.contains("certificate") && sentence.contains("--cacert"),
        "{sentence}"
    );
}

#[tokio::test]
async fn what_cannot_be_undone_is_asked_on_a_terminal() {
    let (_issuer, commands) = started().await;
    let id = commands.done("org create Acme --slug acme -q").await;
    let asked = |answer: &str| {
        // The program that records a terminal session gives the command one.
        let delete = format!("machineauth-issuer org delete {id}");
        format!("echo {answer} | script --quiet --return --command '{delete}' /dev/null")
    };
    let kept = commands.shell(&asked("n")).await;
    assert_eq!(kept.code, 1, "{kept:?}");
    assert!(
        kept.stdout
            .contains(&format!("Really delete the organization {id}")),
        "{kept:?}"
    );
    assert!(kept.stdout.contains("nothing was done"), "{kept:?}");
    assert_eq!(commands.done("org list -q").await, id);
    let deleted = commands.shell(&asked("y")).await;
    assert!(deleted.done().contains("Deleted."));
    assert_eq!(commands.run("org list -q").await.stdout, "");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let base = format!("http://{}", silent.local_addr().unwrap());
    let commands = Commands::new(ISSUER, &base);
    let asked = commands.run("agent list --timeout 1").await;
    assert!(
        asked
            .failed(3)
            .contains("did not answer within 1 s: --timeout")
    );
    let changed = commands.run("key rotate --timeout 1").await;
    assert!(changed.failed(3).contains("is unknown"));
}
