//! What receivers get: which events, in which form, signed how.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machineauth_core::clock::{Clock as _, SystemClock, Timestamp};
use machineauth_core::crypto::HmacKey;
use machineauth_issuer::store::RedisStore;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::receiver::{Received, Receiver};
use machineauth_tests::redis_server::RedisServer;
use reqwest::Method;
use serde_json::{Value, json};

use super::{deliveries, hook};

fn of(received: &[Received], event: &str) -> Vec<Value> {
    received
        .iter()
        .filter(|one| one.header("x-webhook-event") == event)
        .map(Received::json)
        .collect()
}

#[tokio::test]
async fn the_documented_events_arrive_with_the_documented_fields() {
    let issuer = Issuer::start().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let all = hook(&issuer, &receiver, &["*"], json!({})).await;

    let agent = issuer.agent(&["read"]).await;
    let path = format!("/api/agents/{}", agent.id);
    let rename = Some(json!({ "name": "renamed" }));
    issuer.admin(Method::PATCH, &path, rename.clone()).await;
    let rotate = Some(json!({ "action": "rotate" }));
    issuer.admin(Method::POST, &path, rotate).await;
    issuer.admin(Method::DELETE, &path, None).await;
    let second = hook(&issuer, &other, &["login.succeeded"], json!({})).await;
    issuer.admin(Method::PATCH, &second.path(""), rename).await;
    issuer
        .admin(Method::POST, &second.path("/test"), None)
        .await;
    issuer.admin(Method::DELETE, &second.path(""), None).await;

    let received = receiver
        .until(|received| !of(received, "webhook.deleted").is_empty())
        .await;
    let about_it = json!({ "agent_id": agent.id });
    let about_second = json!({ "webhook_id": second.id });
    let created =
        json!({ "agent_id": agent.id, "agent_name": "test agent", "client_id": agent.client_id });
    for (event, fields) in [
        ("agent.created", &created),
        ("agent.updated", &about_it),
        ("agent.credentials_rotated", &about_it),
        ("agent.deleted", &about_it),
        ("webhook.created", &about_second),
        ("webhook.updated", &about_second),
        ("webhook.test", &about_second),
        ("webhook.deleted", &about_second),
    ] {
        let found = of(&received, event);
        let found = found.iter().find(|body| {
            let mut fields = fields.as_object().unwrap().iter();
            fields.all(|(field, value)| body[field] == *value)
        });
        let body = found.unwrap_or_else(|| panic!("no {event} with {fields}: {received:#?}"));
        assert_eq!(body["event"], json!(event));
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(body["position"].as_str().unwrap().contains('.'));
    }
    let heard = of(&other.received(), "agent.deleted");
    assert!(heard.is_empty(), "nobody asked for that");
    // I21
    for one in received {
        let text = String::from_utf8(one.body.to_vec()).unwrap();
        for secret in [&agent.client_secret, &all.secret, &second.secret] {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
    }
}

#[tokio::test]
async fn tokens_are_told_of_one_by_one_or_in_sums_or_not_at_all() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let receivers = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    let events = [
        "token.issued",
        "token.validation_success",
        "token.validation_failed",
    ];
    for (receiver, mode) in receivers.iter().zip(["each", "aggregate", "off"]) {
        let mode = json!({ "token_events": mode });
        hook(&issuer, receiver, &events, mode).await;
    }
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    issuer.tokens(&agent).await;
    issuer.introspect(&token).await;
    issuer.revoke(&token).await;
    issuer.introspect(&token).await;
    let [each, sums, off] = &receivers;
    let received = each.count(4).await;
    for (event, success, count) in [
        ("token.issued", Value::Null, 2),
        ("token.validation_success", json!(true), 1),
        ("token.validation_failed", json!(false), 1),
    ] {
        let told = of(&received, event);
        assert_eq!(told.len(), count, "{event}");
        for body in told {
            assert_eq!(body["agent_id"], json!(agent.id), "{event}");
            assert_eq!(body["success"], success, "{event}");
        }
    }
    assert!(sums.received().is_empty());
    clock.advance(Duration::from_secs(61));
    let received = sums.count(3).await;
    let issued = of(&received, "token.issued");
    assert_eq!(
        (issued.len(), &issued[0]["count"]),
        (1, &json!(2)),
        "{issued:?}"
    );
    assert!(off.received().is_empty());
}

