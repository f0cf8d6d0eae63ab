//! Summing up what happens too often to be recorded one by one, or on the word of anybody at all.
//!
//! What is summed up together is a [`Subject`]; a tally holds a bounded number of them, and what comes on top is summed
//! up with all others. So nobody can fill the memory or the store, whatever names and addresses are invented.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::quota::{Buckets, Quota};

use super::{Action, Actor, By, COUNT, Fact};
use crate::domain::agent::Agent;
use crate::domain::id::{AgentId, OrganizationId, TeamId};
use crate::store::Partition;

/// How long is summed up.
pub(super) const PERIOD: Duration = Duration::from_secs(60);
/// The longest name that is kept of what a stranger says, in characters.
const MAX_NAME: usize = 64;
/// How the texts begin that are secrets, ours or others': in the place of a name they are a mistake, and not kept (I21).
const SECRET_PREFIXES: [&str; 9] = [
    "cs_", "mach_", "mai_", "mas_", "rt_", "dys_", "dyt_", "whsec_", "eyJ",
];

/// What is summed up together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    action: Action,
    /// Where it is recorded.
    home: Partition,
    organization: Option<OrganizationId>,
    team: Option<TeamId>,
    agent: Option<AgentId>,
    /// A block of addresses that one machine can have to itself.
    address: Option<IpAddr>,
    /// How it was tried.
    method: Option<&'static str>,
    name: Option<Box<str>>,
}

/// How often something happened, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

/// What was counted since the last time that somebody took it.
#[derive(Debug)]
pub(super) struct Tally {
    limit: usize,
    /// How often in the long run there may be one more subject.
    quota: Option<Buckets>,
    sums: Mutex<HashMap<Subject, Sum>>,
}

impl Subject {
    /// What happens to an agent's tokens.
    pub(super) fn of_agent(action: Action, agent: &Agent) -> Self {
        Self {
            organization: agent.organization_id,
            team: agent.team_id,
            agent: Some(agent.id),
            ..Self::others(action, agent.home())
        }
    }

    /// What a stranger causes.
    pub(super) fn of_stranger(
        action: Action,
        address: IpAddr,
        method: &'static str,
        name: Option<&str>,
    ) -> Self {
        Self {
            address: Some(address),
            method: Some(method),
            name: name.and_then(cleaned),
            ..Self::others(action, Partition::SYSTEM)
        }
    }

    /// Says which of our agents is meant, so that its organization sees it.
    #[must_use]
    pub(super) fn meaning(self, agent: &Agent) -> Self {
        Self {
            home: agent.home(),
            organization: agent.organization_id,
            team: agent.team_id,
            agent: Some(agent.id),
            ..self
        }
    }

    fn others(action: Action, home: Partition) -> Self {
        Self {
            action,
            home,
            organization: None,
            team: None,
            agent: None,
            address: None,
            method: None,
            name: None,
        }
    }

    /// Where it is recorded.
    pub(super) fn home(&self) -> Partition {
        self.home
    }

    /// How many were refused something.
    pub(super) fn refused(&self, sum: Sum) -> i64 {
        match self.action {
            Action::AuthenticationFailed | Action::LimitExceeded | Action::LimitLockedOut => {
                i64::try_from(sum.count).unwrap_or(i64::MAX)
            }
            _ => 0,
        }
    }

    /// What is recorded, and of whom.
    pub(super) fn fact(&self, sum: Sum) -> (Fact, By) {
        let mut fact = Fact::new(self.action)
            .with(COUNT, sum.count)
            .with("first_at", sum.first.as_millis())
            .with("last_at", sum.last.as_millis());
        fact.organization = self.organization;
        fact.team = self.team;
        fact.agent = self.agent;
        if let Some(method) = self.method {
            fact = fact.with("method", method);
        }
        if let Some(name) = &self.name {
            fact = fact.with("name", &**name);
        }
        let actor = match (self.action, self.agent, self.address) {
            (Action::TokenIssued, Some(id), _) => Actor::Agent { id },
            (.., Some(_)) => Actor::Anonymous,
            (.., None) => {
                if self.agent.is_none() {
                    fact = fact.because("all that were too many to be told apart");
                }
                Actor::System
            }
        };
        let by = By {
            address: self.address,
            ..By::SYSTEM.known_as(actor)
        };
        (fact, by)
    }
}

