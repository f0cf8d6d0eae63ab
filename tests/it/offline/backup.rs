//! A backup and what becomes of it: the same store, and nobody's old tokens.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use machineauth_core::{ErrorKind, HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use machineauth_tests::agent::Agent;
use machineauth_tests::go_store::{GoStore, bcrypt};
use machineauth_tests::http::{self, Answer};
use machineauth_tests::installation::{ADMIN, Installation};
use machineauth_tests::process::Process;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{PROGRAM, SECRET, admin, killed, token};

/// What an installation had when its backup was made.
struct Before {
    agent: Agent,
    machine: Agent,
    organization: String,
    api_key: String,
    session: String,
    /// Access tokens and a refresh token.
    tokens: Vec<String>,
    refresh: String,
}

async fn post(server: &Process, path: &str, form: &[(&str, &str)]) -> Answer {
    let url = format!("{}{path}", server.base);
    Answer::to(http::client().post(url).form(form)).await
}

async fn is_active(server: &Process, token: &str) -> bool {
    let answer = post(server, "/oauth/introspect", &[("token", token)]).await;
    answer.json()["active"] == json!(true)
}

async fn fill(server: &Process) -> Before {
    let organization = json!({ "name": "Acme", "slug": "acme" });
    let organization = admin(
        server,
        Method::POST,
        "/api/organizations",
        Some(organization),
    )
    .await
    .str("id");
    let path = format!("/api/organizations/{organization}");
    let own_issuer = json!({ "jwt_issuer": "https://acme.example.com" });
    let changed = admin(server, Method::PUT, &path, Some(own_issuer)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let api_key = admin(
        server,
        Method::POST,
        &format!("{path}/api-keys"),
        Some(json!({ "name": "k" })),
    )
    .await
    .str("key");
    let agent = json!({ "name": "a", "scopes": ["read"] });
    let agent = Agent::read(&admin(server, Method::POST, "/api/agents", Some(agent)).await);
    let member = json!({ "name": "m", "scopes": ["read"], "organization_id": organization });
    let member = Agent::read(&admin(server, Method::POST, "/api/agents", Some(member)).await);
    let url = format!(
        "{}/v1/organizations/{organization}/machine-clients",
        server.base
    );
    let machine = http::client()
        .post(url)
        .bearer_auth(&api_key)
        .json(&json!({ "name": "m", "scopes": ["artifacts:read"] }));
    let machine = Answer::to(machine).await;
    let machine = Agent {
        id: String::new(),
        client_id: machine.str("clientId"),
        client_secret: machine.str("clientSecret"),
    };
    let granted = token(server, &agent).await;
    let (refresh, mut tokens) = (
        granted.str("refresh_token"),
        vec![granted.str("access_token")],
    );
    for other in [&member, &machine] {
        tokens.push(token(server, other).await.str("access_token"));
    }
    let login = http::client()
        .post(format!("{}/api/auth/login", server.base))
        .json(&json!({ "email": ADMIN.0, "password": ADMIN.1 }));
    let session = Answer::to(login).await.str("access_token");
    for token in &tokens {
        assert!(is_active(server, token).await, "{token}");
    }
    Before {
        agent,
        machine,
        organization,
        api_key,
        session,
        tokens,
        refresh,
    }
}

impl Before {
    /// Identifiers, secrets and keys work as they did.
    async fn is_there(&self, server: &Process) {
        for agent in [&self.agent, &self.machine] {
            let granted = token(server, agent).await;
            assert_eq!(granted.status, 200, "{}", granted.text);
            assert!(is_active(server, &granted.str("access_token")).await);
        }
        let url = format!(
            "{}/api/organizations/{}/agents",
            server.base, self.organization
        );
        let list = Answer::to(http::client().get(url).bearer_auth(&self.api_key)).await;
        assert_eq!(list.status, 200, "{}", list.text);
        let list = admin(server, Method::GET, "/api/agents?limit=10&page=1", None).await;
        assert_eq!(list.json()["pagination"]["total"], 3);
    }

    async fn session_status(&self, server: &Process) -> u16 {
        let request = http::client()
            .get(format!("{}/api/auth/me", server.base))
            .bearer_auth(&self.session);
        Answer::to(request).await.status.as_u16()
    }

    async fn refreshed(&self, server: &Process) -> Answer {
        let form = self.agent.form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &self.refresh),
        ]);
        post(server, "/oauth/token", &form).await
    }
}

