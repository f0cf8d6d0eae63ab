//! Receivers that fail, are slow, or lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use machineauth_tests::issuer::Issuer;
use machineauth_tests::receiver::{Receiver, Reply};
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{deliveries, delivery_at, hook, shown};

#[tokio::test]
async fn a_failed_delivery_is_tried_again_with_the_same_id_until_it_is_taken() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let attempts = AtomicUsize::new(0);
    let receiver = Receiver::that(move |_| match attempts.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Reply::status(500),
        _ => Reply::status(200),
    })
    .await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.agent(&[]).await;
    let first = delivery_at(&issuer, &hook, "retrying").await;
    assert_eq!(first["attempts"], json!(1));
    assert!(
        first["last_error"]
            .as_str()
            .unwrap()
            .starts_with("HTTP 500")
    );
    assert_eq!(first["webhook_config_id"], json!(hook.id));
    assert!(first["next_retry_at"].is_string() && first["last_attempt_at"].is_string());
    let one = format!("/deliveries/{}", first["id"].as_str().unwrap());
    let seen = issuer.admin(Method::GET, &hook.path(&one), None).await;
    assert_eq!(seen.json()["delivery"]["id"], first["id"]);

    clock.advance(Duration::from_secs(3));
    receiver.count(2).await;
    // The second attempt is settled before its time comes again.
    for _ in 0..100 {
        if deliveries(&issuer, &hook).await[0]["attempts"] == json!(2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    clock.advance(Duration::from_secs(5));
    let last = delivery_at(&issuer, &hook, "delivered").await;
    assert_eq!(
        (
            &last["attempts"],
            &last["last_error"],
            &last["next_retry_at"]
        ),
        (&json!(3), &json!(""), &json!(null))
    );
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    for one in &received {
        assert_eq!(json!(one.header("webhook-id")), first["id"]);
        assert_eq!(one.body, received[0].body);
    }
    assert_eq!(shown(&issuer, &hook).await["consecutive_fails"], json!(0));
}

#[tokio::test]
async fn a_run_of_dead_deliveries_disables_the_webhook_and_they_can_be_asked_for_again() {
    let issuer = Issuer::start().await;
    let status = Arc::new(AtomicU16::new(500));
    let answered = Arc::clone(&status);
    let receiver = Receiver::that(move |_| Reply::status(answered.load(Ordering::Relaxed))).await;
    let witness = Receiver::start().await;
    let events = ["agent.created"];
    let failing = hook(&issuer, &receiver, &events, json!({ "max_retries": 0 })).await;
    hook(&issuer, &witness, &["webhook.disabled"], json!({})).await;
    for _ in 0..10 {
        issuer.agent(&[]).await;
    }
    let told = witness.count(1).await;
    assert_eq!(told[0].json()["webhook_id"], json!(failing.id));
    let webhook = shown(&issuer, &failing).await;
    assert_eq!(
        (&webhook["is_active"], &webhook["consecutive_fails"]),
        (&json!(false), &json!(10))
    );
    let dead = deliveries(&issuer, &failing).await;
    assert_eq!(dead.len(), 10);
    for delivery in &dead {
        assert_eq!(delivery["status"], json!("dead"));
    }
    issuer.agent(&[]).await;
    let before = receiver.received().len();

    status.store(200, Ordering::Relaxed);
    let on = Some(json!({ "is_active": true }));
    let webhook = issuer.admin(Method::PATCH, &failing.path(""), on).await;
    assert_eq!(webhook.json()["webhook"]["consecutive_fails"], json!(0));
    let again = Some(json!({ "status": "dead" }));
    let replayed = issuer
        .admin(Method::POST, &failing.path("/replay"), again)
        .await;
    assert_eq!(replayed.json(), json!({ "replayed": 10 }));
    receiver.count(before + 10).await;

    let id = dead[0]["id"].as_str().unwrap();
    let replay = failing.path(&format!("/deliveries/{id}/replay"));
    let one = issuer.admin(Method::POST, &replay, None).await;
    assert_eq!(one.json()["delivery"]["status"], json!("pending"));
    receiver.count(before + 11).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_not_called_again() {
    let issuer = Issuer::start().await;
    let receiver = Receiver::that(|_| Reply::status(410)).await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.agent(&[]).await;
    delivery_at(&issuer, &hook, "failed").await;
    assert_eq!(shown(&issuer, &hook).await["is_active"], json!(false));
    issuer.agent(&[]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.received().len(), 1);
}

/// I16
#[tokio::test]
async fn a_redirect_is_a_failure_and_never_followed() {
    let issuer = Issuer::start().await;
    let elsewhere = Receiver::start().await;
    let target = elsewhere.url.clone();
    let receiver = Receiver::that(move |_| Reply {
        headers: vec![("location", target.clone())],
        ..Reply::status(307)
    })
    .await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.agent(&[]).await;
    let delivery = delivery_at(&issuer, &hook, "retrying").await;
    let error = delivery["last_error"].as_str().unwrap();
    assert!(error.starts_with("HTTP 307"), "{error}");
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_receiver_can_ask_for_more_time() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let receiver = Receiver::that(|received| match received.header("x-webhook-attempt") {
        "1" => Reply {
            headers: vec![("retry-after", "600".to_owned())],
            ..Reply::status(429)
        },
        _ => Reply::status(204),
    })
    .await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.agent(&[]).await;
    let delivery = delivery_at(&issuer, &hook, "retrying").await;
    assert_eq!(delivery["next_retry_at"], json!("2027-01-15T08:10:00Z"));
    clock.advance(Duration::from_secs(599));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(receiver.received().len(), 1);
    clock.advance(Duration::from_secs(1));
    delivery_at(&issuer, &hook, "delivered").await;
}

#[tokio::test]
async fn a_slow_receiver_holds_up_nobody_else() {
    let issuer = Issuer::builder()
        .with("WEBHOOK_WORKER_COUNT", "2")
        .start()
        .await;
    let slow = Receiver::that(|_| Reply {
        after: Duration::from_secs(5),
        ..Reply::status(200)
    })
    .await;
    let fast = Receiver::start().await;
    let events = ["agent.created"];
    hook(&issuer, &slow, &events, json!({})).await;
    hook(&issuer, &fast, &events, json!({})).await;
    let begun = Instant::now();
    for _ in 0..30 {
        issuer.agent(&[]).await;
    }
    fast.count(30).await;
    // Thirty slow deliveries take more than a minute of both hands.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert!(slow.received().len() < 30);
}

/// I16
#[tokio::test]
async fn an_answer_without_an_end_costs_a_bounded_time_and_little_memory() {
    let issuer = Issuer::builder()
        .with("WEBHOOK_TIMEOUT_SECS", "1")
        .start()
        .await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let pouring = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = b"HTTP/1.1 500 Oops\r\ncontent-length: 10000000000\r\n\r\n";
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    sent = stream.write_all(&[b'x'; 4096]).await;
                }
            });
        }
    });
    let body = json!({ "name": "w", "url": url, "events": ["*"] });
    let created = issuer
        .admin(Method::POST, "/api/webhooks", Some(body))
        .await;
    let id = created.json()["webhook"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/webhooks/{id}/test");
    let tested = issuer.admin(Method::POST, &path, None).await.json();
    assert_eq!(tested["status_code"], json!(500));
    assert!(tested["error"].as_str().unwrap().len() <= 1_100);
    pouring.abort();
}

