//! How a store grows: days of traffic in minutes, by a clock that is moved, and what lies in the store in the evening.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use machineauth_core::clock::{ManualClock, Timestamp};
use machineauth_issuer::store::{DynStore, Log, LogRead, Partition, Piece, Place};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::agent::Agent;
use crate::issuer::{ADMIN, Issuer};
use crate::receiver::{Receiver, Reply};

/// How many agents there always are.
const AGENTS: usize = 40;
/// What happens in an hour: tokens, refreshes, revocations, introspections.
const TOKENS: usize = 30;
const REFRESHES: usize = 10;
const REVOCATIONS: usize = 5;
const INTROSPECTIONS: usize = 5;
/// With which day the last one is compared.
const A_WEEK: usize = 7;
/// How much more there may be after another week.
const TOLERANCE: f64 = 1.1;
/// Rows swept in one step.
const SWEPT: usize = 1_000;
/// How long the sealer and the dispatcher may take for a day.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);

/// What is kept for how long, so that a few weeks show all of it end.
pub const SETTINGS: [(&str, &str); 5] = [
    ("AUDIT_KEEP_DAYS", "5"),
    ("AUDIT_TOKEN_EVENTS", "each"),
    ("WEBHOOK_KEEP_DAYS", "3"),
    ("JWT_ACCESS_TOKEN_EXPIRY", "3600"),
    ("JWT_SIGNING_ALGORITHM", "EdDSA"),
];

/// What a kind of thing takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How many there are.
    pub count: usize,
    /// Their keys and values, in bytes.
    pub bytes: usize,
}

/// What lies in a store, by the first part of its key.
#[derive(Clone, Debug, Default)]
pub struct Sizes(BTreeMap<String, Size>);

impl Sizes {
    /// Looks at everything.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn of(store: &DynStore) -> Self {
        let mut sizes = Self::default();
        for partition in Partition::all() {
            let mut place = Some(Place::START);
            while let Some(from) = place {
                let dumped = store.dump(partition, &from, 1_000).await;
                let (pieces, next) = dumped.expect("the store answers");
                for piece in &pieces {
                    sizes.add(&kind(piece), piece.weight());
                }
                place = next;
            }
            for log in Log::ALL {
                let tail = store.tail(partition, log).await.expect("the store answers");
                let read = store.log(partition, log, &tail, usize::MAX).await;
                let LogRead::Entries(entries) = read.expect("the store answers") else {
                    panic!("nobody trims the log now");
                };
                for (_, entry) in entries {
                    sizes.add(&format!("log: {}", log.as_str()), entry.len() + 32);
                }
            }
        }
        sizes
    }

    fn add(&mut self, kind: &str, bytes: usize) {
        let size = self.0.entry(kind.to_owned()).or_default();
        size.count += 1;
        size.bytes += bytes;
    }

    fn bytes(&self) -> usize {
        self.0.values().map(|size| size.bytes).sum()
    }

    fn get(&self, kind: &str) -> Size {
        self.0.get(kind).copied().unwrap_or_default()
    }
}

fn kind(piece: &Piece) -> String {
    let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    match piece {
        Piece::Row { path, .. } => first(path),
        Piece::Counter { path, .. } => format!("{} (counters)", first(path)),
        Piece::Tail { .. } | Piece::Entry { .. } => "log".to_owned(),
    }
}

/// An issuer on a store, those who use it, and the clock of both.
#[derive(Debug)]
pub struct Growth {
    issuer: Issuer,
    clock: ManualClock,
    receiver: Receiver,
    agents: VecDeque<Agent>,
    refresh_tokens: VecDeque<(Agent, String)>,
    evenings: Vec<Sizes>,
}

impl Growth {
    /// On this store, which goes by this clock.
    ///
    /// # Panics
    /// When the issuer does not start.
    pub async fn on(store: DynStore, clock: &ManualClock) -> Self {
        let mut builder = Issuer::builder().store(store).clock(clock);
        for (name, value) in SETTINGS {
            builder = builder.with(name, value);
        }
        let issuer = builder.start().await;
        let receiver = Receiver::that(|_| Reply::status(204)).await;
        let body = json!({ "name": "all", "url": receiver.url, "events": ["*"] });
        let created = issuer
            .admin(Method::POST, "/api/webhooks", Some(body))
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
        let mut agents = VecDeque::new();
        for _ in 0..AGENTS {
            agents.push_back(issuer.agent(&["read"]).await);
        }
        Self {
            issuer,
            clock: clock.clone(),
            receiver,
            agents,
            refresh_tokens: VecDeque::new(),
            evenings: Vec::new(),
        }
    }

    /// A clock to begin with.
    pub fn clock() -> ManualClock {
        ManualClock::new(Timestamp::from_secs(1_800_000_000))
    }

