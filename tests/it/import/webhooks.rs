//! Webhooks of the Go service go on telling their receivers.

use machineauth_core::crypto::HmacKey;
use machineauth_issuer::transfer::report::Outcome;
use machineauth_tests::go_store::GoStore;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::receiver::{Received, Receiver};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ACME, imported, refusal};

/// The Go service makes its secrets in hexadecimal.
const SECRET: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn is_signed(received: &Received) -> bool {
    let mac = HmacKey::new(SECRET.as_bytes()).sign(&received.body);
    let expected: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    received.header("x-webhook-signature") == expected
}

/// What the API says about all webhooks.
async fn webhooks(issuer: &Issuer) -> Vec<Value> {
    let list = issuer.admin(Method::GET, "/api/webhooks", None).await;
    list.json()["webhooks"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_webhook_that_was_brought_along_goes_on_with_the_secret_that_its_receiver_has() {
    let issuer = Issuer::start().await;
    let (of_all, of_acme) = (Receiver::start().await, Receiver::start().await);
    let (first, second) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let mut store = GoStore::new();
    store
        .organization(ACME, "acme", json!({}))
        .team("team-1", ACME)
        .agent(&Uuid::new_v4().to_string(), "a secret", json!({}))
        .webhook(&first, &of_all.url, SECRET, json!({ "max_retries": 4 }))
        .webhook(
            &second,
            &of_acme.url,
            SECRET,
            json!({ "organization_id": ACME, "events": ["*", "agent.exploded"], "max_retries": 99 }),
        );
    let report = imported(&issuer, &store).await;
    assert_eq!(report.failures(), 0, "{report}");
    let notes = &report.objects[4].notes;
    for begin in [
        "events: \"agent.exploded\" is left out",
        "max_retries: 20 instead of 99",
    ] {
        assert!(
            notes.iter().any(|note| note.starts_with(begin)),
            "{begin}: {notes:?}"
        );
    }

    let found = webhooks(&issuer).await;
    let shown = found.iter().find(|webhook| webhook["id"] == json!(first));
    let shown = shown.expect("its identifier is kept");
    for (field, value) in [
        ("name", json!(format!("Webhook {first}"))),
        ("url", json!(of_all.url)),
        ("events", json!(["agent.created", "agent.deleted"])),
        ("is_active", json!(true)),
        ("max_retries", json!(4)),
        ("retry_backoff_base", json!(2)),
        ("created_at", json!("2026-01-02T03:04:05Z")),
        ("updated_at", json!("2026-01-03T03:04:05Z")),
        ("consecutive_fails", json!(0)),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }

    let agent = issuer.agent_in(ACME, &[]).await;
    for receiver in [&of_all, &of_acme] {
        let is_about_an_agent = |one: &&Received| one.json()["event"] == "agent.created";
        let told = receiver.until(|received| received.iter().any(|one| is_about_an_agent(&one)));
        let told = told.await;
        assert!(told.iter().all(is_signed));
        let agents = told.iter().filter(is_about_an_agent);
        let agents: Vec<_> = agents.map(|one| one.json()["agent_id"].clone()).collect();
        assert_eq!(
            agents,
            [json!(agent.id)],
            "nothing of what was imported with it"
        );
    }

    let again = imported(&issuer, &store).await;
    let is_unchanged = |at: usize| matches!(again.objects[at].outcome, Outcome::Unchanged);
    assert!(is_unchanged(3) && is_unchanged(4), "{again}");
    store.0["webhook_configs"][0]["url"] = json!("https://example.com/");
    let different = imported(&issuer, &store).await;
    assert!(
        matches!(&different.objects[3].outcome, Outcome::Different { fields } if *fields == ["url"])
    );
    assert_eq!(webhooks(&issuer).await.len(), 2);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_kept_is_refused_whole_and_says_why() {
    let issuer = Issuer::start().await;
    let id = Uuid::new_v4().to_string();
    let url = "http://127.0.0.1:9/";
    let mut store = GoStore::new();
    store
        .webhook(&id, "ftp://example.com", SECRET, json!({}))
        .webhook(&id, url, SECRET, json!({ "events": ["moon.landed"] }))
        .webhook(&id, url, SECRET, json!({ "organization_id": "nowhere" }))
        .webhook(&id, url, SECRET, json!({ "team_id": "t" }))
        .webhook(&id, url, SECRET, json!({ "name": "" }))
        .webhook(&id, url, &"x".repeat(2_000), json!({}))
        .webhook(&id, url, SECRET, json!({ "secret": 7 }))
        .webhook("", url, SECRET, json!({}))
        .webhook(&id, url, SECRET, json!({}))
        .webhook(&id, url, SECRET, json!({}));
    let report = imported(&issuer, &store).await;
    let reasons = [
        "url: an absolute",
        "events: 1 to",
        "organization_id: there is no organization \"nowhere\"",
        "team_id: the organization has no such team",
        "name: 1 to",
        "secret: at most",
        "secret: not what it has to be",
        "id: missing",
    ];
    for (at, reason) in reasons.iter().enumerate() {
        assert!(
            refusal(&report, at).starts_with(reason),
            "{reason}: {report}"
        );
    }
    assert!(matches!(report.objects[8].outcome, Outcome::Imported));
    assert!(refusal(&report, 9).starts_with("id: another webhook"));
    assert_eq!(webhooks(&issuer).await.len(), 1);
    // I21
    assert!(!report.to_string().contains(SECRET));
}

/// I17: an empty secret would sign what anybody can sign.
#[tokio::test]
async fn a_webhook_without_a_secret_gets_one_that_nobody_knows() {
    let issuer = Issuer::start().await;
    let receiver = Receiver::start().await;
    let id = Uuid::new_v4().to_string();
    let mut store = GoStore::new();
    store.webhook(&id, &receiver.url, "", json!({}));
    let report = imported(&issuer, &store).await;
    assert!(report.objects[0].notes[0].starts_with("secret: there is none"));
    issuer.agent(&[]).await;
    let received = receiver.count(1).await[0].clone();
    let mac = HmacKey::new(b"").sign(&received.body);
    let of_nothing: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_ne!(received.header("x-webhook-signature"), of_nothing);
    let path = format!("/api/webhooks/{id}/rotate-secret");
    let rotated = issuer
        .admin(Method::POST, &path, Some(json!({ "grace": 0 })))
        .await;
    assert!(rotated.str("secret").starts_with("whsec_"));
}