#[tokio::test]
async fn a_webhook_that_says_nothing_is_told_of_tokens_as_the_server_says() {
    for (mode, expected) in [("each", 2), ("aggregate", 1), ("off", 0)] {
        let clock = machineauth_core::clock::ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let issuer = Issuer::builder()
            .clock(&clock)
            .with("WEBHOOK_TOKEN_EVENTS", mode)
            .start()
            .await;
        let (usual, own) = (Receiver::start().await, Receiver::start().await);
        let events = ["token.issued"];
        hook(&issuer, &usual, &events, json!({})).await;
        hook(&issuer, &own, &events, json!({ "token_events": "each" })).await;
        let agent = issuer.agent(&["read"]).await;
        issuer.tokens(&agent).await;
        issuer.tokens(&agent).await;
        own.count(2).await;
        clock.advance(Duration::from_secs(61));
        match mode {
            "aggregate" => {
                let sum = usual.count(1).await[0].json();
                assert_eq!(sum["count"], json!(2), "{sum}");
            }
            _ => tokio::time::sleep(Duration::from_millis(1_500)).await,
        }
        assert_eq!(usual.received().len(), expected, "{mode}");
        let metrics = issuer.get("/metrics").await.json();
        assert_eq!(
            metrics["tokens_issued"],
            json!(2),
            "counters are never summed up"
        );
    }
}

/// Verifies a delivery as a receiver does that was written from the document.
fn documented_is_right(received: &Received, secret: &str) -> bool {
    let expected: String = HmacKey::new(secret.as_bytes())
        .sign(&received.body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    received.header("x-webhook-signature") == expected
        && received.header("x-webhook-signature-256") == format!("sha256={expected}")
}

/// Verifies a delivery as Standard Webhooks 1.0.0 describes it.
fn standard_is_right(received: &Received, secret: &str, now: Timestamp) -> bool {
    let timestamp = received.header("webhook-timestamp");
    let signed = [
        received.header("webhook-id").as_bytes(),
        b".",
        timestamp.as_bytes(),
        b".",
        &received.body,
    ]
    .concat();
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let expected = format!("v1,{}", STANDARD.encode(HmacKey::new(&key).sign(&signed)));
    let is_fresh = timestamp.parse::<u64>().unwrap().abs_diff(now.as_secs()) < 300;
    let mut signatures = received.header("webhook-signature").split(' ');
    is_fresh && signatures.any(|signature| signature == expected)
}

/// I17
#[tokio::test]
async fn both_kinds_of_receivers_verify_a_delivery_and_nothing_else() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let receiver = Receiver::start().await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    issuer.agent(&[]).await;
    let received = receiver.count(1).await[0].clone();
    let now = clock.now();
    assert!(documented_is_right(&received, &hook.secret));
    assert!(standard_is_right(&received, &hook.secret, now));
    assert_eq!(
        received.header("webhook-id"),
        received.header("x-webhook-delivery")
    );

    let mut changed = received.clone();
    changed.body = received.json().to_string().replace("test", "evil").into();
    assert!(!documented_is_right(&changed, &hook.secret));
    assert!(!standard_is_right(&changed, &hook.secret, now));
    let later = now.saturating_add(Duration::from_secs(301));
    assert!(
        !standard_is_right(&received, &hook.secret, later),
        "a replay is old"
    );

    let rotated = issuer
        .admin(Method::POST, &hook.path("/rotate-secret"), None)
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let new = rotated.str("secret");
    issuer.agent(&[]).await;
    let received = receiver.count(2).await[1].clone();
    assert!(standard_is_right(&received, &hook.secret, now));
    assert!(standard_is_right(&received, &new, now));
    assert!(
        documented_is_right(&received, &hook.secret),
        "the older one, which receivers have"
    );

    clock.advance(Duration::from_secs(86_401));
    issuer.agent(&[]).await;
    let received = receiver.count(3).await[2].clone();
    let now = clock.now();
    assert!(
        !standard_is_right(&received, &hook.secret, now),
        "its grace is over"
    );
    assert!(standard_is_right(&received, &new, now) && documented_is_right(&received, &new));
}

#[tokio::test]
async fn an_organizations_webhook_hears_of_that_organization_only() {
    let issuer = Issuer::start().await;
    let acme = issuer.organization("acme").await;
    let other = issuer.organization("other").await;
    let (of_acme, of_all) = (Receiver::start().await, Receiver::start().await);
    let events = ["agent.created"];
    let owned = json!({ "organization_id": acme });
    hook(&issuer, &of_acme, &events, owned).await;
    hook(&issuer, &of_all, &events, json!({})).await;
    issuer.agent(&[]).await;
    issuer.agent_in(&other, &[]).await;
    let own = issuer.agent_in(&acme, &[]).await;
    assert_eq!(of_all.count(3).await.len(), 3);
    let heard = of_acme.count(1).await;
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].json()["agent_id"], json!(own.id));
    assert_eq!(heard[0].json()["organization_id"], json!(acme));
}

#[tokio::test]
async fn a_teams_webhook_hears_of_that_team_only() {
    let issuer = Issuer::start().await;
    let acme = issuer.organization("acme").await;
    let path = format!("/api/organizations/{acme}/teams");
    let team = issuer.admin(Method::POST, &path, Some(json!({ "name": "t" })));
    let team = team.await.str("id");
    let (of_team, of_acme) = (Receiver::start().await, Receiver::start().await);
    let events = ["agent.created"];
    let owned = json!({ "organization_id": acme, "team_id": team });
    hook(&issuer, &of_team, &events, owned.clone()).await;
    hook(
        &issuer,
        &of_acme,
        &events,
        json!({ "organization_id": acme }),
    )
    .await;
    issuer.agent_in(&acme, &[]).await;
    let mut body = owned;
    body["name"] = json!("a member");
    let member = issuer.create(body).await;
    of_acme.count(2).await;
    let heard = of_team.count(1).await;
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].json()["agent_id"], json!(member.id));
    assert_eq!(heard[0].json()["team_id"], json!(team));
}

