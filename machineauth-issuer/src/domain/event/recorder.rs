//! What is recorded beside changes: the use of tokens, and what strangers cause.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use machineauth_core::clock::{Clock, Timestamp};
use machineauth_core::quota::Quota;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::tally::{PERIOD, Subject, Tally};
use super::{Action, Event};
use crate::domain::activity::{Activity, Happening};
use crate::domain::agent::Agent;
use crate::domain::id::OrganizationId;
use crate::store::{Batch, DynStore, Outcome, Partition, StoreError};
use crate::telemetry::Chain;

/// How many agents are told apart in one minute.
const MAX_AGENTS: usize = 10_000;
/// How many addresses and names of strangers are told apart: so many at once, and in the long run one more in each half
/// minute. Whoever invents names would else push everybody else's acts out of the trail.
const STRANGERS: Quota = Quota {
    burst: 250,
    interval: Duration::from_secs(30),
};
/// Sums in one commit.
const SUMS_PER_BATCH: usize = 100;
/// Commits that wait for a store that is away. Beyond that the oldest sums are lost.
const MAX_WAITING: usize = 1_000;
/// How often it is looked whether a minute is over.
const TICK: Duration = Duration::from_secs(1);
/// Marks sums as written for as long as their batch may be sent again.
const WRITTEN: &str = "summed_up";
const REMEMBERED: Duration = Duration::from_secs(3600);

/// How the use of tokens is recorded (`AUDIT_TOKEN_EVENTS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenEvents {
    /// One event each, in the commit that issues.
    Each,
    /// One event for each agent and minute.
    Aggregate,
}

/// What somebody wants to hear of tokens, beside what the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// An event each, for everybody's tokens.
    pub each: bool,
    /// An event each, for the tokens of these organizations.
    pub each_of: HashSet<OrganizationId>,
    /// Sums, also of what is recorded one by one.
    pub sums: bool,
}

/// Records the use of tokens, and what strangers cause.
#[derive(Debug)]
pub struct Recorder {
    store: DynStore,
    clock: Arc<dyn Clock>,
    token_events: TokenEvents,
    demand: ArcSwap<Demand>,
    tokens: Tally,
    strangers: Tally,
    activity: Activity,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// Since when it is summed up.
    since: Timestamp,
    batches: VecDeque<Batch>,
}

impl Recorder {
    /// Nothing has happened yet.
    pub fn new(store: DynStore, clock: Arc<dyn Clock>, token_events: TokenEvents) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                since: clock.now(),
                batches: VecDeque::new(),
            }),
            store,
            clock,
            token_events,
            demand: ArcSwap::from_pointee(Demand::default()),
            tokens: Tally::new(MAX_AGENTS),
            strangers: Tally::within(STRANGERS),
            activity: Activity::default(),
        }
    }

    /// Says what is wanted, whatever the configuration says. Replaces what was said before.
    pub fn demand(&self, demand: Demand) {
        self.demand.store(Arc::new(demand));
    }

    /// Whether what happens to the agent's tokens is recorded one by one.
    pub fn wants_each_token(&self, agent: &Agent) -> bool {
        let demand = self.demand.load();
        self.token_events == TokenEvents::Each
            || demand.each
            || agent
                .organization_id
                .is_some_and(|organization| demand.each_of.contains(&organization))
    }

    /// Whether what happens to the agent's tokens is summed up.
    pub fn wants_sums(&self, agent: &Agent) -> bool {
        !self.wants_each_token(agent) || self.demand.load().sums
    }

    /// What is counted over time.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Counts what happened to one of the agent's tokens.
    pub fn count_token(&self, action: Action, agent: &Agent, now: Timestamp) {
        self.tokens.count(Subject::of_agent(action, agent), now);
    }

    /// Counts what a stranger caused from `address`, which stands for a block of them, by `method` and in the name of
    /// `name`; `agent` is the one of ours that is called so.
    pub fn count_stranger(
        &self,
        action: Action,
        address: IpAddr,
        method: &'static str,
        name: Option<&str>,
        agent: Option<&Agent>,
    ) {
        let subject = Subject::of_stranger(action, address, method, name);
        let subject = match agent {
            Some(agent) => subject.meaning(agent),
            None => subject,
        };
        self.strangers.count(subject, self.clock.now());
    }

    /// Records every minute what was summed up, forever.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let due = self.waiting.lock().await.since.saturating_add(PERIOD);
            if due > self.clock.now() {
                continue;
            }
            if let Err(error) = self.flush().await {
                tracing::warn!(error = %Chain(&error), "what was summed up for the audit trail cannot be recorded; it is tried again");
            }
        }
    }

    /// Records what was summed up until now.
    ///
    /// # Errors
    /// The store's failure. What was summed up is kept and recorded with the next call, once.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let mut waiting = self.waiting.lock().await;
        let now = self.clock.now();
        waiting.since = now;
        waiting.batches.extend(self.take(now));
        let surplus = waiting.batches.len().saturating_sub(MAX_WAITING);
        if surplus > 0 {
            tracing::error!(
                surplus,
                "the store has been away for too long; sums for the audit trail are lost"
            );
            waiting.batches.drain(..surplus);
        }
        while let Some(batch) = waiting.batches.front() {
            // A conflict would mean that the marker is older than the batch, which is random.
            let (Outcome::Committed | Outcome::Conflict) = self.store.commit(batch).await?;
            waiting.batches.pop_front();
        }
        Ok(())
    }

    fn take(&self, now: Timestamp) -> Vec<Batch> {
        let mut events: BTreeMap<Partition, Vec<(Event, i64)>> = BTreeMap::new();
        for (subject, sum) in self.tokens.take().into_iter().chain(self.strangers.take()) {
            let (fact, by) = subject.fact(sum);
            let event = fact.happened(&by, now);
            let refused = subject.refused(sum);
            events
                .entry(subject.home())
                .or_default()
                .push((event, refused));
        }
        let batches = events.iter().flat_map(|(home, events)| {
            events.chunks(SUMS_PER_BATCH).map(|events| {
                // The marker lets the store recognise a batch that it has seen before.
                let marker = home.key(WRITTEN).with(Uuid::new_v4());
                let batch = Batch::new(*home).absent(&marker).put_until(
                    &marker,
                    bytes::Bytes::new(),
                    now.saturating_add(REMEMBERED),
                );
                let refused: i64 = events.iter().map(|(_, refused)| refused).sum();
                let batch = match refused {
                    0 => batch,
                    n => self.activity.count(batch, Happening::Refused, n, now),
                };
                events
                    .iter()
                    .fold(batch, |batch, (event, _)| event.append(batch))
            })
        });
        batches.collect()
    }
}
