//! What there is to see when everything is healed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{Client, Owned};
use super::history::{Aftermath, Outcome, Server, Shown};
use super::invariants::EVENTS;
use super::scene::Scene;
use crate::fault_proxy::Trouble;
use crate::http::Answer;
use crate::receiver::Receiver;

/// How long everything may need to be well again, and to deliver what waits.
const HEALS_WITHIN: Duration = Duration::from_secs(90);
/// How many agents are looked at the same time.
const AT_ONCE: usize = 12;
/// How many tokens of an agent are tried at resource servers.
const TRIED: usize = 6;

const EVERYWHERE: [Server; 2] = [Server::Edge, Server::Api];

/// Heals a scene, and waits until all of it serves: a new token is accepted everywhere, and refused everywhere once it is
/// revoked.
///
/// # Panics
/// When that does not come to pass in time.
pub async fn heal(scene: &Scene, client: &Client) -> Owned {
    for link in scene.store_links.iter().chain([&scene.feed_link]) {
        link.set(Trouble::None);
        link.cut();
    }
    let deadline = Instant::now() + HEALS_WITHIN;
    let issuers = scene.issuers.len();
    for issuer in 0..issuers {
        while !is_ready(client, issuer).await {
            assert!(Instant::now() < deadline, "issuer {issuer} does not heal");
            sleep(Duration::from_millis(50)).await;
        }
    }
    let canary = client.create(0).await;
    let mut canary = canary.expect("an issuer that is ready creates an agent");
    let issued = client.issue(issuers - 1, &mut canary, 0).await;
    assert_eq!(issued, Outcome::Done, "an issuer that is ready issues");
    let token = canary.accesses[0];
    for server in EVERYWHERE {
        while client.call(server, canary.number, token).await != Outcome::Done {
            assert!(Instant::now() < deadline, "{server:?} accepts nothing");
            sleep(Duration::from_millis(50)).await;
        }
    }
    let revoked = client.revoke(0, &canary, token).await;
    assert_eq!(revoked, Outcome::Done, "an issuer that is ready revokes");
    for server in EVERYWHERE {
        while client.call(server, canary.number, token).await != Outcome::Refused {
            assert!(Instant::now() < deadline, "{server:?} hears of nothing");
            sleep(Duration::from_millis(50)).await;
        }
    }
    client.book.is_calm();
    canary
}

async fn is_ready(client: &Client, issuer: usize) -> bool {
    let answer = Answer::try_to(client.get(issuer, "/health/ready")).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Tries everything that was ever given to anybody, and reads what the server says of it.
///
/// # Panics
/// When the server does not say.
pub async fn look(client: &Client, agents: Vec<Owned>, receiver: &Receiver) -> Aftermath {
    let numbers: HashMap<_, _> = agents
        .iter()
        .map(|agent| (agent.id.clone(), agent.number))
        .collect();
    let shown = stream::iter(agents).map(|agent| look_at(client, agent));
    let shown: Vec<_> = shown.buffer_unordered(AT_ONCE).collect().await;
    let trail = Trail::read(client).await;
    let delivered = deliveries(receiver, &trail).await;
    let metrics = json(client, "/metrics").await;
    let verification = json(client, "/api/audit-logs/verify").await;
    let findings = verification["findings"].as_array();
    let count = |name: &str| metrics[name].as_i64().expect("a counter is a number");
    Aftermath {
        agents: shown.into_iter().flatten().collect(),
        tokens: [count("tokens_issued"), count("tokens_refreshed")],
        recorded: by_agent(&trail.0, &numbers),
        delivered: by_agent(&delivered, &numbers),
        findings: findings
            .into_iter()
            .flatten()
            .map(Value::to_string)
            .collect(),
    }
}

/// Tries an agent's secrets and tokens, and shows what the server shows of it. `None` where it shows nothing.
async fn look_at(client: &Client, mut agent: Owned) -> Option<(usize, Shown)> {
    let known = agent.accesses.clone();
    for secret in 0..=agent.current_secret() {
        client.issue(secret, &mut agent, secret).await;
    }
    for (n, access) in known.iter().enumerate() {
        client.introspect(n, agent.number, *access).await;
    }
    for access in known.iter().rev().take(TRIED) {
        for server in EVERYWHERE {
            client.call(server, agent.number, *access).await;
        }
    }
    // One redeemed token comes again.
    if let Some(family) = agent.families.iter().find(|family| family.len() > 2) {
        client.refresh(0, &agent, family[0]).await;
        client.refresh(1, &agent, family[family.len() - 1]).await;
        for access in &known {
            client.introspect(0, agent.number, *access).await;
        }
    }
    let path = format!("/api/agents/{}", agent.id);
    let answer = Answer::to(client.admin(0, Method::GET, &path)).await;
    if answer.status == 404 {
        return None;
    }
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    let shown = match &json["agent"] {
        Value::Null => &json,
        agent => agent,
    };
    let count = |name: &str| shown[name].as_i64().expect("a counter is a number");
    let is_active = shown["is_active"] == true;
    let (tokens, refreshes) = (count("token_count"), count("refresh_count"));
    let shown = Shown {
        is_active,
        tokens,
        refreshes,
    };
    Some((agent.number, shown))
}

async fn json(client: &Client, path: &str) -> Value {
    let answer = Answer::to(client.admin(0, Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// An event: what it is called, of which agent, and its own identifier.
type Event = (&'static str, String, String);

/// The events of the audit trail.
struct Trail(Vec<Event>);

impl Trail {
    async fn read(client: &Client) -> Self {
        let mut events = Vec::new();
        for action in EVENTS {
            let path = format!("/api/audit-logs?action={action}&format=jsonl");
            let answer = Answer::to(client.admin(0, Method::GET, &path)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            for line in answer.text.lines() {
                let entry: Value = serde_json::from_str(line).expect("each line is JSON");
                events.push((action, text(&entry, "agent_id"), text(&entry, "id")));
            }
        }
        Self(events)
    }
}

/// What reached the receiver, each once, when all of the trail has; or when that takes too long.
async fn deliveries(receiver: &Receiver, trail: &Trail) -> Vec<Event> {
    let deadline = Instant::now() + HEALS_WITHIN;
    let recorded: HashSet<_> = trail.0.iter().cloned().collect();
    loop {
        let received = receiver.received();
        let events = received.iter().filter_map(|delivery| {
            let body = delivery.json();
            let event = EVENTS.into_iter().find(|event| body["event"] == *event)?;
            Some((event, text(&body, "agent_id"), text(&body, "id")))
        });
        let delivered: HashSet<_> = events.collect();
        if recorded.is_subset(&delivered) || Instant::now() > deadline {
            return delivered.into_iter().collect();
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn by_agent(
    events: &[Event],
    numbers: &HashMap<String, usize>,
) -> HashMap<(usize, &'static str), u64> {
    let mut counts = HashMap::new();
    for (event, agent, _) in events {
        if let Some(number) = numbers.get(agent) {
            *counts.entry((*number, *event)).or_default() += 1;
        }
    }
    counts
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or_default().to_owned()
}
