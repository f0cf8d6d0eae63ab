//! Issuers are killed while they deliver: every event arrives at every receiver, and what arrives twice has a reason.
//!
//! `scripts/webhooks-under-fire` runs this with ten thousand events and ten kills.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use machineauth_tests::http::{self, Answer};
use machineauth_tests::installation::{ADMIN, Installation};
use machineauth_tests::process::Process;
use machineauth_tests::receiver::{Received, Receiver, Reply};
use reqwest::{Client, Method};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_issuer");
/// How many deliveries an issuer has in its hands at once, and so at most when it is killed.
const HANDS: usize = 16;
const CLIENTS: usize = 8;
/// A kill explains a second request for what was taken so long before, when the issuer had yet to note it,
const YET_TO_NOTE: Duration = Duration::from_secs(3);
/// and for what was on its way then, and arrived so long after.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// How much is to happen: little in every run of the tests, more where somebody asks for it.
#[expect(
    clippy::disallowed_methods,
    reason = "this is no setting of the server"
)]
fn asked_for(variable: &str, usually: usize) -> usize {
    let asked = std::env::var(variable).ok();
    asked.map_or(usually, |text| text.parse().expect("a number"))
}

/// One request for a delivery.
#[derive(Debug, Clone, Copy)]
struct Try {
    at: Instant,
    /// What the issuer calls it: after a crash it does not know that there was one before.
    attempt: u32,
    is_taken: bool,
}

/// What one receiver saw of each event.
#[derive(Debug, Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, Vec<Try>>>>);

/// Why something was sent again that had been taken.
#[derive(Debug, Clone, Copy)]
enum Cause {
    /// Its issuer was killed before it could note that.
    Crash,
    /// Its issuer waited in vain for the answer, and counts that attempt.
    TimeOut,
}

impl Cause {
    fn of(before: Try, again: Try, kills: &[Instant]) -> Option<Self> {
        let is_why = |kill: &Instant| {
            *kill <= before.at + YET_TO_NOTE && before.at <= *kill + ON_ITS_WAY && *kill <= again.at
        };
        match again.attempt > before.attempt {
            true => Some(Self::TimeOut),
            false => kills.iter().any(is_why).then_some(Self::Crash),
        }
    }
}

/// Requests for what had been taken before.
#[derive(Debug, Default)]
struct Duplicates {
    by_crash: usize,
    by_time_out: usize,
    unexplained: Vec<String>,
}

impl Book {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Try>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, received: &Received, is_taken: bool) {
        let event = received.json()["id"].as_str().unwrap().to_owned();
        let attempt = received.header("x-webhook-attempt").parse().unwrap();
        let at = Instant::now();
        self.open().entry(event).or_default().push(Try {
            at,
            attempt,
            is_taken,
        });
    }

    fn taken(&self) -> BTreeSet<String> {
        let book = self.open();
        let taken = book
            .iter()
            .filter(|(_, tries)| tries.iter().any(|one| one.is_taken));
        taken.map(|(event, _)| event.clone()).collect()
    }

    fn duplicates(&self, kills: &[Instant]) -> Duplicates {
        let mut found = Duplicates::default();
        for (event, tries) in self.open().iter() {
            let Some(first) = tries.iter().position(|one| one.is_taken) else {
                continue;
            };
            let mut cause = None;
            for at in first + 1..tries.len() {
                let (before, again) = (tries[at - 1], tries[at]);
                // Whoever sends something again goes on with it when the receiver fails then.
                let goes_on = !before.is_taken && again.attempt > before.attempt;
                if !goes_on {
                    cause = Cause::of(before, again, kills);
                }
                match cause {
                    Some(Cause::Crash) => found.by_crash += 1,
                    Some(Cause::TimeOut) => found.by_time_out += 1,
                    None => found.unexplained.push(format!("{event}: {tries:?}")),
                }
            }
        }
        found
    }
}

/// Issuers on one store, and who calls them.
struct Scene {
    place: Installation,
    issuers: Vec<Process>,
    bases: Arc<Mutex<Vec<String>>>,
    client: Client,
    kills: Vec<Instant>,
}

impl Scene {
    async fn set(place: Installation, issuers: usize) -> Self {
        let mut scene = Self {
            place,
            issuers: Vec::new(),
            bases: Arc::new(Mutex::new(vec![String::new(); issuers])),
            client: http::client(),
            kills: Vec::new(),
        };
        for at in 0..issuers {
            scene.start(at).await;
        }
        scene
    }

    async fn start(&mut self, at: usize) {
        let hands = HANDS.to_string();
        let variables = [
            ("WEBHOOK_WORKER_COUNT", hands.as_str()),
            ("WEBHOOK_MAX_RETRIES", "20"),
            ("WEBHOOK_TIMEOUT_SECS", "5"),
            ("LOG", "warn"),
        ];
        let issuer = self.place.start_with(&variables).await;
        self.bases.lock().unwrap()[at].clone_from(&issuer.base);
        self.issuers.insert(at, issuer);
    }

    async fn kill_one(&mut self) {
        let at = self.kills.len() % self.issuers.len();
        self.kills.push(Instant::now());
        self.issuers.remove(at).kill().await;
        self.start(at).await;
    }