/// CloudEvents 1.0.2, JSON format, structured mode.
#[tokio::test]
async fn an_event_can_be_a_cloud_event() {
    let issuer = Issuer::start().await;
    let receiver = Receiver::start().await;
    let format = json!({ "format": "cloudevents" });
    hook(&issuer, &receiver, &["agent.created"], format).await;
    let agent = issuer.agent(&[]).await;
    let received = &receiver.count(1).await[0];
    assert_eq!(
        received.header("content-type"),
        "application/cloudevents+json"
    );
    let event = received.json();
    for (attribute, value) in [
        ("specversion", json!("1.0")),
        ("type", json!("agent.created")),
        ("source", json!(issuer.base)),
        ("subject", json!(agent.id)),
        ("datacontenttype", json!("application/json")),
    ] {
        assert_eq!(event[attribute], value, "{attribute}");
    }
    assert_eq!(event["data"]["agent_id"], json!(agent.id));
    assert_eq!(event["id"], event["data"]["id"]);
}

#[tokio::test]
async fn a_webhook_hears_nothing_from_before_it_and_can_ask_for_what_it_missed() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    issuer.agent(&[]).await;
    clock.advance(Duration::from_secs(60));
    let receiver = Receiver::start().await;
    let hook = hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    let first = issuer.agent(&[]).await;
    receiver.count(1).await;
    super::delivery_at(&issuer, &hook, "delivered").await;

    let switch = async |is_active: bool| {
        let body = Some(json!({ "is_active": is_active }));
        issuer.admin(Method::PATCH, &hook.path(""), body).await;
    };
    switch(false).await;
    clock.advance(Duration::from_secs(60));
    let missed = issuer.agent(&[]).await;
    // Long enough for the dispatcher to pass it over.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    switch(true).await;
    let since = Some(json!({ "since": "2027-01-15T08:00:00Z" }));
    let replayed = issuer
        .admin(Method::POST, &hook.path("/replay"), since)
        .await;
    assert_eq!(
        replayed.json(),
        json!({ "replayed": 2 }),
        "{}",
        replayed.text
    );
    let received = receiver.count(3).await;
    let heard_of = |id: &str| {
        let agents = received.iter().map(|one| one.json()["agent_id"].clone());
        agents.filter(|agent| *agent == json!(id)).count()
    };
    assert_eq!((heard_of(&first.id), heard_of(&missed.id)), (2, 1));
    let ids: BTreeSet<_> = received
        .iter()
        .map(|one| one.header("webhook-id").to_owned())
        .collect();
    assert_eq!(ids.len(), 2, "what is sent again keeps its id");
    assert_eq!(deliveries(&issuer, &hook).await.len(), 2);
}

#[tokio::test]
async fn an_issuer_without_workers_leaves_deliveries_to_another() {
    let redis = RedisServer::start().await;
    let issuer = async |workers| {
        let store = RedisStore::connect(&redis.url(), Arc::new(SystemClock)).await;
        let builder = Issuer::builder().store(Arc::new(store.unwrap()));
        builder
            .with("DATABASE_URL", &redis.url())
            .with("SERVER_KEY", &"00112233445566778899aabbccddeeff".repeat(2))
            .with("WEBHOOK_WORKER_COUNT", workers)
            .start()
            .await
    };
    let idle = issuer("0").await;
    let receiver = Receiver::start().await;
    let events = ["agent.created", "token.issued"];
    hook(&idle, &receiver, &events, json!({})).await;
    let agent = idle.agent(&["read"]).await;
    idle.tokens(&agent).await;
    let an_issuer_with_workers_would_have = Duration::from_millis(1_500);
    tokio::time::sleep(an_issuer_with_workers_would_have).await;
    assert!(receiver.received().is_empty());
    let _working = issuer("3").await;
    receiver.count(2).await;
    for event in events {
        assert_eq!(of(&receiver.received(), event).len(), 1);
    }
}

/// I24: clocks step, and those of two issuers differ. What is before a webhook does not follow from them alone.
#[tokio::test]
async fn a_webhook_hears_of_what_comes_after_it_though_the_clock_steps_back() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    issuer.agent(&["read"]).await;
    let receiver = Receiver::start().await;
    hook(&issuer, &receiver, &["agent.created"], json!({})).await;
    clock.set(clock.now().saturating_sub(Duration::from_secs(20)));
    let agent = issuer.agent(&["read"]).await;
    let received = receiver.count(1).await;
    assert_eq!(received[0].json()["agent_id"], json!(agent.id));
}