impl Tally {
    /// Tells up to `limit` subjects apart.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            quota: None,
            sums: Mutex::default(),
        }
    }

    /// Also in the long run: as many subjects as the quota has, and then one more in each of its intervals.
    pub(super) fn within(quota: Quota) -> Self {
        Self {
            quota: Some(Buckets::new(quota)),
            ..Self::new(usize::try_from(quota.burst).unwrap_or(usize::MAX))
        }
    }

    /// Counts that it happened once more.
    pub(super) fn count(&self, subject: Subject, now: Timestamp) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = |sums: &HashMap<_, _>| {
            let quota = self.quota.as_ref();
            sums.len() < self.limit && quota.is_none_or(|quota| quota.take((), now).is_ok())
        };
        let subject = match sums.contains_key(&subject) || has_room(&sums) {
            true => subject,
            // There is one of these for each action, beyond the limit.
            false => Subject::others(subject.action, Partition::SYSTEM),
        };
        sums.entry(subject)
            .and_modify(|sum| {
                sum.count += 1;
                sum.last = sum.last.max(now);
            })
            .or_insert(Sum {
                count: 1,
                first: now,
                last: now,
            });
    }

    /// Takes all sums, in the order in which they began.
    pub(super) fn take(&self) -> Vec<(Subject, Sum)> {
        let sums = std::mem::take(&mut *self.sums.lock().unwrap_or_else(PoisonError::into_inner));
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, sum)| sum.first);
        sums
    }
}

/// As much of a name as is kept: short, printable, and not something that looks like a secret.
fn cleaned(name: &str) -> Option<Box<str>> {
    if SECRET_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return Some("(a secret in the place of a name)".into());
    }
    let name: String = name
        .chars()
        .take(MAX_NAME)
        .map(|character| match character {
            ' '..='~' => character,
            _ => '?',
        })
        .collect();
    (!name.trim().is_empty()).then(|| name.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(name: &str) -> Subject {
        let address = "192.0.2.1".parse().unwrap();
        Subject::of_stranger(Action::LoginFailed, address, "login", Some(name))
    }

    #[test]
    fn a_hundred_thousand_invented_names_are_a_bounded_number_of_sums() {
        let tally = Tally::new(100);
        for n in 0..100_000 {
            tally.count(stranger(&format!("name {n}")), Timestamp::from_secs(n));
        }
        let sums = tally.take();
        assert_eq!(sums.len(), 101);
        assert_eq!(sums.iter().map(|(_, sum)| sum.count).sum::<u64>(), 100_000);
        let (others, sum) = sums.last().unwrap();
        assert_eq!((others.address, sum.count), (None, 99_900));
        assert!(tally.take().is_empty());
    }

    #[test]
    fn who_invents_names_for_days_gets_no_more_of_the_trail_than_the_quota() {
        let interval = Duration::from_secs(30);
        let tally = Tally::within(Quota {
            burst: 10,
            interval,
        });
        let mut told_apart = 0;
        for n in 0..600 {
            // Ten a minute, for an hour.
            tally.count(stranger(&format!("name {n}")), Timestamp::from_secs(6 * n));
            if n % 10 == 9 {
                let sums = tally.take();
                told_apart += sums
                    .iter()
                    .filter(|(subject, _)| subject.name.is_some())
                    .count();
            }
        }
        assert!((120..=131).contains(&told_apart), "{told_apart}");
    }

    /// I21
    #[test]
    fn a_secret_in_the_place_of_a_name_is_not_kept() {
        for secret in ["mach_abcdef", "cs_abcdef", "eyJhbGciOiJSUzI1NiJ9.e30.x"] {
            let name = stranger(secret).name.unwrap();
            assert!(!name.contains("abcdef") && !name.contains("e30"), "{name}");
        }
        let long = stranger(&"n\u{1b}\u{fffd}".repeat(100)).name.unwrap();
        assert_eq!(long.len(), 64);
        assert!(
            long.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{long}"
        );
        assert_eq!(stranger(" ").name, None);
    }
}