fn file(place: &Installation, name: &str) -> PathBuf {
    place.directory().join(name)
}

/// Restores a backup of `here` into `there`, which is empty, with a path that both see.
fn restored(here: &Installation, there: &Installation, more: &[&str]) {
    let backup = file(here, "backup");
    let made = here.command(&["backup", backup.to_str().unwrap()]);
    assert!(made.is_success && made.stderr.contains("The server key is not"));
    let arguments = [&["restore", backup.to_str().unwrap()], more].concat();
    let restored = there.command(&arguments);
    assert!(restored.is_success, "{restored:?}");
}

/// I24
async fn a_restore_revokes_what_was_issued_before(here: Installation, there: Installation) {
    let server = here.start().await;
    let before = fill(&server).await;
    assert!(server.terminate().await.status.success());
    restored(&here, &there, &[]);
    let server = there.start().await;
    before.is_there(&server).await;
    for token in &before.tokens {
        assert!(!is_active(&server, token).await, "{token}");
    }
    before
        .refreshed(&server)
        .await
        .expect_error(400, "invalid_grant");
    assert_eq!(before.session_status(&server).await, 401);
    let jwks = Answer::to(http::client().get(format!("{}/.well-known/jwks.json", server.base)))
        .await
        .json();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 1);
    assert!(server.terminate().await.status.success());
}

#[tokio::test]
async fn a_restore_revokes_what_was_issued_before_on_the_embedded_store() {
    let here = Installation::embedded(PROGRAM);
    let there = here.successor();
    a_restore_revokes_what_was_issued_before(here, there).await;
}

#[tokio::test]
async fn a_restore_revokes_what_was_issued_before_on_redis() {
    let here = Installation::on_redis(PROGRAM).await;
    let there = here.successor_on_redis().await;
    a_restore_revokes_what_was_issued_before(here, there).await;
}

#[tokio::test]
async fn a_store_moves_to_redis_and_back_with_its_tokens() {
    let here = Installation::embedded(PROGRAM);
    let server = here.start().await;
    let before = fill(&server).await;
    assert!(server.terminate().await.status.success());
    let there = here.successor_on_redis().await;
    restored(&here, &there, &["--keep-tokens"]);
    let back = here.successor();
    restored(&there, &back, &["--keep-tokens"]);
    let server = back.start().await;
    for token in &before.tokens {
        assert!(is_active(&server, token).await, "{token}");
    }
    assert_eq!(before.session_status(&server).await, 200);
    assert_eq!(before.refreshed(&server).await.status, 200);
    before.is_there(&server).await;
}

