//! What there is to see when everything is healed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::HEALS_WITHIN;
use super::canary::Canary;
use super::client::{AGAIN_AFTER, Client, Owned, until_told};
use super::history::{Aftermath, Outcome, Server, Shown};
use super::invariants::EVENTS;
use super::scene::Scene;
use crate::fault_proxy::Trouble;
use crate::http::Answer;
use crate::receiver::Receiver;

/// How many agents are looked at the same time.
const AT_ONCE: usize = 12;
/// How many tokens of an agent are tried at resource servers.
const TRIED: usize = 6;

/// Heals a scene, and waits until all of it serves: a new token is accepted everywhere, and refused everywhere once it is
/// revoked. Returns the agents that this took.
///
/// # Panics
/// When that does not come to pass in time.
pub async fn heal(scene: &Scene, client: &Client) -> [Owned; 2] {
    for link in scene.store_links.iter().chain([&scene.feed_link]) {
        link.set(Trouble::None);
        link.cut();
    }
    let deadline = Instant::now() + HEALS_WITHIN;
    for issuer in 0..client.issuers() {
        while !is_ready(client, issuer).await {
            assert!(Instant::now() < deadline, "issuer {issuer} does not heal");
            sleep(AGAIN_AFTER).await;
        }
    }
    let dead = Canary::dies(client).await;
    // Whoever hears of this one's revocation has heard of all that ended before.
    let alive = Canary::lives(client).await;
    client.book.is_calm();
    [dead, alive]
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

/// Tries an agent's secrets and tokens, each until somebody tells, and shows what the server shows of it. `None` where it shows nothing.
async fn look_at(client: &Client, mut agent: Owned) -> Option<(usize, Shown)> {
    let known = agent.accesses.clone();
    let mut last = Outcome::Refused;
    for secret in 0..=agent.current_secret() {
        last = until_told(async || client.issue(secret, &mut agent, secret).await).await;
    }
    for (n, access) in known.iter().enumerate() {
        until_told(async || client.introspect(n, agent.number, *access).await).await;
    }
    for access in known.iter().rev().take(TRIED) {
        for server in Server::ALL {
            until_told(async || client.call(server, agent.number, *access).await).await;
        }
    }
    // One redeemed token comes again. Of an agent whose rotation nobody answered for, the secret may be wrong: then it is the
    // client that is refused, and no family ends.
    let long = agent.families.iter().find(|family| family.len() > 2);
    if let Some(family) = long.filter(|_| last.is_done()) {
        let presented = [family[0], family[family.len() - 1]];
        for (n, token) in presented.into_iter().enumerate() {
            until_told(async || client.refresh(n, &agent, token).await.0).await;
        }
        for access in &known {
            until_told(async || client.introspect(0, agent.number, *access).await).await;
        }
    }
    let path = format!("/api/agents/{}", agent.id);
    let answer = read(client, &path).await;
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

/// What an issuer answers, once it does.
async fn read(client: &Client, path: &str) -> Answer {
    let deadline = Instant::now() + HEALS_WITHIN;
    loop {
        let answer = Answer::try_to(client.admin(0, Method::GET, path)).await;
        if let Ok(answer) = answer
            && answer.status != 503
        {
            return answer;
        }
        assert!(Instant::now() < deadline, "nobody tells {path}");
        sleep(AGAIN_AFTER).await;
    }
}

async fn json(client: &Client, path: &str) -> Value {
    let answer = read(client, path).await;
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
            let answer = read(client, &path).await;
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