/// I16
#[tokio::test]
async fn nothing_is_sent_to_the_servers_own_network_unless_it_is_opened() {
    let issuer = Issuer::builder()
        .with("WEBHOOK_ALLOWED_NETWORKS", "192.0.2.0/24")
        .start()
        .await;
    let receiver = Receiver::start().await;
    let (_, rest) = receiver.url.rsplit_once(':').unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0x7f.1",
        "2130706433",
    ] {
        let url = format!("http://{host}:{rest}");
        let body = json!({ "name": "w", "url": url, "events": ["*"] });
        let created = issuer
            .admin(Method::POST, "/api/webhooks", Some(body))
            .await;
        let id = created.json()["webhook"]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/webhooks/{id}/test");
        let tested = issuer.admin(Method::POST, &path, None).await.json();
        assert_eq!(tested["success"], json!(false), "{host}");
        let error = tested["error"].as_str().unwrap();
        assert!(
            error.contains("WEBHOOK_ALLOWED_NETWORKS"),
            "{host}: {error}"
        );
    }
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_deleted_webhook_stops_at_once_and_leaves_nothing_behind() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let receiver = Receiver::that(|_| Reply::status(500)).await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.agent(&[]).await;
    delivery_at(&issuer, &hook, "retrying").await;
    issuer.admin(Method::DELETE, &hook.path(""), None).await;
    clock.advance(Duration::from_secs(3_600));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(receiver.received().len(), 1);
    let id = hook.id.parse().unwrap();
    let left = issuer.app.webhooks.deliveries(id, None, 10).await.unwrap();
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test]
async fn a_disabled_webhook_stops_at_once_and_goes_on_where_it_stopped() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let status = Arc::new(AtomicU16::new(500));
    let answered = Arc::clone(&status);
    let receiver = Receiver::that(move |_| Reply::status(answered.load(Ordering::Relaxed))).await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.agent(&[]).await;
    delivery_at(&issuer, &hook, "retrying").await;
    let switch = async |is_active: bool| {
        let body = Some(json!({ "is_active": is_active }));
        issuer.admin(Method::PATCH, &hook.path(""), body).await;
    };
    switch(false).await;
    clock.advance(Duration::from_secs(3_600));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(receiver.received().len(), 1);
    status.store(200, Ordering::Relaxed);
    switch(true).await;
    let delivery = delivery_at(&issuer, &hook, "delivered").await;
    assert_eq!(delivery["attempts"], json!(2));
}