/// I24
#[tokio::test]
async fn a_resource_server_on_the_feed_refuses_tokens_from_before_a_restore() {
    let here = Installation::embedded(PROGRAM).issuing_where_it_listens();
    let server = here.start().await;
    let before = fill(&server).await;
    let revocations = RevocationSet::new();
    let feed = RevocationFeed::of(&server.base, revocations.clone())
        .start()
        .unwrap();
    let keys = JwksCache::builder(HttpKeys::discover(&server.base).unwrap())
        .cool_down(Duration::from_secs(1))
        .build()
        .unwrap();
    let verifier = Verifier::builder(&server.base, "machineauth-api")
        .jwks(keys)
        .revocations(revocations)
        .build()
        .unwrap();
    verifier.verify(&before.tokens[0]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), feed.ready())
        .await
        .expect("the feed arrives");
    assert!(server.terminate().await.status.success());

    let backup = file(&here, "backup");
    assert!(
        here.command(&["backup", backup.to_str().unwrap()])
            .is_success
    );
    assert!(
        here.command(&["restore", backup.to_str().unwrap(), "--replace"])
            .is_success
    );
    let server = here.start().await;
    let refused = async {
        loop {
            match verifier.verify(&before.tokens[0]).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => break assert_eq!(error.kind(), ErrorKind::Revoked),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused)
        .await
        .expect("the feed tells of it");
    let fresh = token(&server, &before.agent).await.str("access_token");
    let accepted = async {
        // The key is new, and the verifier may have asked for the keys a moment ago.
        while let Err(error) = verifier.verify(&fresh).await {
            assert_eq!(error.kind(), ErrorKind::UnknownKey);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), accepted)
        .await
        .expect("the new key is fetched");
    drop(feed);
}

