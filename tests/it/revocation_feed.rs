//! `GET /oauth/revocations` and the reader in core: what is revoked reaches resource servers by itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use machineauth_core::clock::{Clock, SystemClock};
use machineauth_issuer::store::{DynStore, MemoryStore};
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

/// Events as they come, each as its name, its id and its data.
struct Events {
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    async fn open(issuer: &Issuer, last_event_id: Option<&str>) -> Self {
        let mut request = issuer.request(Method::GET, "/oauth/revocations");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    async fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim_start().to_owned())
                        .unwrap_or_default()
                };
                let (name, id, data) = (field("event:"), field("id:"), field("data:"));
                self.text = rest.to_owned();
                return (name, id, serde_json::from_str(&data).unwrap());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.body.next()).await;
            let chunk = chunk
                .expect("the feed goes on")
                .expect("the feed stays open")
                .unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Everything up to the event `last`, with that one's id.
    async fn until(&mut self, last: &str) -> (Vec<Value>, String) {
        let mut data = Vec::new();
        loop {
            let (name, id, value) = self.next().await;
            if name == last {
                return (data, id);
            }
            data.push(value);
        }
    }
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_each_revocation() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (before, _) = issuer.tokens(&agent).await;
    issuer.revoke(&before).await;
    let mut events = Events::open(&issuer, None).await;
    let (snapshot, id) = events.until("live").await;
    let rows: Vec<_> = snapshot
        .iter()
        .flat_map(|chunk| chunk.as_array().unwrap())
        .collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["type"], "token");
    assert!(!id.is_empty());

    let (_, family) = issuer.tokens(&agent).await;
    issuer.revoke(&family).await;
    loop {
        let (name, _, data) = events.next().await;
        if name == "revocation" {
            assert_eq!(data["type"], "family");
            break;
        }
        assert_eq!(name, "heartbeat");
    }
}

#[tokio::test]
async fn a_listener_resumes_where_it_left_off() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (_, id) = Events::open(&issuer, None).await.until("live").await;
    let (missed, _) = issuer.tokens(&agent).await;
    issuer.revoke(&missed).await;
    let mut resumed = Events::open(&issuer, Some(&id)).await;
    let (name, _, data) = resumed.next().await;
    assert_eq!(
        (name.as_str(), &data["type"]),
        ("revocation", &json!("token"))
    );
    assert_eq!(resumed.next().await.0, "heartbeat");
}

/// I24
#[tokio::test]
async fn an_id_that_matches_nothing_gets_a_snapshot() {
    let (issuer, other) = (Issuer::start().await, Issuer::start().await);
    for server in [&issuer, &other] {
        let agent = server.agent(&["read"]).await;
        let (token, _) = server.tokens(&agent).await;
        server.revoke(&token).await;
    }
    let (_, foreign) = Events::open(&other, None).await.until("live").await;
    for id in [foreign.as_str(), "x", "", "0,0", &",".repeat(31)] {
        let mut events = Events::open(&issuer, Some(id)).await;
        // Logs that the id does match may be told first; nothing may be called complete before the snapshot.
        while let (name, _, _) = events.next().await
            && name != "snapshot"
        {
            assert_eq!(name, "revocation", "{id}");
        }
        events.until("live").await;
    }
}

/// I14, V21
#[tokio::test]
async fn a_token_revoked_just_after_its_end_is_told_to_verifiers_whose_clock_is_behind() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let jti = claims(&token)["jti"].clone();
    clock.advance(Duration::from_secs(86_401));
    issuer.revoke(&token).await;
    let (snapshot, _) = Events::open(&issuer, None).await.until("live").await;
    let rows: Vec<_> = snapshot
        .iter()
        .flat_map(|chunk| chunk.as_array().unwrap())
        .collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["type"], &rows[0]["jti"]), (&json!("token"), &jti));
}

#[tokio::test]
async fn a_closed_feed_asks_for_a_client_that_may_read_it() {
    let issuer = Issuer::builder()
        .with("REVOCATIONS_AUTH", "required")
        .start()
        .await;
    let (may, may_not) = (
        issuer.agent(&["revocations:read"]).await,
        issuer.agent(&["read"]).await,
    );
    issuer
        .get("/oauth/revocations")
        .await
        .expect_error(401, "invalid_client");
    let ask = |user: &str, password: &str| {
        issuer
            .request(Method::GET, "/oauth/revocations")
            .basic_auth(user, Some(password))
    };
    Answer::to(ask(&may_not.client_id, &may_not.client_secret))
        .await
        .expect_error(403, "insufficient_scope");
    Answer::to(ask(&may.client_id, "wrong"))
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(
        ask(&may.client_id, &may.client_secret)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn a_listener_of_one_issuer_hears_what_another_revokes_on_the_same_store() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store: DynStore = Arc::new(MemoryStore::new(clock));
    let one = Issuer::builder().store(Arc::clone(&store)).start().await;
    let two = Issuer::builder()
        .store(store)
        .with("JWT_ISSUER", &one.base)
        .start()
        .await;
    let agent = one.agent(&["read"]).await;
    let (token, _) = two.tokens(&agent).await;
    let mut events = Events::open(&two, None).await;
    events.until("live").await;
    one.revoke(&token).await;
    let (_, _, data) = loop {
        let event = events.next().await;
        if event.0 == "revocation" {
            break event;
        }
    };
    assert_eq!(data["type"], "token");
}
