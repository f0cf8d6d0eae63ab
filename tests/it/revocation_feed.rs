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
        Self::of(request).await
    }

    /// For whoever has this API key.
    async fn with_key(issuer: &Issuer, key: &str, last_event_id: Option<&str>) -> Self {
        let request = issuer.request(Method::GET, "/oauth/revocations");
        let request = request.header("x-api-key", key);
        Self::of(match last_event_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        })
        .await
    }

    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// Whether the server ends the stream, however much it says before.
    async fn ends(mut self) -> bool {
        let end = async { while let Some(Ok(_)) = self.body.next().await {} };
        tokio::time::timeout(Duration::from_secs(20), end)
            .await
            .is_ok()
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

/// The `jti` of each, or the id that its kind has.
fn ids(revocations: &[Value]) -> Vec<&str> {
    let id = |one: &Value| {
        ["jti", "agent_id", "org_id", "kid", "fid"]
            .iter()
            .find_map(|name| one.get(*name))
            .is_some()
    };
    assert!(revocations.iter().all(id), "{revocations:?}");
    let ids = revocations
        .iter()
        .filter_map(|one| one.get("jti").and_then(Value::as_str));
    ids.collect()
}

/// I25
#[tokio::test]
async fn an_organizations_key_hears_of_its_own_and_of_the_servers_keys_and_of_nothing_else() {
    let issuer = Issuer::builder()
        .with("REVOCATIONS_AUTH", "required")
        .start()
        .await;
    let (ours, theirs) = (
        issuer.organization("ours").await,
        issuer.organization("theirs").await,
    );
    let key = issuer
        .api_key(
            &ours,
            json!({"name": "feed", "scopes": ["revocations:read"]}),
        )
        .await;
    let agents = [
        issuer.agent_in(&ours, &["read"]).await,
        issuer.agent_in(&theirs, &["read"]).await,
        issuer.agent(&["read"]).await,
    ];
    let mut jtis = Vec::new();
    for agent in &agents {
        let (token, _) = issuer.tokens(agent).await;
        jtis.push(claims(&token)["jti"].as_str().unwrap().to_owned());
        issuer.revoke(&token).await;
    }
    let mut events = Events::with_key(&issuer, &key, None).await;
    let (snapshot, id) = events.until("live").await;
    let rows: Vec<Value> = snapshot
        .iter()
        .flat_map(|chunk| chunk.as_array().unwrap())
        .cloned()
        .collect();
    assert_eq!(ids(&rows), [&jtis[0]], "the snapshot");

    // What is new, to a listener that is there and to one that comes back.
    for agent in &agents {
        let (token, _) = issuer.tokens(agent).await;
        jtis.push(claims(&token)["jti"].as_str().unwrap().to_owned());
        issuer.revoke(&token).await;
    }
    let (news, _) = events.until("heartbeat").await;
    let mut resumed = Events::with_key(&issuer, &key, Some(&id)).await;
    let (missed, _) = resumed.until("heartbeat").await;
    assert_eq!(ids(&missed), [&jtis[3]], "after coming back");
    let (more, _) = if news.is_empty() {
        events.until("heartbeat").await
    } else {
        (news, String::new())
    };
    assert_eq!(ids(&more), [&jtis[3]], "while listening");
}

/// I25
#[tokio::test]
async fn a_key_without_the_scope_does_not_listen_and_a_stream_ends_with_its_key() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("ours").await;
    let path = format!("/api/organizations/{organization}/api-keys");
    let other = issuer
        .api_key(
            &organization,
            json!({"name": "other", "scopes": ["audit:read"]}),
        )
        .await;
    let refused = issuer
        .request(Method::GET, "/oauth/revocations")
        .header("x-api-key", &other);
    Answer::to(refused)
        .await
        .expect_error(403, "insufficient_scope");

    let key = issuer
        .api_key(
            &organization,
            json!({"name": "feed", "scopes": ["revocations:read"]}),
        )
        .await;
    let mut events = Events::with_key(&issuer, &key, None).await;
    events.until("live").await;
    let keys = issuer.admin(Method::GET, &path, None).await.json();
    let keys = keys["api_keys"].as_array().unwrap();
    let id = keys.iter().find(|key| key["name"] == "feed").unwrap()["id"]
        .as_str()
        .unwrap();
    let revoked = issuer
        .admin(Method::DELETE, &format!("{path}/{id}"), None)
        .await;
    assert!(
        matches!(revoked.status.as_u16(), 200 | 204),
        "{}",
        revoked.text
    );
    assert!(events.ends().await);
}

/// I11
#[tokio::test]
async fn a_stream_ends_when_its_client_is_deactivated() {
    let issuer = Issuer::start().await;
    let client = issuer.agent(&["revocations:read"]).await;
    let request = issuer.request(Method::GET, "/oauth/revocations");
    let request = request.basic_auth(&client.client_id, Some(&client.client_secret));
    let mut events = Events::of(request).await;
    events.until("live").await;
    let path = format!("/api/agents/{}/deactivate", client.id);
    assert_eq!(issuer.admin(Method::POST, &path, None).await.status, 200);
    assert!(events.ends().await);
}

/// I11
#[tokio::test]
async fn a_stream_ends_with_its_client_also_where_that_is_locked_out() {
    let issuer = Issuer::builder().with("FAILURE_LIMIT", "1").start().await;
    let client = issuer.agent(&["revocations:read"]).await;
    let listen = |secret: &str| {
        let request = issuer.request(Method::GET, "/oauth/revocations");
        request.basic_auth(&client.client_id, Some(secret))
    };
    let mut events = Events::of(listen(&client.client_secret)).await;
    events.until("live").await;
    Answer::to(listen("wrong"))
        .await
        .expect_error(401, "invalid_client");
    Answer::to(listen(&client.client_secret))
        .await
        .expect_error(429, "too_many_requests");
    let path = format!("/api/agents/{}", client.id);
    let deleted = issuer.admin(Method::DELETE, &path, None).await;
    assert!(deleted.status.is_success());
    assert!(events.ends().await);
}
