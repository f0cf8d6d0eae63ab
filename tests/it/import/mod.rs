//! Moving from the Go service: its JSON store is imported, and what it knew goes on working.

mod webhooks;

use std::collections::BTreeMap;

use machineauth_issuer::store::{Partition, Store};
use machineauth_issuer::transfer::Document;
use machineauth_issuer::transfer::import::import;
use machineauth_issuer::transfer::report::{Kind, Outcome, Report};
use machineauth_tests::agent::Agent;
use machineauth_tests::go_store::{GoStore, bcrypt};
use machineauth_tests::http::{self, Answer};
use machineauth_tests::installation::{ADMIN, Installation};
use machineauth_tests::issuer::Issuer;
use machineauth_tests::process::Process;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_issuer");
const ACME: &str = "0b9a5d8e-3f64-4d6f-9f5e-2f8f4b1f7a10";
const SECRET: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c";
const KEY: &str = "sk_hUgG0Zk3mXfqk3bPq0Zr8vYt5wN1cJd7eLs2oAa9iQ4";

fn client() -> String {
    Uuid::new_v4().to_string()
}

fn agent(client_id: &str, secret: &str) -> Agent {
    Agent {
        id: String::new(),
        client_id: client_id.to_owned(),
        client_secret: secret.to_owned(),
    }
}

async fn imported(issuer: &Issuer, store: &GoStore) -> Report {
    let document = Document::parse(store.text().as_bytes()).unwrap();
    import(&issuer.app, document, false).await.unwrap()
}

fn refusal(report: &Report, at: usize) -> &str {
    match &report.objects[at].outcome {
        Outcome::Refused { reason } => reason,
        outcome => panic!("{outcome:?}"),
    }
}

/// All values of rows of `kind`, as text.
async fn stored(store: &dyn Store, kind: &'static str) -> Vec<String> {
    let mut values = Vec::new();
    for partition in Partition::data() {
        let rows = store.scan(&partition.key(kind), None, usize::MAX).await;
        let rows = rows.unwrap().into_iter();
        values.extend(rows.map(|(_, row)| String::from_utf8_lossy(&row.value).into_owned()));
    }
    values
}

/// A store with something of everything.
struct Old {
    store: GoStore,
    plain: String,
    member: String,
    inactive: String,
}

fn old() -> Old {
    let (plain, member, inactive) = (client(), client(), client());
    let mut store = GoStore::new();
    store
        .organization(ACME, "acme", json!({ "jwt_expiry_secs": 600 }))
        .organization(
            "org-123",
            "my-org",
            json!({ "allowed_origins": "https://app.example.com" }),
        )
        .team("team-1", ACME)
        .agent(&plain, SECRET, json!({}))
        .agent(
            &member,
            SECRET,
            json!({ "organization_id": ACME, "team_id": "team-1", "scopes": ["admin", "read"] }),
        )
        .agent(
            &inactive,
            SECRET,
            json!({ "organization_id": "org-123", "status": "suspended", "is_active": false }),
        )
        .api_key(ACME, KEY, json!({}))
        .webhook("w", "http://127.0.0.1:9/", "whsec_c2VjcmV0", json!({}))
        .add(
            "webhook_deliveries",
            json!({ "id": "d", "webhook_config_id": "w" }),
            json!({}),
        )
        .add("audit_logs", json!({ "id": "a", "action": "x" }), json!({}));
    Old {
        store,
        plain,
        member,
        inactive,
    }
}

/// Asks a server process for a token.
async fn token(server: &Process, agent: &Agent) -> Answer {
    let form = agent.form(&[("grant_type", "client_credentials")]);
    Answer::to(
        http::client()
            .post(format!("{}/oauth/token", server.base))
            .form(&form),
    )
    .await
}