    async fn admin(&self, method: Method, path: &str, body: Value) -> Answer {
        let url = format!("{}{path}", self.issuers[0].base);
        let request = self.client.request(method, url);
        Answer::to(request.basic_auth(ADMIN.0, Some(ADMIN.1)).json(&body)).await
    }

    /// A receiver with a webhook to it, and what it sees.
    async fn receiver(
        &self,
        name: &str,
        behaviour: impl Fn(usize) -> Reply + Send + 'static,
    ) -> (Receiver, Book) {
        let book = Book::default();
        let (written, requests) = (book.clone(), AtomicUsize::new(0));
        let receiver = Receiver::that(move |received| {
            let reply = behaviour(requests.fetch_add(1, Ordering::Relaxed));
            written.note(received, reply.status < 300);
            reply
        })
        .await;
        let body = json!({
            "name": name,
            "url": receiver.url,
            "events": ["agent.created"],
            "retry_backoff_base": 1,
        });
        let created = self.admin(Method::POST, "/api/webhooks", body).await;
        assert_eq!(created.status, 201, "{}", created.text);
        (receiver, book)
    }

    /// Makes agents, with as many issuers as live, while one after the other is killed.
    async fn under_fire(&mut self, events: usize, kills: usize) {
        let made = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (made, bases) = (Arc::clone(&made), Arc::clone(&self.bases));
                let client = self.client.clone();
                tokio::spawn(async move {
                    while made.load(Ordering::Relaxed) < events {
                        let bases = bases.lock().unwrap().clone();
                        let base = &bases[made.load(Ordering::Relaxed) % bases.len()];
                        let request = client
                            .post(format!("{base}/api/agents"))
                            .basic_auth(ADMIN.0, Some(ADMIN.1))
                            .json(&json!({ "name": "a" }));
                        match request.send().await {
                            Ok(answer) if answer.status() == 201 => {
                                made.fetch_add(1, Ordering::Relaxed);
                            }
                            _ => tokio::time::sleep(Duration::from_millis(20)).await,
                        }
                    }
                })
            })
            .collect();
        for kill in 1..=kills {
            while made.load(Ordering::Relaxed) < events * kill / (kills + 1) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.kill_one().await;
        }
        for client in clients {
            client.await.unwrap();
        }
    }

    /// What really happened, whoever was answered.
    async fn recorded(&self) -> BTreeSet<String> {
        let path = "/api/audit-logs?action=agent.created&format=jsonl";
        let trail = self.admin(Method::GET, path, json!(null)).await;
        let lines = trail.text.lines().map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            entry["id"].as_str().unwrap().to_owned()
        });
        lines.collect()
    }
}

async fn every_event_arrives(place: Installation, issuers: usize) {
    let events = asked_for("MACHINEAUTH_TEST_EVENTS", 300);
    let kills = asked_for("MACHINEAUTH_TEST_KILLS", 3);
    let mut scene = Scene::set(place, issuers).await;
    let receivers = [
        scene.receiver("fast", |_| Reply::status(204)).await,
        scene
            .receiver("slow", |_| Reply {
                after: Duration::from_millis(100),
                ..Reply::status(200)
            })
            .await,
        // Three of any ten, no two of which are neighbours.
        scene
            .receiver("failing", |n| {
                Reply::status(if n * 7 % 10 < 3 { 500 } else { 202 })
            })
            .await,
    ];
    let begun = Instant::now();
    scene.under_fire(events, kills).await;
    let made_in = begun.elapsed();
    let recorded = scene.recorded().await;
    assert!(recorded.len() >= events, "{} of {events}", recorded.len());
    let patience =
        Duration::from_secs(90) + Duration::from_millis(30) * u32::try_from(events).unwrap();
    for (receiver, book) in &receivers {
        while book.taken() != recorded {
            assert!(
                begun.elapsed() < patience,
                "{}: {} of {}, {} of them unheard of",
                receiver.url,
                book.taken().len(),
                recorded.len(),
                book.taken().difference(&recorded).count()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    eprintln!(
        "{} events in {:.1} s, {kills} kills of {issuers} issuers; all delivered after {:.1} s",
        recorded.len(),
        made_in.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    let mut by_crash = 0;
    for ((_, book), name) in receivers.iter().zip(["fast", "slow", "failing"]) {
        let tries: usize = book.open().values().map(Vec::len).sum();
        let duplicates = book.duplicates(&scene.kills);
        eprintln!(
            "{name}: {tries} requests, {} duplicates by crashes, {} by time-outs",
            duplicates.by_crash, duplicates.by_time_out
        );
        assert!(duplicates.unexplained.is_empty(), "{duplicates:#?}");
        by_crash += duplicates.by_crash;
    }
    assert!(by_crash <= kills * HANDS, "no more than were in its hands");
}

/// I18
#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_though_the_issuer_is_killed_on_the_embedded_store() {
    every_event_arrives(Installation::embedded(PROGRAM), 1).await;
}

/// I18
#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_though_one_of_two_issuers_on_redis_is_killed() {
    every_event_arrives(Installation::on_redis(PROGRAM).await, 2).await;
}
