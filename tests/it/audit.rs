//! The audit trail: who may read what of it, in which order, how long it is kept, and that nobody changes it unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock, ManualClock, SystemClock, Timestamp};
use machineauth_issuer::app::App;
use machineauth_issuer::config::Config;
use machineauth_issuer::domain::event::{self, Action, AuditSettings, By, Fact, TokenEvents};
use machineauth_issuer::domain::vault::ServerKey;
use machineauth_issuer::events::audit::{self, Progress, Report, Seal, Wrong};
use machineauth_issuer::store::{
    Batch, DynStore, EmbeddedStore, Log, MemoryStore, Partition, RedisStore,
};
use machineauth_tests::audit::events;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{Issuer, SERVER_KEY};
use machineauth_tests::redis_server::RedisServer;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

async fn logs(issuer: &Issuer, query: &str) -> Value {
    let answer = issuer
        .admin(Method::GET, &format!("/api/audit-logs{query}"), None)
        .await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    answer.json()
}

fn actions(list: &Value) -> Vec<String> {
    let logs = list["logs"].as_array().unwrap();
    logs.iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect()
}

fn ids(list: &Value) -> Vec<String> {
    let logs = list["logs"].as_array().unwrap();
    logs.iter()
        .map(|entry| entry["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_entry_has_the_documented_members_and_ours() {
    let (issuer, _) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let list = logs(&issuer, &format!("?agent_id={}", agent.id)).await;
    let entry = &list["logs"][0];
    assert_eq!(entry["agent_id"], json!(agent.id));
    assert_eq!(entry["action"], "agent.created");
    assert_eq!(entry["ip_address"], "127.0.0.1");
    assert_eq!(entry["created_at"], "2027-01-15T08:00:00Z");
    assert_eq!(entry["user_agent"], "");
    assert_eq!(entry["id"].as_str().unwrap().len(), 36);
    assert_eq!(
        entry["actor"],
        json!({ "kind": "administrator", "id": "admin@example.com" })
    );
    assert_eq!(entry["target"]["kind"], "agent");
    assert_eq!(entry["target"]["name"], "test agent");
    assert_eq!(entry["outcome"], "success");
    assert_eq!(entry["details"]["client_id"], json!(agent.client_id));
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let (_, reference) = reference.split_once("## An entry").unwrap();
    for member in entry.as_object().unwrap().keys() {
        assert!(
            reference.contains(&format!("`{member}`")),
            "{member} is not in docs/audit.md"
        );
    }
    assert_eq!(
        list["pagination"],
        json!({ "total": 1, "page": 1, "limit": 20, "total_pages": 1 })
    );
}

#[tokio::test]
async fn the_newest_come_first_by_number_and_by_cursor_each_once() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    for n in 0..60 {
        clock.advance(Duration::from_millis(1));
        issuer.create(json!({ "name": format!("agent {n}") })).await;
    }
    let names = |list: &Value| -> Vec<String> {
        let logs = list["logs"].as_array().unwrap();
        logs.iter()
            .map(|entry| entry["target"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected: Vec<_> = (0..60).rev().map(|n| format!("agent {n}")).collect();
    let query = "action=agent.created";
    let mut numbered = Vec::new();
    for page in 1..=4 {
        let list = logs(&issuer, &format!("?{query}&page={page}&limit=17")).await;
        assert_eq!(list["pagination"]["total"], 60);
        assert_eq!(list["pagination"]["total_pages"], 4);
        numbered.extend(names(&list));
    }
    assert_eq!(numbered, expected);
    let mut list = logs(&issuer, &format!("?{query}&limit=7")).await;
    let mut followed = names(&list);
    while let Some(cursor) = list["next_cursor"].as_str() {
        // What happens meanwhile is on no later page.
        issuer.create(json!({ "name": "late" })).await;
        list = logs(&issuer, &format!("?{query}&limit=7&cursor={cursor}")).await;
        followed.extend(names(&list));
    }
    assert_eq!(followed, expected);
    let whole = logs(&issuer, "?limit=5").await;
    let all = events(&*issuer.app.store).await;
    assert_eq!(whole["pagination"]["total"], json!(all.len()));
}

#[tokio::test]
async fn every_filter_leaves_out_what_it_should() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let organization = issuer.organization("one").await;
    let agent = issuer.agent_in(&organization, &["read"]).await;
    clock.advance(Duration::from_secs(86_400));
    issuer.agent(&["read"]).await;
    let path = format!("/api/agents/{}", agent.id);
    issuer.admin(Method::DELETE, &path, None).await;
    let of_agent = format!("?agent_id={}", agent.id);
    for (query, expected) in [
        (of_agent.clone(), vec!["agent.deleted", "agent.created"]),
        (
            format!("{of_agent}&action=agent.created"),
            vec!["agent.created"],
        ),
        (
            format!("{of_agent}&action=agent.*"),
            vec!["agent.deleted", "agent.created"],
        ),
        (format!("{of_agent}&action=token.*"), vec![]),
        (
            format!("{of_agent}&ip_address=127.0.0.0/8"),
            vec!["agent.deleted", "agent.created"],
        ),
        (format!("{of_agent}&ip_address=192.0.2.1"), vec![]),
        (
            format!("?organization_id={organization}"),
            vec!["agent.deleted", "agent.created", "organization.created"],
        ),
        (format!("{of_agent}&from=2027-01-16"), vec!["agent.deleted"]),
        (format!("{of_agent}&to=2027-01-15"), vec!["agent.created"]),
        (
            format!("{of_agent}&to=2027-01-15T08:00:00Z"),
            vec!["agent.created"],
        ),
        (format!("{of_agent}&to=2027-01-15T07:59:59Z"), vec![]),
        (
            "?q=organization ONE".to_owned(),
            vec!["organization.created"],
        ),
        (
            format!("?q={organization}&action="),
            vec!["organization.created"],
        ),
    ] {
        assert_eq!(actions(&logs(&issuer, &query).await), expected, "{query}");
    }
    for query in [
        "?agent_id=x",
        "?ip_address=x",
        "?from=yesterday",
        "?format=xml",
        "?page=0",
        "?cursor=x",
        "?action=a&action=b",
    ] {
        issuer
            .admin(Method::GET, &format!("/api/audit-logs{query}"), None)
            .await
            .expect_error(400, "invalid_request");
    }
}

/// I25
#[tokio::test]
async fn an_organization_reads_its_own_trail_and_no_other() {
    let issuer = Issuer::start().await;
    let (one, other) = (
        issuer.organization("one").await,
        issuer.organization("other").await,
    );
    issuer.agent_in(&one, &["read"]).await;
    issuer.agent_in(&other, &["read"]).await;
    let reader = issuer
        .api_key(&one, json!({ "name": "reader", "scopes": ["audit:read"] }))
        .await;
    let admin = issuer
        .api_key(&one, json!({ "name": "admin", "scopes": ["admin"] }))
        .await;
    let agent = issuer.agent_in(&one, &["admin"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    for credential in [&reader, &admin, &token] {
        let get = async |path: &str| issuer.bearer(credential, Method::GET, path, None).await;
        let list = get("/api/audit-logs?limit=1000").await;
        assert_eq!(list.status, 200, "{}", list.text);
        let list = list.json();
        assert!(list["logs"].as_array().unwrap().len() >= 5, "{list}");
        for entry in list["logs"].as_array().unwrap() {
            assert_eq!(entry["organization_id"], json!(one), "{entry}");
        }
        assert_eq!(list["pagination"]["total"], json!(ids(&list).len()));
        get(&format!("/api/audit-logs?organization_id={other}"))
            .await
            .expect_error(404, "not_found");
        let csv = get("/api/audit-logs?format=csv").await;
        assert!(!csv.text.contains(&other), "{}", csv.text);
        get("/api/audit-logs/verify")
            .await
            .expect_error(403, "forbidden");
        get("/api/audit-seals").await.expect_error(403, "forbidden");
    }
    issuer
        .bearer(&reader, Method::GET, "/api/agents", None)
        .await
        .expect_lacking("admin");
    let introspector = json!({ "name": "i", "scopes": ["tokens:introspect"] });
    let introspector = issuer.api_key(&one, introspector).await;
    issuer
        .bearer(&introspector, Method::GET, "/api/audit-logs", None)
        .await
        .expect_lacking("audit:read");
    issuer
        .get("/api/audit-logs")
        .await
        .expect_error(401, "unauthorized");
}

#[tokio::test]
async fn an_export_has_everything_and_no_formula() {
    let issuer = Issuer::start().await;
    for n in 0..40 {
        issuer
            .create(json!({ "name": format!("=cmd|' /C calc'!A{n}") }))
            .await;
    }
    let total = events(&*issuer.app.store).await.len();
    let lines = issuer
        .admin(Method::GET, "/api/audit-logs?format=jsonl", None)
        .await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let ids: BTreeSet<_> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string())
        .collect();
    assert_eq!((ids.len(), lines.text.lines().count()), (total, total));
    let csv = issuer
        .request(Method::GET, "/api/audit-logs?action=agent.created")
        .basic_auth("admin@example.com", Some("changeme"))
        .header("accept", "text/csv");
    let csv = Answer::to(csv).await;
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert_eq!(
        csv.text.split("\r\n").count(),
        42,
        "a head, 40 lines, nothing"
    );
    assert!(csv.text.starts_with("created_at,id,action,"));
    assert!(csv.text.contains("\"'=cmd|"), "{}", csv.text);
    assert!(!csv.text.contains("\"=cmd|"), "{}", csv.text);
}

#[tokio::test]
async fn an_export_is_sent_while_it_is_read() {
    let issuer = Issuer::start().await;
    issuer.agent(&[]).await;
    for format in ["csv", "jsonl"] {
        let path = format!("/api/audit-logs?format={format}");
        let request = issuer.request(Method::GET, &path);
        let request = request.basic_auth("admin@example.com", Some("changeme"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.content_length(), None, "nobody knows yet how much");
    }
}

/// A store in a file with a sealed trail, which is then changed behind its back.
struct Crime {
    directory: tempfile::TempDir,
    clock: ManualClock,
    /// Its seals, as they were exported before.
    seals: Vec<Seal>,
}

const ENTRIES: TableDefinition<'_, (u8, u8, u64), &[u8]> = TableDefinition::new("entries");
/// The partition that the server's own events are in.
const SYSTEM: u8 = u8::MAX;

impl Crime {
    async fn scene() -> Self {
        let mut scene = Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(START),
            seals: Vec::new(),
        };
        let issuer = scene.issuer(&scene.file()).await;
        let store = &*issuer.app.store;
        for n in 0..20 {
            let fact = Fact::new(Action::LoginSucceeded).with("n", n);
            event::record_alone(store, Partition::SYSTEM, fact, &By::SYSTEM, START)
                .await
                .unwrap();
        }
        issuer.app.sealer.seal_all().await.unwrap();
        for n in 20..30 {
            let fact = Fact::new(Action::LoginSucceeded).with("n", n);
            event::record_alone(store, Partition::SYSTEM, fact, &By::SYSTEM, START)
                .await
                .unwrap();
        }
        issuer.app.sealer.seal_all().await.unwrap();
        let report = report(&issuer, &[]).await;
        assert!(report.intact && report.unsealed == 0, "{report:?}");
        assert!(report.seals >= 2 && report.entries >= 30, "{report:?}");
        let exported = issuer.admin(Method::GET, "/api/audit-seals", None).await;
        scene.seals = audit::parse_seals(&exported.text).unwrap();
        issuer.stop().await;
        scene
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("machineauth.redb")
    }

    async fn issuer(&self, file: &Path) -> Issuer {
        let store = EmbeddedStore::open(file, Arc::new(self.clock.clone()))
            .await
            .unwrap();
        Issuer::builder()
            .clock(&self.clock)
            .store(Arc::new(store))
            .start()
            .await
    }

    /// The entries of the server's own log.
    fn entries(&self) -> Vec<(u64, Vec<u8>)> {
        let database = Database::open(self.file()).unwrap();
        let table = database.begin_read().unwrap().open_table(ENTRIES).unwrap();
        let range = table.range((SYSTEM, 0, 0)..=(SYSTEM, 0, u64::MAX)).unwrap();
        range
            .map(|entry| {
                let (key, value) = entry.unwrap();
                (key.value().2, value.value().to_vec())
            })
            .collect()
    }

    fn commit(&self, changes: &[(u64, Option<&[u8]>)]) {
        let database = Database::open(self.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(ENTRIES).unwrap();
            for (number, value) in changes {
                let key = (SYSTEM, 0, *number);
                match value {
                    Some(value) => drop(table.insert(key, *value).unwrap()),
                    None => drop(table.remove(key).unwrap()),
                }
            }
        }
        transaction.commit().unwrap();
    }

    /// What the command finds: nothing, or the number of the first entry that is wrong and what it is. A server agrees on
    /// whether there is anything; it looks at a copy, since it writes and seals as soon as it starts.
    async fn verdict(&self, exported: &[Seal]) -> Option<(u64, String)> {
        let lines: String = exported.iter().map(Seal::to_line).collect();
        let file = self.directory.path().join("seals.jsonl");
        std::fs::write(&file, lines).unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_issuer"))
            .current_dir(self.directory.path())
            .env_clear()
            .env("SERVER_KEY", SERVER_KEY)
            .args(["audit", "verify", "--json", "--seals"])
            .arg(&file)
            .output()
            .await
            .unwrap();
        let printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(
            printed["intact"],
            json!(ended.status.success()),
            "{printed}"
        );
        let copy = self.directory.path().join("copy.redb");
        std::fs::copy(self.file(), &copy).unwrap();
        let issuer = self.issuer(&copy).await;
        let report = report(&issuer, exported).await;
        issuer.stop().await;
        assert_eq!(
            printed["intact"],
            json!(report.intact),
            "{printed} {report:?}"
        );
        let findings = printed["findings"].as_array().unwrap();
        assert!(findings.len() <= 1, "{printed}");
        let finding = findings.first()?;
        assert_eq!(finding["partition"], "sys");
        let what = finding["what"].as_str().unwrap().to_owned();
        Some((finding["sequence"].as_u64().unwrap(), what))
    }
}

fn found(sequence: u64, what: &str) -> Option<(u64, String)> {
    Some((sequence, what.to_owned()))
}

async fn report(issuer: &Issuer, exported: &[Seal]) -> Report {
    let app = &issuer.app;
    audit::verify(
        &*app.store,
        &app.grants.vault,
        exported,
        &Progress::default(),
    )
    .await
    .unwrap()
}

fn finding(report: &Report) -> (u64, Wrong) {
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert_eq!(report.findings[0].partition, "sys");
    (report.findings[0].sequence, report.findings[0].what)
}

#[tokio::test]
async fn one_verification_goes_on_at_a_time_and_whoever_asks_gets_what_it_finds() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store: DynStore = Arc::new(MemoryStore::new(Arc::clone(&clock)));
    let config = Config::from_variables(BTreeMap::<String, String>::new()).unwrap();
    let server_key = ServerKey::parse(SERVER_KEY).unwrap();
    // Nothing goes on beside requests here, so a verification waits until it is let run.
    let app = App::open(config, &server_key, clock, store).await.unwrap();
    let verification = &app.verification;
    verification.start().await;
    let running = verification.state().running.unwrap();
    verification.start().await;
    let still = verification.state().running.unwrap();
    assert!(Arc::ptr_eq(&running, &still));
    assert!(running.entries > 0, "the start of the server is an event");
    let asked = async { tokio::join!(verification.conclusion(), verification.conclusion()) };
    let (one, two) = tokio::select! {
        () = verification.run() => unreachable!("it runs forever"),
        asked = asked => asked,
    };
    assert!(Arc::ptr_eq(&one, &two));
    assert!(one.found.as_ref().unwrap().intact);
    assert!(verification.state().running.is_none());
}

#[tokio::test]
async fn an_untouched_trail_is_intact() {
    let scene = Crime::scene().await;
    assert_eq!(scene.verdict(&scene.seals).await, None);
}

#[tokio::test]
async fn a_changed_entry_is_named() {
    let scene = Crime::scene().await;
    let (number, mut bytes) = scene.entries()[9].clone();
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    scene.commit(&[(number, Some(&bytes))]);
    assert_eq!(scene.verdict(&[]).await, found(number, "entry_changed"));
}

#[tokio::test]
async fn a_removed_entry_is_named() {
    let scene = Crime::scene().await;
    let entries = scene.entries();
    // As a list would close the gap, and as a table leaves it.
    let number = entries[9].0;
    scene.commit(&[(number, None)]);
    assert_eq!(scene.verdict(&[]).await, found(number, "entry_missing"));
    let moved: Vec<_> = (9..entries.len() - 1)
        .map(|i| (entries[i].0, Some(entries[i + 1].1.as_slice())))
        .chain([(entries[entries.len() - 1].0, None)])
        .collect();
    scene.commit(&moved);
    assert_eq!(scene.verdict(&[]).await, found(number, "entry_missing"));
}

#[tokio::test]
async fn swapped_entries_are_named() {
    let scene = Crime::scene().await;
    let entries = scene.entries();
    for other in [10, 14] {
        let scene = Crime::scene().await;
        let entries_here = scene.entries();
        assert_eq!(entries.len(), entries_here.len());
        let (one, two) = (&entries_here[9], &entries_here[other]);
        scene.commit(&[(one.0, Some(&two.1)), (two.0, Some(&one.1))]);
        assert_eq!(scene.verdict(&[]).await, found(one.0, "entry_swapped"));
    }
}

#[tokio::test]
async fn a_cut_tail_is_named_also_when_its_seals_are_gone() {
    let scene = Crime::scene().await;
    let exported = &scene.seals;
    let entries = scene.entries();
    let seals: Vec<_> = exported
        .iter()
        .filter(|seal| seal.partition == "sys")
        .collect();
    let last = seals[seals.len() - 1];
    let cut: Vec<_> = entries
        .iter()
        .filter(|(number, _)| *number >= last.first)
        .map(|(number, _)| (*number, None))
        .collect();
    scene.commit(&cut);
    assert_eq!(scene.verdict(&[]).await, found(last.first, "tail_cut"));
    // Whoever cuts the seals as well is found by those that were exported, and only by those.
    let database = Database::open(scene.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let rows: TableDefinition<'_, (u8, &str), &[u8]> = TableDefinition::new("rows");
        let mut rows = transaction.open_table(rows).unwrap();
        let gone: Vec<_> = rows
            .range((SYSTEM, "seal/")..(SYSTEM, "seal0"))
            .unwrap()
            .map(|row| row.unwrap().0.value().1.to_owned())
            .filter(|path| path.ends_with(&format!("{:020}", last.first)))
            .collect();
        assert_eq!(gone.len(), 1);
        for path in gone {
            drop(rows.remove((SYSTEM, path.as_str())).unwrap());
        }
    }
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(scene.verdict(exported).await, found(last.first, "tail_cut"));
}

#[tokio::test]
async fn a_forged_or_missing_seal_is_named() {
    let store: DynStore = Arc::new(MemoryStore::new(Arc::new(ManualClock::new(START))));
    let clock = ManualClock::new(START);
    let issuer = Issuer::builder()
        .clock(&clock)
        .store(Arc::clone(&store))
        .start()
        .await;
    for n in 0..3 {
        let fact = Fact::new(Action::LoginSucceeded).with("n", n);
        event::record_alone(&*store, Partition::SYSTEM, fact, &By::SYSTEM, START)
            .await
            .unwrap();
        issuer.app.sealer.seal_all().await.unwrap();
    }
    let seals = audit::scan_seals(&*store, None, 1000).await.unwrap();
    let seals: Vec<_> = seals
        .into_iter()
        .filter(|(_, seal)| seal.partition == "sys")
        .collect();
    assert!(seals.len() >= 3);
    let (key, seal) = &seals[1];
    let forged = Seal {
        at: Timestamp::from_secs(1),
        ..seal.clone()
    };
    let mut row = vec![1];
    row.extend(forged.to_line().trim_end().as_bytes());
    let put = |value: Vec<u8>| Batch::new(Partition::SYSTEM).put(key, value.into());
    let _ = store.commit(&put(row)).await.unwrap();
    assert_eq!(
        finding(&report(&issuer, &[]).await),
        (seal.first, Wrong::SealForged)
    );
    let gone = Batch::new(Partition::SYSTEM).delete(key);
    let _ = store.commit(&gone).await.unwrap();
    assert_eq!(
        finding(&report(&issuer, &[]).await),
        (seals[2].1.first, Wrong::SealMissing)
    );
    let mut original = vec![1];
    original.extend(seal.to_line().trim_end().as_bytes());
    let _ = store.commit(&put(original)).await.unwrap();
    assert!(report(&issuer, &[]).await.intact);
    let foreign = [Seal {
        kid: "seal-0".into(),
        ..seal.clone()
    }];
    assert_eq!(
        finding(&report(&issuer, &foreign).await),
        (seal.first, Wrong::SealForeign)
    );
}

#[tokio::test]
async fn of_two_issuers_one_seals_within_a_second_and_the_other_goes_on_when_it_stops() {
    let redis = RedisServer::start().await;
    let clock = ManualClock::new(START);
    let start = async || {
        let store = RedisStore::connect(&redis.url(), Arc::new(clock.clone()))
            .await
            .unwrap();
        Issuer::builder()
            .clock(&clock)
            .store(Arc::new(store))
            .start()
            .await
    };
    let (one, two) = (start().await, start().await);
    let sealed = async |issuer: &Issuer| {
        let begun = tokio::time::Instant::now();
        while report(issuer, &[]).await.unsealed > 0 {
            assert!(begun.elapsed() < Duration::from_secs(15), "nobody seals");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    };
    sealed(&one).await;
    one.agent(&["read"]).await;
    let lag = sealed(&one).await;
    assert!(lag < Duration::from_secs(2), "{lag:?}, on a busy machine");
    one.stop().await;
    two.agent(&["read"]).await;
    sealed(&two).await;
    assert!(report(&two, &[]).await.intact);
}

#[tokio::test]
async fn metrics_say_how_the_trail_stands() {
    let issuer = Issuer::start().await;
    let scrape = issuer
        .request(Method::GET, "/metrics")
        .header("accept", "text/plain");
    let scrape = Answer::to(scrape).await.text;
    let entries = scrape
        .lines()
        .find(|line| line.starts_with("machineauth_audit_entries "));
    let entries: u64 = entries.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(entries, events(&*issuer.app.store).await.len() as u64);
    assert!(
        scrape.contains("\nmachineauth_audit_seal_lag_seconds "),
        "{scrape}"
    );
}

#[tokio::test]
async fn what_is_kept_is_whole_sealed_segments() {
    let clock = ManualClock::new(START);
    let issuer = Issuer::builder().clock(&clock).start().await;
    let store = &*issuer.app.store;
    let append = async |count: usize| {
        for _ in 0..count {
            let fact = Fact::new(Action::LoginSucceeded);
            let now = clock.now();
            event::record_alone(store, Partition::SYSTEM, fact, &By::SYSTEM, now)
                .await
                .unwrap();
        }
    };
    let length = async || {
        let head = store.head(Partition::SYSTEM, Log::Audit).await.unwrap();
        let tail = store.tail(Partition::SYSTEM, Log::Audit).await.unwrap();
        head.sequence() - tail.sequence()
    };
    let trim = async |keep_for: Option<Duration>, keep_entries| {
        let settings = AuditSettings {
            token_events: TokenEvents::Aggregate,
            keep_for,
            keep_entries,
        };
        audit::trim(store, Partition::SYSTEM, settings, u64::MAX, clock.now())
            .await
            .unwrap();
    };
    append(2_600).await;
    trim(None, 1_000).await;
    let unsealed = length().await;
    issuer.app.sealer.seal_all().await.unwrap();
    append(10).await;
    trim(None, 1_000).await;
    let kept = length().await;
    assert!(
        (1_000..1_600).contains(&kept),
        "{unsealed} entries before, {kept} after"
    );
    assert!(report(&issuer, &[]).await.intact);
    issuer.app.sealer.seal_all().await.unwrap();
    clock.advance(Duration::from_secs(91 * 86_400));
    append(1).await;
    trim(Some(Duration::from_secs(90 * 86_400)), 1_000).await;
    assert_eq!(length().await, 1, "what is not sealed stays");
    issuer.app.sealer.seal_all().await.unwrap();
    let seals = audit::scan_seals(store, None, 1000).await.unwrap();
    let seals = seals
        .iter()
        .filter(|(_, seal)| seal.partition == "sys")
        .count();
    assert_eq!(
        seals, 2,
        "the last seal of what is gone stays, so that the chain has a beginning"
    );
    let report = report(&issuer, &[]).await;
    assert!(report.intact, "{report:?}");
    assert_eq!(
        logs(&issuer, "?action=login.succeeded").await["logs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