async fn everything_goes_on_working(place: Installation) {
    let old = old();
    place.write("machineauth.json", old.store.text());
    let arguments = ["import", "machineauth-json", "machineauth.json"];

    let dry = place.command(&[&arguments[..], &["--dry-run"]].concat());
    assert!(dry.is_success);
    let first = place.command(&arguments);
    assert!(first.is_success);
    let (dry, first): (Vec<_>, Vec<_>) =
        (dry.stdout.lines().collect(), first.stdout.lines().collect());
    assert_eq!(dry.len(), first.len());
    let differing: Vec<_> = dry.iter().zip(&first).filter(|(a, b)| a != b).collect();
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].0.contains("dry run"));
    let report = first.join("\n");
    for line in [
        "organizations: 2 imported",
        "teams:         1 imported",
        "agents:        3 imported",
        "API keys:      1 imported",
        "webhooks:      1 imported",
        "it was \"org-123\", which is no UUID",
        "it was \"team-1\", which is no UUID",
        "allowed_origins: \"*\" is left out",
        "left out   1 \"webhook_deliveries\"",
        "left out   1 \"audit_logs\"",
    ] {
        assert!(report.contains(line), "{line} is missing in\n{report}");
    }
    assert!(!report.contains("$2a$") && !report.contains("whsec"));

    let again = place.command(&arguments);
    assert!(again.is_success, "the same is no failure");
    assert!(
        again
            .stdout
            .contains("agents:        0 imported, 3 already here")
    );

    let server = place.start().await;
    for who in [&old.plain, &old.member] {
        let granted = token(&server, &agent(who, SECRET)).await;
        assert_eq!(granted.status, 200, "{}", granted.text);
        let again = token(&server, &agent(who, SECRET)).await;
        assert_eq!(again.status, 200, "{}", again.text);
        let wrong = token(&server, &agent(who, "wrong")).await;
        wrong.expect_error(401, "invalid_client");
    }
    token(&server, &agent(&old.inactive, SECRET))
        .await
        .expect_error(401, "invalid_client");

    let get = |path: &str| http::client().get(format!("{}{path}", server.base));
    let agents = Answer::to(
        get("/api/agents?q=Agent&sort=name&limit=100&page=1").basic_auth(ADMIN.0, Some(ADMIN.1)),
    );
    let agents = agents.await.json();
    assert_eq!(agents["pagination"]["total"], 3);
    let shown = |client: &str| {
        let all = agents["agents"].as_array().unwrap();
        all.iter()
            .find(|agent| agent["client_id"] == client)
            .unwrap()
            .clone()
    };
    let plain = shown(&old.plain);
    assert_eq!(
        (
            &plain["token_count"],
            &plain["refresh_count"],
            &plain["tags"],
            &plain["metadata"]
        ),
        (
            &json!(43),
            &json!(7),
            &json!(["old"]),
            &json!({ "room": 7 })
        )
    );
    assert_eq!(plain["created_at"], "2026-01-01T21:34:05Z");
    assert_eq!(shown(&old.inactive)["is_active"], false);

    let mine = Answer::to(get(&format!("/api/organizations/{ACME}/agents")).bearer_auth(KEY)).await;
    assert_eq!(mine.status, 200, "{}", mine.text);
    assert_eq!(mine.json()["agents"][0]["client_id"], old.member.as_str());
    let other = shown(&old.inactive)["organization_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let others =
        Answer::to(get(&format!("/api/organizations/{other}/agents")).header("x-api-key", KEY));
    others.await.expect_error(404, "not_found");
    assert!(server.terminate().await.status.success());
}

#[tokio::test]
async fn everything_goes_on_working_on_the_embedded_store() {
    everything_goes_on_working(Installation::embedded(PROGRAM)).await;
}

#[tokio::test]
async fn everything_goes_on_working_on_redis() {
    everything_goes_on_working(Installation::on_redis(PROGRAM).await).await;
}

#[test]
fn a_dry_run_makes_no_store() {
    let place = Installation::embedded(PROGRAM);
    place.write("old.json", old().store.text());
    let arguments = [
        "import",
        "machineauth-json",
        "old.json",
        "--dry-run",
        "--json",
    ];
    let report = place.command(&arguments);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["dry_run"], true);
    assert_eq!(report["objects"][0]["outcome"], "imported");
    let files = std::fs::read_dir(place.directory()).unwrap().count();
    assert_eq!(files, 1, "nothing but the file to import");
}