#[tokio::test]
async fn a_webhook_says_how_long_to_wait_and_how_often() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let receiver = Receiver::that(|_| Reply::status(503)).await;
    let settings = json!({ "max_retries": 1, "retry_backoff_base": 30 });
    let hook = hook(&issuer, &receiver, &["agent.created"], settings).await;
    issuer.agent(&[]).await;
    let delivery = delivery_at(&issuer, &hook, "retrying").await;
    let next = delivery["next_retry_at"].as_str().unwrap();
    // Up to a fifth later, so that many do not come back at once.
    assert!(
        ("2027-01-15T08:00:30Z"..="2027-01-15T08:00:36Z").contains(&next),
        "{next}"
    );
    clock.advance(Duration::from_secs(37));
    let delivery = delivery_at(&issuer, &hook, "dead").await;
    assert_eq!(delivery["attempts"], json!(2));
}

#[tokio::test]
async fn as_many_deliveries_are_sent_at_once_as_there_are_workers() {
    let issuer = Issuer::builder()
        .with("WEBHOOK_WORKER_COUNT", "4")
        .start()
        .await;
    let starts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let written = Arc::clone(&starts);
    let took = Duration::from_millis(400);
    let receiver = Receiver::that(move |_| {
        written.lock().unwrap().push(Instant::now());
        Reply {
            after: took,
            ..Reply::status(200)
        }
    })
    .await;
    hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    for _ in 0..12 {
        issuer.agent(&[]).await;
    }
    receiver.count(12).await;
    let starts = starts.lock().unwrap();
    let at_once = |begun: &Instant| {
        let while_it_lasts = |other: &&Instant| *other >= begun && **other - *begun < took;
        starts.iter().filter(while_it_lasts).count()
    };
    assert_eq!(starts.iter().map(at_once).max(), Some(4));
}
