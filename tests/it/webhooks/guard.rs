//! I16: what a receiver's name means may change at any moment, and what a configuration permits may change as well.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use machineauth_core::clock::{SystemClock, Timestamp};
use machineauth_issuer::domain::id::{DeliveryId, WebhookId};
use machineauth_issuer::domain::webhooks::{Attempt, Delivery, Status, Verdict};
use machineauth_issuer::events::webhooks::guard::{Guard, Lookup};
use machineauth_issuer::events::webhooks::sender::Sender;
use machineauth_issuer::store::{DynStore, EmbeddedStore};
use machineauth_tests::issuer::{Issuer, SERVER_KEY};
use machineauth_tests::receiver::{Receiver, Reply};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{delivery_at, hook};

const OPENED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A name server that answers every question otherwise, as an attacker's does.
#[derive(Debug)]
struct Rebinding(Mutex<VecDeque<Vec<IpAddr>>>);

#[async_trait]
impl Lookup for Rebinding {
    async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        Ok(answers
            .pop_front()
            .expect("it is asked once for each connection"))
    }
}

fn delivery() -> Delivery {
    Delivery {
        id: DeliveryId::random(),
        webhook_id: WebhookId::random(),
        event: "agent.created".into(),
        body: "{}".into(),
        content_type: "application/json".into(),
        position: None,
        status: Status::Pending,
        attempts: 0,
        due_at: Some(NOW),
        last_attempt_at: None,
        last_status_code: None,
        last_error: String::new(),
        created_at: NOW,
    }
}

fn closing(status: u16) -> Reply {
    Reply {
        headers: vec![("connection", "close".to_owned())],
        ..Reply::status(status)
    }
}

/// I16
#[tokio::test]
async fn a_name_that_means_another_address_a_moment_later_gains_nothing() {
    // The same port on both, since the URL has one.
    let listener = TcpListener::bind((OPENED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let opened = Receiver::on(listener, |_| closing(204));
    let own = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    let own = Receiver::on(own, |_| closing(204));
    let (good, bad) = (IpAddr::from(OPENED), IpAddr::from(Ipv4Addr::LOCALHOST));
    let answers = [vec![good], vec![bad], vec![bad, good]];
    let guard = Guard {
        allowed: Arc::new([format!("{OPENED}/32").parse().unwrap()]),
        lookup: Arc::new(Rebinding(Mutex::new(answers.into()))),
    };
    let sender = Sender::new(guard, Duration::from_secs(5), false).unwrap();
    let url = format!("http://rebinding.example.com:{port}/");
    let secrets = ["whsec_c2VjcmV0".to_owned().into()];
    let send = async || sender.send(&url, &delivery(), &secrets, NOW).await;

    assert_eq!(
        send().await.verdict,
        Verdict::Taken,
        "to the address that was judged"
    );
    let Attempt {
        verdict: Verdict::GiveUp { error },
        ..
    } = send().await
    else {
        panic!("the name means this host now");
    };
    assert!(error.contains("not public"), "{error}");
    assert_eq!(
        send().await.verdict,
        Verdict::Taken,
        "only to the one that may be called"
    );
    assert_eq!(opened.received().len(), 2);
    assert!(own.received().is_empty());
}

/// I16
#[tokio::test]
async fn a_url_from_before_production_gets_nothing_unencrypted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("machineauth.redb");
    let opened = async || {
        let store = EmbeddedStore::open(&file, Arc::new(SystemClock)).await;
        let store: DynStore = Arc::new(store.unwrap());
        store
    };
    let issuer = Issuer::builder().store(opened().await).start().await;
    let receiver = Receiver::start().await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.stop().await;

    let issuer = Issuer::builder()
        .store(opened().await)
        .with("ENV", "production")
        .with("ADMIN_PASSWORD", "a long enough one")
        .with("SERVER_KEY", SERVER_KEY)
        .with("JWT_ISSUER", "https://auth.example.com")
        .with("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8")
        .start()
        .await;
    let create = issuer
        .request(reqwest::Method::POST, "/api/agents")
        .basic_auth("admin@example.com", Some("a long enough one"))
        .json(&json!({ "name": "a" }));
    assert_eq!(create.send().await.unwrap().status(), 201);
    let id = hook.id.parse().unwrap();
    let failed = async || {
        let found = issuer.app.webhooks.deliveries(id, None, 10).await.unwrap();
        found
            .into_iter()
            .find(|delivery| delivery.status == Status::Failed)
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let delivery = loop {
        if let Some(delivery) = failed().await {
            break delivery;
        }
        assert!(tokio::time::Instant::now() < deadline, "it is given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(delivery.last_error.contains("https only"), "{delivery:?}");
    assert!(receiver.received().is_empty());
}

/// I16: the time of an attempt is that of the whole exchange, however lively it looks meanwhile.
#[tokio::test]
async fn a_receiver_that_answers_byte_by_byte_costs_a_bounded_time() {
    let issuer = Issuer::builder()
        .with("WEBHOOK_TIMEOUT_SECS", "1")
        .start()
        .await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let dripping = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                for byte in b"HTTP/1.1 200 OK\r\n".iter().chain([&b'x'; 600]) {
                    if stream.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
    });
    let body = json!({ "name": "w", "url": url, "events": ["agent.created"] });
    let created = issuer
        .admin(reqwest::Method::POST, "/api/webhooks", Some(body))
        .await;
    let hook = super::Hook {
        id: created.json()["webhook"]["id"].as_str().unwrap().to_owned(),
        secret: created.str("secret"),
    };
    let begun = tokio::time::Instant::now();
    issuer.agent(&[]).await;
    let delivery = delivery_at(&issuer, &hook, "retrying").await;
    assert_eq!(delivery["last_error"], json!("no answer within 1 s"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    dripping.abort();
}
