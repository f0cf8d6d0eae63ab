//! What happens over time: counters by the hour for the server, by the day for each agent, forgotten after a while.
//!
//! A counter joins the batch that makes it true. Beside it lies an empty row that says how long it is kept: sweeping takes
//! a counter with the row of its name.

mod hours;

use std::time::Duration;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;

pub use self::hours::{HOURS, Hour, Hours};
use super::agent::Agent;
use super::id::AgentId;
use super::last_use::LastUses;
use crate::store::{Batch, Key, Partition, Store, StoreError};

const HOURLY: &str = "activity_by_hour";
const DAILY: &str = "activity_by_day";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// How many days of an agent are kept.
pub const DAYS: usize = 14;

/// What happens to tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happening {
    /// An access token was got by client credentials.
    Issued,
    /// An access token was got by refresh.
    Refreshed,
    /// A token or a family was revoked.
    Revoked,
    /// Somebody was refused: something wrong was presented, or too much was asked for. Known within a minute.
    Refused,
}

impl Happening {
    const ALL: [Self; 4] = [Self::Issued, Self::Refreshed, Self::Revoked, Self::Refused];

    fn key(self, partition: Partition, hour: u64) -> Key {
        let name = match self {
            Self::Issued => "issued",
            Self::Refreshed => "refreshed",
            Self::Revoked => "revoked",
            Self::Refused => "refused",
        };
        partition.key(HOURLY).with(name).with(hour)
    }
}

/// Counts, and remembers what it has said about how long counters are kept.
#[derive(Debug, Default)]
pub struct Activity {
    hours: LastUses<(Partition, Happening, u64)>,
    days: LastUses<(AgentId, u64)>,
}

/// A day of an agent, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// When it began.
    pub begin: Timestamp,
    /// Access tokens, however they were got.
    pub tokens: i64,
}

impl Activity {
    /// Adds to `batch`: that happened `n` times.
    pub fn count(&self, batch: Batch, what: Happening, n: i64, now: Timestamp) -> Batch {
        let hour = step_of(now, HOUR);
        let key = what.key(batch.partition(), hour);
        let batch = batch.add(&key, n);
        match self.hours.is_news((batch.partition(), what, hour), now) {
            true => keep(batch, &key, now, HOUR, HOURS),
            false => batch,
        }
    }

    /// Adds to `batch`, which is in the agent's home: it got a token.
    pub fn got_token(&self, batch: Batch, what: Happening, agent: &Agent, now: Timestamp) -> Batch {
        let day = step_of(now, DAY);
        let key = day_key(agent, day);
        let batch = self.count(batch, what, 1, now).add(&key, 1);
        match self.days.is_news((agent.id, day), now) {
            true => keep(batch, &key, now, DAY, DAYS),
            false => batch,
        }
    }
}

/// The last days of an agent, the latest last.
///
/// # Errors
/// The store's failure.
pub async fn days(
    store: &dyn Store,
    agent: &Agent,
    now: Timestamp,
) -> Result<Vec<Day>, StoreError> {
    let days: Vec<_> = steps(now, DAY, DAYS).collect();
    let keys: Vec<_> = days.iter().map(|day| day_key(agent, *day)).collect();
    let counts = store.counts(&keys).await?;
    let days = days.into_iter().zip(counts).map(|(day, tokens)| Day {
        begin: begin_of(day, DAY),
        tokens,
    });
    Ok(days.collect())
}

fn day_key(agent: &Agent, day: u64) -> Key {
    agent.home().key(DAILY).with(agent.id).with(day)
}

/// The counter is forgotten when nobody asks for its step any more.
fn keep(batch: Batch, key: &Key, now: Timestamp, step: Duration, n: usize) -> Batch {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    batch.put_until(
        key,
        Bytes::new(),
        now.saturating_add(step.saturating_mul(n)),
    )
}

fn step_of(at: Timestamp, step: Duration) -> u64 {
    at.as_secs() / step.as_secs()
}

fn begin_of(number: u64, step: Duration) -> Timestamp {
    Timestamp::from_secs(number.saturating_mul(step.as_secs()))
}

/// The numbers of the last `n` steps, the latest last.
fn steps(now: Timestamp, step: Duration, n: usize) -> impl Iterator<Item = u64> {
    let latest = step_of(now, step);
    let earliest = latest.saturating_sub(n.saturating_sub(1) as u64);
    earliest..=latest
}