#[tokio::test]
async fn a_backup_goes_to_standard_output_and_replaces_no_device() {
    let here = Installation::embedded(PROGRAM);
    let server = here.start().await;
    fill(&server).await;
    assert!(server.terminate().await.status.success());
    let link = file(&here, "link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let refused = here.command(&["backup", "link"]);
    assert!(!refused.is_success && refused.stderr.contains("no regular file"));
    assert!(link.is_symlink());

    let piped = here.command_of(
        Path::new("/bin/sh"),
        &["-c", "\"$0\" backup - >piped", PROGRAM],
    );
    assert!(piped.is_success && piped.stderr.contains("are in standard output"));
    let there = here.successor();
    let piped = file(&here, "piped");
    assert!(
        there
            .command(&["restore", piped.to_str().unwrap()])
            .is_success
    );
}

#[tokio::test]
async fn a_backup_is_private_and_whole_or_not_there() {
    let place = Installation::embedded(PROGRAM);
    let refused = place.command(&["backup", "backup"]);
    assert!(!refused.is_success && refused.stderr.contains("there is no store"));
    let server = place.start().await;
    let before = fill(&server).await;
    let busy = place.command(&["backup", "backup"]);
    assert!(!busy.is_success && busy.stderr.contains("stop the server"));
    assert!(!file(&place, "backup").exists());
    assert!(server.terminate().await.status.success());

    assert!(!place.command(&["backup", "nowhere/backup"]).is_success);
    assert!(place.command(&["backup", "backup"]).is_success);
    let mode = std::fs::metadata(file(&place, "backup"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!file(&place, "backup.unfinished").exists());
    // I5
    let bytes = std::fs::read(file(&place, "backup")).unwrap();
    for secret in [
        &before.agent.client_secret,
        &before.machine.client_secret,
        &before.api_key,
        &before.refresh,
    ] {
        assert!(
            !bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        );
    }
}

#[tokio::test]
async fn what_cannot_be_restored_leaves_the_store_alone() {
    let here = Installation::embedded(PROGRAM);
    let server = here.start().await;
    let before = fill(&server).await;
    assert!(server.terminate().await.status.success());
    assert!(here.command(&["backup", "backup"]).is_success);
    let whole = std::fs::read(file(&here, "backup")).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    here.write("changed", &changed);
    here.write("cut", &whole[..whole.len() - 1]);
    here.write("other", "{}");
    for (name, variables, reason) in [
        ("backup", [].as_slice(), "the store is not empty"),
        ("changed", &[], "it is damaged"),
        ("cut", &[], "it is damaged"),
        ("other", &[], "it is no backup"),
        ("missing", &[], "missing"),
        (
            "backup",
            &[(
                "SERVER_KEY",
                "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
            )],
            "the server key is not the one",
        ),
    ] {
        let arguments = match reason {
            "the store is not empty" => &["restore", name][..],
            _ => &["restore", name, "--replace"],
        };
        let refused = here.command_with(arguments, variables, "");
        assert!(
            !refused.is_success && refused.stderr.contains(reason),
            "{reason}: {refused:?}"
        );
    }
    let server = here.start().await;
    for token in &before.tokens {
        assert!(is_active(&server, token).await, "nothing was touched");
    }
}

#[tokio::test]
async fn while_servers_are_on_redis_nothing_is_restored_and_a_backup_warns() {
    let place = Installation::on_redis(PROGRAM).await;
    let server = place.start().await;
    let before = fill(&server).await;
    let made = place.command(&["backup", "backup"]);
    assert!(made.is_success && made.stderr.contains("others use the store"));
    let refused = place.command(&["restore", "backup", "--replace"]);
    assert!(
        !refused.is_success && refused.stderr.contains("stop all servers"),
        "{refused:?}"
    );
    assert!(is_active(&server, &before.tokens[0]).await);
    assert!(server.terminate().await.status.success());
    assert!(
        place
            .command(&["restore", "backup", "--replace"])
            .is_success
    );
}

/// I18
async fn a_killed_restore_leaves_nothing_or_says_so(here: Installation, there: Installation) {
    let mut store = GoStore::new();
    let hash = bcrypt(SECRET, 4);
    for _ in 0..1000 {
        store.agent(
            &Uuid::new_v4().to_string(),
            "",
            json!({ "client_secret_hash": hash }),
        );
    }
    here.write("old.json", store.text());
    assert!(
        here.command(&["import", "machineauth-json", "old.json"])
            .is_success
    );
    let backup = file(&here, "backup");
    let backup = backup.to_str().unwrap();
    assert!(here.command(&["backup", backup]).is_success);
    let agents = |export: &str| {
        let export: Value = serde_json::from_str(export).unwrap();
        export["agents"].as_array().unwrap().len()
    };
    let (mut unfinished, mut kills) = (0, 0);
    for step in 1..20 {
        let has_ended = killed(
            &there,
            &["restore", backup, "--replace"],
            Duration::from_millis(25 * step),
        );
        let export = there.command(&["export"]);
        if export.is_success {
            let left = agents(&export.stdout);
            assert!(left == 1000 || left == 0, "{left}");
        } else {
            let says = &export.stderr;
            assert!(
                says.contains("was interrupted") || says.contains("there is no store"),
                "{says}"
            );
            unfinished += usize::from(says.contains("was interrupted"));
        }
        if has_ended {
            break;
        }
        kills += 1;
    }
    assert!(
        kills > 0 && unfinished > 0,
        "{kills} kills, {unfinished} unfinished"
    );
    assert!(there.command(&["restore", backup, "--replace"]).is_success);
    assert_eq!(agents(&there.command(&["export"]).stdout), 1000);
    // Half a restore needs no --replace: there is nothing to lose.
    while killed(
        &there,
        &["restore", backup, "--replace"],
        Duration::from_millis(60),
    ) {}
    if there
        .command(&["export"])
        .stderr
        .contains("was interrupted")
    {
        let refused = there.command(&["serve"]);
        assert!(!refused.is_success && refused.stderr.contains("was interrupted"));
        assert!(!there.command(&["backup", "x"]).is_success);
        assert!(there.command(&["restore", backup]).is_success);
    }
}

#[tokio::test]
async fn a_killed_restore_leaves_nothing_or_says_so_on_the_embedded_store() {
    let here = Installation::embedded(PROGRAM);
    let there = here.successor();
    a_killed_restore_leaves_nothing_or_says_so(here, there).await;
}

#[tokio::test]
async fn a_killed_restore_leaves_nothing_or_says_so_on_redis() {
    let here = Installation::embedded(PROGRAM);
    let there = here.successor_on_redis().await;
    a_killed_restore_leaves_nothing_or_says_so(here, there).await;
}