/// I5
#[tokio::test]
async fn a_secret_that_was_brought_along_is_hashed_anew_at_its_first_use() {
    let issuer = Issuer::start().await;
    let (by_token, by_introspection, by_refresh) = (client(), client(), client());
    let mut store = GoStore::new();
    for who in [&by_token, &by_introspection, &by_refresh] {
        store.agent(who, SECRET, json!({}));
    }
    assert_eq!(imported(&issuer, &store).await.failures(), 0);
    let brought = async || {
        let agents = stored(&*issuer.app.store, "agent").await;
        assert!(!agents.iter().any(|agent| agent.contains(SECRET)));
        agents.iter().filter(|agent| agent.contains("$2a$")).count()
    };
    assert_eq!(brought().await, 3);

    let granted = issuer.token_answer(&agent(&by_token, SECRET)).await;
    assert_eq!(granted.status, 200, "{}", granted.text);
    assert_eq!(brought().await, 2, "in the commit that issues the token");

    let form = agent(&by_introspection, SECRET);
    let form = form.form(&[("token", "x")]);
    let answer = issuer.post("/oauth/introspect", &form).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(brought().await, 1, "in a batch of its own");

    let refused = issuer
        .refresh(&agent(&by_refresh, SECRET), "rt_nonsense")
        .await;
    refused.expect_error(400, "invalid_grant");
    assert_eq!(brought().await, 0);

    for who in [&by_token, &by_introspection, &by_refresh] {
        let granted = issuer.token_answer(&agent(who, SECRET)).await;
        assert_eq!(granted.status, 200, "{}", granted.text);
        issuer
            .token_answer(&agent(who, "wrong"))
            .await
            .expect_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn a_hash_of_each_scheme_is_taken_over() {
    let issuer = Issuer::start().await;
    let hashes = BTreeMap::from([
        ("bcrypt", bcrypt("correct horse", 4)),
        (
            "Werkzeug",
            "pbkdf2:sha256:1000$NaCl$cba50afb9ece1b6c899d921b4b7139139f7d2258b02086c1764c441575c66253".to_owned(),
        ),
        (
            "PBKDF2",
            "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHQ$qQDPSZa3Ormyy9oK1Pu0ZLLwP2Svzmx3yu8OvDdq/J0".to_owned(),
        ),
        (
            "Argon2id",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$sDq4SJydHwxWnLTlXqq5ZzNDfmXrJUlaeTohxQaFrio".to_owned(),
        ),
    ]);
    for (scheme, hash) in hashes {
        let client = client();
        let mut store = GoStore::new();
        store.agent(&client, "", json!({ "client_secret_hash": hash }));
        assert_eq!(imported(&issuer, &store).await.failures(), 0, "{scheme}");
        for _ in 0..2 {
            let granted = issuer.token_answer(&agent(&client, "correct horse")).await;
            assert_eq!(granted.status, 200, "{scheme}: {}", granted.text);
        }
        issuer
            .token_answer(&agent(&client, "correct horse "))
            .await
            .expect_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn of_many_first_uses_all_succeed() {
    let issuer = Issuer::start().await;
    let client = client();
    let mut store = GoStore::new();
    store.agent(&client, SECRET, json!({}));
    imported(&issuer, &store).await;
    let agent = agent(&client, SECRET);
    let granted = (0..20).map(|_| issuer.token_answer(&agent));
    for answer in futures_util::future::join_all(granted).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

/// I3, I6
#[tokio::test]
async fn guesses_wait_in_a_bounded_queue_and_others_do_not_wait_for_them() {
    let issuer = Issuer::start().await;
    let client = client();
    let mut store = GoStore::new();
    store.agent(
        &client,
        "",
        json!({ "client_secret_hash": bcrypt(SECRET, 9) }),
    );
    imported(&issuer, &store).await;
    let own = issuer.agent(&["read"]).await;
    let guesses: Vec<_> = (0..400)
        .map(|guess| agent(&client, &guess.to_string()))
        .collect();
    let flood =
        futures_util::future::join_all(guesses.iter().map(|guess| issuer.token_answer(guess)));
    let (answers, ours) = tokio::join!(flood, issuer.token_answer(&own));
    assert_eq!(ours.status, 200, "a secret of our own needs no queue");
    let (busy, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 503);
    assert!(!busy.is_empty() && !refused.is_empty());
    for answer in busy {
        answer.expect_error(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    for answer in refused {
        answer.expect_error(401, "invalid_client");
    }
}

/// I5
#[tokio::test]
async fn an_api_key_that_was_brought_along_is_found_by_a_keyed_hash_after_its_first_use() {
    let issuer = Issuer::start().await;
    let mut store = GoStore::new();
    store
        .organization(ACME, "acme", json!({}))
        .api_key(ACME, KEY, json!({ "expires_at": "2099-01-01T00:00:00Z" }))
        .api_key(
            ACME,
            "sk_revoked-long-ago-and-not-brought-back",
            json!({ "is_active": false }),
        );
    let report = imported(&issuer, &store).await;
    assert_eq!(refusal(&report, 2), "it was revoked");
    let path = format!("/api/organizations/{ACME}/api-keys");
    let list = async || issuer.bearer(KEY, Method::GET, &path, None).await;
    assert_eq!(stored(&*issuer.app.store, "api_key_digest").await.len(), 1);
    let first = list().await;
    assert_eq!(first.status, 200, "{}", first.text);
    let key = &first.json()["api_keys"][0];
    assert_eq!(
        (&key["prefix"], &key["expires_at"]),
        (&json!(&KEY[..12]), &json!("2099-01-01T00:00:00Z"))
    );
    assert_eq!(stored(&*issuer.app.store, "api_key_digest").await.len(), 0);
    assert_eq!(list().await.status, 200);
    assert!(matches!(
        imported(&issuer, &store).await.objects[1].outcome,
        Outcome::Unchanged
    ));

    let id = key["id"].as_str().unwrap();
    let deleted = issuer
        .bearer(KEY, Method::DELETE, &format!("{path}/{id}"), None)
        .await;
    assert!(deleted.status.is_success(), "{}", deleted.text);
    list().await.expect_error(401, "unauthorized");
    for kind in ["api_key", "api_key_text", "api_key_digest"] {
        assert_eq!(stored(&*issuer.app.store, kind).await.len(), 0, "{kind}");
    }
}

#[tokio::test]
async fn an_agent_away_from_home_is_administered_like_any_other() {
    let issuer = Issuer::start().await;
    let clients: Vec<_> = (0..8).map(|_| client()).collect();
    let mut store = GoStore::new();
    store.organization(ACME, "acme", json!({}));
    for client in &clients {
        let changes = json!({ "organization_id": ACME, "client_secret_hash": bcrypt(SECRET, 4) });
        store.agent(client, "", changes);
    }
    let report = imported(&issuer, &store).await;
    let ids: Vec<_> = report
        .objects
        .iter()
        .filter(|line| line.kind == Kind::Agent)
        .map(|line| &line.id)
        .collect();
    assert_eq!(ids.len(), 8);
    for (id, client) in ids.into_iter().zip(&clients) {
        let path = format!("/api/agents/{id}");
        let renamed = issuer
            .admin(Method::PATCH, &path, Some(json!({ "name": "renamed" })))
            .await;
        assert_eq!(renamed.status, 200, "{}", renamed.text);
        let (access, refresh) = issuer.tokens(&agent(client, SECRET)).await;
        assert_eq!(issuer.introspect(&access).await["org_id"], ACME);
        assert_eq!(
            issuer
                .refresh(&agent(client, SECRET), &refresh)
                .await
                .status,
            200
        );
        let rotated = issuer
            .admin(Method::POST, &format!("{path}/rotate"), Some(json!({})))
            .await
            .str("client_secret");
        issuer
            .token_answer(&agent(client, SECRET))
            .await
            .expect_error(401, "invalid_client");
        assert_eq!(
            issuer.token_answer(&agent(client, &rotated)).await.status,
            200
        );
        let deleted = issuer.admin(Method::DELETE, &path, None).await;
        assert!(deleted.status.is_success(), "{}", deleted.text);
        assert_eq!(issuer.introspect(&access).await["active"], false);
    }
    for kind in ["agent", "client", "elsewhere", "agent_order"] {
        assert_eq!(stored(&*issuer.app.store, kind).await.len(), 0, "{kind}");
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_whole_and_says_why() {
    let issuer = Issuer::start().await;
    let taken = issuer.organization("taken").await;
    let (first, second) = (client(), client());
    let mut store = GoStore::new();
    store
        .organization(ACME, "acme", json!({}))
        .organization(&client(), "acme", json!({}))
        .organization(&client(), "taken", json!({}))
        .organization(&client(), "No Slug", json!({}))
        .organization(&client(), "nameless", json!({ "name": "" }))
        .organization(&client(), "numbered", json!({ "name": 7 }))
        .team("t", "nowhere")
        .agent(&first, SECRET, json!({}))
        .agent(&first, SECRET, json!({}))
        .agent(&second, SECRET, json!({ "scopes": ["a\"b"] }))
        .agent(&second, SECRET, json!({ "organization_id": "org-9" }))
        .agent(
            &second,
            SECRET,
            json!({ "organization_id": ACME, "team_id": "t" }),
        )
        .agent(&second, SECRET, json!({ "client_secret_hash": "plain" }))
        .agent(
            &second,
            SECRET,
            json!({ "client_secret_hash": bcrypt("x", 4).replace("$04$", "$31$") }),
        )
        .agent("my-client", SECRET, json!({}))
        .agent(&second, SECRET, json!({ "is_active": "yes" }))
        .api_key("nowhere", KEY, json!({}))
        .api_key(ACME, KEY, json!({ "key_hash": "short" }))
        .api_key(ACME, KEY, json!({}))
        .api_key(ACME, KEY, json!({}));
    let report = imported(&issuer, &store).await;
    let outcomes: Vec<_> = report
        .objects
        .iter()
        .map(|line| match &line.outcome {
            Outcome::Refused { reason } => reason.as_str(),
            Outcome::Imported => "",
            other => panic!("{other:?}"),
        })
        .collect();
    let begins = [
        "",
        "slug: another organization has it",
        "slug: another organization has it",
        "slug: 1 to 63",
        "name: 1 to 200",
        "name: not what it has to be",
        "organization_id: there is no organization \"nowhere\"",
        "",
        "client_id: another agent has it",
        "scopes: \"a\\\"b\" cannot be a scope",
        "organization_id: there is no organization \"org-9\"",
        "team_id: the organization has no such team",
        "client_secret_hash: not a bcrypt",
        "client_secret_hash: verifying it costs too much",
        "client_id: no lowercase UUID",
        "is_active: not what it has to be",
        "organization_id: there is no organization \"nowhere\"",
        "key_hash: not SHA-256",
        "",
        "key_hash: another API key has the same text",
    ];
    assert_eq!(outcomes.len(), begins.len(), "{outcomes:#?}");
    for (outcome, begin) in outcomes.iter().zip(begins) {
        assert!(
            outcome.starts_with(begin) && outcome.is_empty() == begin.is_empty(),
            "{outcome}: {begin}"
        );
    }
    assert_eq!(stored(&*issuer.app.store, "organization").await.len(), 2);
    for kind in ["agent", "client", "api_key", "api_key_digest"] {
        assert_eq!(stored(&*issuer.app.store, kind).await.len(), 1, "{kind}");
    }
    issuer
        .token_answer(&agent(&second, SECRET))
        .await
        .expect_error(401, "invalid_client");
    let found = issuer
        .admin(Method::GET, &format!("/api/organizations/{taken}"), None)
        .await;
    assert_eq!(found.json()["slug"], "taken");
}

#[tokio::test]
async fn what_is_here_and_different_stays_as_it_is() {
    let issuer = Issuer::start().await;
    let mut old = old();
    imported(&issuer, &old.store).await;
    old.store.0["organizations"][0]["name"] = json!("Another name");
    old.store.0["agents"][0]["scopes"] = json!(["everything"]);
    old.store.0["agents"][0]["client_secret_hash"] = json!(bcrypt("another", 4));
    old.store.0["agents"][0]["token_count"] = json!(1_000_000);
    let report = imported(&issuer, &old.store).await;
    let different: Vec<_> = report
        .objects
        .iter()
        .filter_map(|line| match &line.outcome {
            Outcome::Different { fields } => Some(fields.as_slice()),
            Outcome::Unchanged => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(different, [["name"], ["scopes"]]);
    let granted = issuer.token_answer(&agent(&old.plain, SECRET)).await;
    assert_eq!(granted.str("scope"), "read write");
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let place = Installation::embedded(PROGRAM);
    for (content, reason) in [
        ("", "it is no JSON object"),
        ("[]", "it is no JSON object"),
        ("{\"a\":1}", "neither agents nor organizations"),
        ("{\"agents\":{}}", "agents: not a list"),
    ] {
        place.write("x.json", content);
        let refused = place.command(&["import", "machineauth-json", "x.json"]);
        assert!(
            !refused.is_success && refused.stderr.contains(reason),
            "{refused:?}"
        );
    }
    let files = std::fs::read_dir(place.directory()).unwrap().count();
    assert_eq!(files, 1, "no store is made for nothing");
    let missing = place.command(&["import", "machineauth-json", "nowhere.json"]);
    assert!(!missing.is_success && missing.stderr.contains("nowhere.json"));
}
