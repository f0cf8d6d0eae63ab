//! What a receiver costs that takes nothing: a bounded queue and a bounded history, both to be seen in metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use machineauth_core::clock::ManualClock;
use machineauth_issuer::store::Partition;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::receiver::{Receiver, Reply};
use reqwest::Method;
use serde_json::json;

use super::{Hook, deliveries, delivery_at, hook};

const WAITING: i64 = 20;
const REMEMBERED: i64 = 30;
/// Half an hour's events, forty-eight times a day.
const EVENTS: usize = 3;

/// How many rows of any kind the store has about deliveries.
async fn rows(issuer: &Issuer) -> usize {
    let mut count = 0;
    for partition in Partition::data() {
        for kind in ["webhook_delivery", "webhook_queue", "webhook_history"] {
            let prefix = partition.key(kind);
            let rows = issuer.app.store.scan(&prefix, None, usize::MAX).await;
            count += rows.unwrap().len();
        }
    }
    count
}

/// Maintenance itself would not: it trusts no clock that jumps.
async fn trim(issuer: &Issuer) {
    for partition in Partition::data() {
        issuer.app.webhooks.trim(partition).await.unwrap();
    }
}

async fn scraped(issuer: &Issuer, name: &str) -> String {
    let request = issuer.request(Method::GET, "/metrics");
    let scraped = Answer::to(request.header("accept", "text/plain")).await;
    let line = scraped.text.lines().find(|line| {
        let rest = line.strip_prefix("machineauth_");
        rest.and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("no {name} in {}", scraped.text));
    line.rsplit(' ').next().unwrap().to_owned()
}

/// An issuer that keeps little, with a webhook whose receiver answers as `status` says.
async fn with_a_receiver(
    status: &Arc<AtomicU16>,
    retries: u32,
) -> (Issuer, ManualClock, Receiver, Hook) {
    let clock = ManualClock::new(machineauth_core::clock::Timestamp::from_secs(1_800_000_000));
    let issuer = Issuer::builder()
        .clock(&clock)
        .with("WEBHOOK_MAX_WAITING", &WAITING.to_string())
        .with("WEBHOOK_KEEP_DELIVERIES", &REMEMBERED.to_string())
        .with("WEBHOOK_KEEP_DAYS", "2")
        .start()
        .await;
    let answered = Arc::clone(status);
    let receiver = Receiver::that(move |_| Reply::status(answered.load(Ordering::Relaxed))).await;
    let settings = json!({ "max_retries": retries, "retry_backoff_base": 3_600 });
    let hook = hook(&issuer, &receiver, &["agent.created"], settings).await;
    (issuer, clock, receiver, hook)
}

#[tokio::test]
async fn a_receiver_that_is_down_for_a_day_costs_a_bounded_store_and_gets_what_waited() {
    let status = Arc::new(AtomicU16::new(503));
    let (issuer, clock, receiver, hook) = with_a_receiver(&status, 20).await;
    let mut most = 0;
    for _ in 0..48 {
        for _ in 0..EVENTS {
            issuer.agent(&[]).await;
        }
        clock.advance(Duration::from_secs(1_800));
        tokio::time::sleep(Duration::from_millis(50)).await;
        trim(&issuer).await;
        most = most.max(rows(&issuer).await);
    }
    // Long enough for the dispatcher to have read everything.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    trim(&issuer).await;
    most = most.max(rows(&issuer).await);
    // A record and a place for what waits, a record for what is over, and what came since the last trimming.
    let bound = 2 * WAITING + REMEMBERED + i64::try_from(EVENTS).unwrap() * 2;
    assert!(
        i64::try_from(most).unwrap() <= bound,
        "{most} rows, at most {bound}"
    );

    assert_eq!(scraped(&issuer, "webhook_deliveries_waiting").await, "20");
    assert_eq!(scraped(&issuer, "webhook_deliveries_given_up").await, "30");
    let age = scraped(&issuer, "webhook_oldest_waiting_seconds").await;
    let age: f64 = age.parse().unwrap();
    assert!((80_000.0..=86_400.0).contains(&age), "{age}");

    status.store(200, Ordering::Relaxed);
    let before = receiver.received().len();
    clock.advance(Duration::from_secs(3_600 * 2));
    receiver.count(before + 20).await;
    for _ in 0..100 {
        if scraped(&issuer, "webhook_deliveries_waiting").await == "0" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        scraped(&issuer, "webhook_oldest_waiting_seconds").await,
        "0.0"
    );
    let again = Some(json!({ "status": "dead" }));
    let replay = hook.path("/replay");
    let replayed = issuer.admin(Method::POST, &replay, again).await.json();
    assert_eq!(replayed, json!({ "replayed": 30 }));
    receiver.count(before + 50).await;
}

#[tokio::test]
async fn what_is_over_is_forgotten_by_age_and_what_waits_for_a_disabled_webhook_too() {
    let status = Arc::new(AtomicU16::new(200));
    let (issuer, clock, _receiver, hook) = with_a_receiver(&status, 1).await;
    issuer.agent(&[]).await;
    delivery_at(&issuer, &hook, "delivered").await;
    status.store(500, Ordering::Relaxed);
    issuer.agent(&[]).await;
    delivery_at(&issuer, &hook, "retrying").await;
    let off = Some(json!({ "is_active": false }));
    issuer.admin(Method::PATCH, &hook.path(""), off).await;
    assert_eq!(
        scraped(&issuer, "webhook_deliveries_waiting").await,
        "0",
        "nobody waits for anything to arrive there"
    );
    clock.advance(Duration::from_secs(47 * 3_600));
    trim(&issuer).await;
    assert_eq!(deliveries(&issuer, &hook).await.len(), 2);
    clock.advance(Duration::from_secs(3 * 3_600));
    trim(&issuer).await;
    assert!(deliveries(&issuer, &hook).await.is_empty());
    assert_eq!(rows(&issuer).await, 0);
}