    /// Lets a day pass.
    ///
    /// # Panics
    /// When something is refused that should not be.
    pub async fn day(&mut self) {
        for _ in 0..24 {
            self.hour().await;
            self.clock.advance(Duration::from_secs(3_600));
        }
        self.settle().await;
        let app = &self.issuer.app;
        for partition in Partition::all() {
            app.maintenance().step(partition, true).await;
            // Redis goes by a clock that is not moved, and nothing is swept by one that disagrees with the store's.
            while app
                .store
                .sweep(partition, SWEPT)
                .await
                .expect("the store answers")
                == SWEPT
            {}
        }
        self.evenings.push(Sizes::of(&self.issuer.app.store).await);
    }

    /// What happened so far.
    pub fn report(&self) -> Report<'_> {
        Report(&self.evenings)
    }

    async fn hour(&mut self) {
        let issuer = &self.issuer;
        let who: Vec<_> = self.agents.iter().take(TOKENS).cloned().collect();
        self.agents.rotate_left(TOKENS);
        let got = join_all(who.iter().map(|agent| issuer.tokens(agent))).await;
        for (access, _) in got.iter().take(REVOCATIONS) {
            issuer.revoke(access).await;
        }
        for (access, _) in got.iter().take(REVOCATIONS + INTROSPECTIONS) {
            issuer.introspect(access).await;
        }
        let new = who
            .into_iter()
            .zip(got)
            .map(|(agent, (_, refresh))| (agent, refresh));
        self.refresh_tokens.extend(new.rev().take(REFRESHES));
        for _ in 0..REFRESHES {
            if let Some((agent, token)) = self.refresh_tokens.pop_front() {
                // Its agent may be gone by now.
                let answer = issuer.refresh(&agent, &token).await;
                if answer.status == 200 && self.refresh_tokens.len() < 10 * REFRESHES {
                    let next = answer.str("refresh_token");
                    self.refresh_tokens.push_back((agent, next));
                }
            }
        }
        if let Some(oldest) = self.agents.pop_front() {
            let path = format!("/api/agents/{}", oldest.id);
            let deleted = issuer.admin(Method::DELETE, &path, None).await;
            assert!(deleted.status.is_success(), "{}", deleted.text);
        }
        self.agents.push_back(issuer.agent(&["read"]).await);
        if let Some(agent) = self.agents.front_mut() {
            let path = format!("/api/agents/{}/rotate", agent.id);
            let rotated = issuer.admin(Method::POST, &path, None).await;
            agent.client_secret = rotated.str("client_secret");
            let stranger = Agent {
                client_secret: "wrong".to_owned(),
                ..agent.clone()
            };
            issuer.token_answer(&stranger).await;
        }
        let body = json!({ "email": ADMIN.0, "password": ADMIN.1 });
        let login = issuer.request(Method::POST, "/api/auth/login").json(&body);
        let login = crate::http::Answer::to(login).await;
        assert_eq!(login.status, 200, "{}", login.text);
    }

    /// Waits until the day is sealed and delivered, so that it can be forgotten when its time has come.
    async fn settle(&self) {
        let app = &self.issuer.app;
        app.recorder.flush().await.expect("the store answers");
        let deadline = Instant::now() + SETTLES_WITHIN;
        let mut heard = 0;
        loop {
            sleep(Duration::from_millis(1_500)).await;
            let hears = self.receiver.received().len();
            if app.sealer.lag() == Duration::ZERO && hears == heard {
                return;
            }
            heard = hears;
            assert!(Instant::now() < deadline, "the day is not over in time");
        }
    }
}

/// What lay in the store every evening.
#[derive(Debug)]
pub struct Report<'a>(&'a [Sizes]);

impl Report<'_> {
    /// Whether there is hardly more than a week before.
    pub fn is_bounded(&self) -> bool {
        self.growth().is_some_and(|growth| growth <= TOLERANCE)
    }

    /// How many times as much there is as a week before.
    fn growth(&self) -> Option<f64> {
        let (last, rest) = self.0.split_last()?;
        let before = &rest[rest.len().checked_sub(A_WEEK)?];
        Some(last.bytes() as f64 / before.bytes() as f64)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.0.last() else {
            return Ok(());
        };
        let shown: Vec<_> = (1..=self.0.len())
            .filter(|day| *day == 1 || day % A_WEEK == 0 || *day == self.0.len())
            .collect();
        write!(f, "{:34}", "bytes on day")?;
        for day in &shown {
            write!(f, " {day:>10}")?;
        }
        writeln!(f, " {:>10}", "rows")?;
        for kind in last.0.keys() {
            write!(f, "{kind:34}")?;
            for day in &shown {
                write!(f, " {:>10}", self.0[day - 1].get(kind).bytes)?;
            }
            writeln!(f, " {:>10}", last.get(kind).count)?;
        }
        write!(f, "{:34}", "together")?;
        for day in &shown {
            write!(f, " {:>10}", self.0[day - 1].bytes())?;
        }
        writeln!(f)?;
        match self.growth() {
            Some(growth) => writeln!(
                f,
                "the last day against the same a week before: {growth:.2} ({})",
                if self.is_bounded() {
                    "flat"
                } else {
                    "it grows"
                }
            ),
            None => Ok(()),
        }
    }
}
