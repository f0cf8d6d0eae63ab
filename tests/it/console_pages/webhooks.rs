//! Webhooks in the console.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use machineauth_tests::issuer::Issuer;
use machineauth_tests::receiver::{Receiver, Reply};
use machineauth_tests::visitor::{Page, Visitor};
use reqwest::Method;
use serde_json::{Value, json};

const NEW: &str = "/admin/webhooks/new";

async fn created(visitor: &mut Visitor<'_>, url: &str) -> (String, String) {
    let page = visitor.sees(NEW).await;
    let fields = [
        ("name", "Pager"),
        ("url", url),
        ("events", "agent.created"),
        ("max_retries", "0"),
    ];
    let page = visitor.submits(&page, NEW, &fields).await;
    let links = page.links();
    let path = links
        .iter()
        .find(|link| link.matches('/').count() == 3 && !link.ends_with("new"));
    (path.unwrap().clone(), page.text_of("secret"))
}

/// The page of the newest delivery.
async fn delivery(visitor: &mut Visitor<'_>, webhook: &str) -> Page {
    let page = visitor.sees(webhook).await;
    let links = page.links();
    let path = links.iter().find(|link| link.contains("/deliveries/"));
    visitor.sees(path.unwrap()).await
}

/// Looks until the page of the newest delivery says so.
async fn until(visitor: &mut Visitor<'_>, webhook: &str, said: &str) -> Page {
    for _ in 0..1000 {
        let page = visitor.sees(webhook).await;
        if page
            .links()
            .iter()
            .any(|link| link.contains("/deliveries/"))
        {
            let page = delivery(visitor, webhook).await;
            if page.says(said) {
                return page;
            }
        }
        tokio::task::yield_now().await;
    }
    panic!("no delivery ever says {said}");
}

/// What the audit trail says of replays, the newest first.
async fn replays(issuer: &Issuer) -> Vec<Value> {
    let trail = "/api/audit-logs?action=webhook.replayed";
    let read = issuer.admin(Method::GET, trail, None).await.json();
    let entries = read["logs"].as_array().unwrap();
    entries.iter().map(|one| one["details"].clone()).collect()
}

#[tokio::test]
async fn a_delivery_fails_is_seen_with_its_error_and_is_sent_again() {
    let status = Arc::new(AtomicU16::new(500));
    let answered = Arc::clone(&status);
    let receiver = Receiver::that(move |_| Reply::status(answered.load(Ordering::SeqCst))).await;
    let issuer = Issuer::builder()
        .with("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
        .start()
        .await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let (path, secret) = created(&mut visitor, &receiver.url).await;
    assert!(secret.starts_with("whsec_"));
    issuer.create(json!({ "name": "Night shift" })).await;
    let page = until(&mut visitor, &path, "dead").await;
    assert!(
        page.says("500") && page.says("Night shift"),
        "{}",
        page.text
    );
    status.store(200, Ordering::SeqCst);
    let replay = page.forms().remove(1).action;
    let page = visitor.submits(&page, &replay, &[]).await;
    assert!(page.says("The delivery is sent again."));
    until(&mut visitor, &path, "delivered").await;
    let page = visitor.sees(&format!("{path}?status=dead")).await;
    assert!(page.says("None stands there."));
    let one = json!({ "delivery_id": replay.split('/').nth_back(1) });
    assert_eq!(replays(&issuer).await, [one]);
}

#[tokio::test]
async fn a_webhook_is_tested_switched_rotated_and_deleted() {
    let receiver = Receiver::start().await;
    let issuer = Issuer::builder()
        .with("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
        .start()
        .await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let (path, first) = created(&mut visitor, &receiver.url).await;
    let page = visitor.sees(&path).await;
    let tested = visitor.submits(&page, &format!("{path}/test"), &[]).await;
    assert!(
        tested.says("The test was sent") && tested.says("delivered"),
        "{}",
        tested.text
    );
    let page = visitor
        .submits(&page, &format!("{path}/disable"), &[])
        .await;
    assert!(page.says("disabled"));
    let page = visitor.submits(&page, &format!("{path}/enable"), &[]).await;
    assert!(page.says("active"));
    let rotated = visitor
        .submits(&page, &format!("{path}/rotate"), &[("grace", "0")])
        .await;
    assert_ne!(rotated.text_of("secret"), first);
    let replay = format!("{path}/replay/since");
    let refused = visitor.submits(&page, &replay, &[("since", "then")]).await;
    assert!(!refused.text_of("since-wrong").is_empty());
    let page = visitor
        .submits(&page, &replay, &[("since", "2026-01-01")])
        .await;
    assert!(page.says("They are sent again."));
    let page = visitor
        .submits(&page, &format!("{path}/replay/dead"), &[])
        .await;
    assert!(page.says("They are sent again."));
    let all = [
        json!({ "status": "dead" }),
        json!({ "since": "2026-01-01T00:00:00Z" }),
    ];
    assert_eq!(replays(&issuer).await, all);
    let edit = format!("{path}/edit");
    let page = visitor.sees(&edit).await;
    let fields = [
        ("name", "Siren"),
        ("url", receiver.url.as_str()),
        ("events", "*"),
        ("format", "cloudevents"),
    ];
    let page = visitor.submits(&page, &edit, &fields).await;
    assert!(page.says("Siren") && page.says("The webhook was changed."));
    let delete = format!("{path}/delete");
    let page = visitor
        .submits(&page, &delete, &[("confirmation", "Siren")])
        .await;
    assert!(page.says("The webhook was deleted.") && page.says("No webhooks yet"));
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_stands_beside_its_field() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = visitor.sees(NEW).await;
    for (field, value) in [
        ("url", "not an address"),
        ("name", ""),
        ("max_retries", "99"),
    ] {
        let mut fields = vec![("events", "*")];
        for (name, right) in [("name", "Pager"), ("url", "https://example.com")] {
            if name != field {
                fields.push((name, right));
            }
        }
        fields.push((field, value));
        let page = visitor.submits(&page, NEW, &fields).await;
        assert_eq!(page.status, 422, "{field}");
        assert!(
            !page.text_of(&format!("{field}-wrong")).is_empty(),
            "{field}"
        );
    }
}
