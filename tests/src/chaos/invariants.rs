//! What must be true of a run, whatever died in it.
//!
//! The checker knows only what clients were told and what they see afterwards. What was acknowledged must hold; what was
//! refused must not have happened; of what nobody knows, either may be true.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::history::{Act, Aftermath, Entry, History, Moment, Outcome, Server};
use super::life::Life;

/// For how long a resource server may go on taking a token that was ended. In a run that is shorter only what it takes after
/// the calm breaks the promise: then it has heard of everything.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The edge.
    pub edge: Duration,
    /// The resource server that verifies by itself.
    pub api: Duration,
}

impl Bounds {
    fn of(&self, server: Server) -> Duration {
        match server {
            Server::Edge => self.edge,
            Server::Api => self.api,
        }
    }
}

/// Something that must be true, and where it is not.
#[derive(Clone, Debug)]
pub struct Invariant {
    /// What it is.
    pub name: &'static str,
    /// In how many cases it was looked at.
    pub checked: usize,
    /// Where it does not hold.
    pub violations: Vec<String>,
}

impl Invariant {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            checked: 0,
            violations: Vec::new(),
        }
    }

    fn case(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violations.push(otherwise());
        }
    }

    fn within(&mut self, bounds: &RangeInclusive<u64>, found: u64, what: &str) {
        self.case(bounds.contains(&found), || {
            format!("{what}: {found}, and it must be {bounds:?}")
        });
    }
}

/// What is recorded and delivered of an act, when it is.
pub fn event_of(act: Act) -> Option<&'static str> {
    match act {
        Act::Create => Some("agent.created"),
        Act::Rotate => Some("agent.credentials_rotated"),
        Act::Revoke { .. } => Some("token.revoked"),
        Act::Deactivate => Some("agent.deactivated"),
        Act::Issue { .. } | Act::Refresh { .. } | Act::Introspect { .. } | Act::Call { .. } => None,
    }
}

/// All events that acts cause.
pub const EVENTS: [&str; 4] = [
    "agent.created",
    "agent.credentials_rotated",
    "token.revoked",
    "agent.deactivated",
];

/// Looks whether everything holds that must.
pub fn check(history: &History, aftermath: &Aftermath, bounds: &Bounds) -> Vec<Invariant> {
    let lives: Vec<_> = history
        .by_agent()
        .into_iter()
        .enumerate()
        .map(|(agent, entries)| Life::new(history, agent, entries))
        .collect();
    let lives = &lives[..];
    vec![
        no_agent_is_lost(lives, aftermath),
        no_former_secret_is_good(lives),
        no_current_secret_is_lost(lives),
        nothing_for_the_deactivated(lives),
        one_successor(lives),
        re_use_ends_the_family(lives),
        no_ended_token_is_active(lives),
        no_ended_token_is_accepted(lives, bounds),
        no_good_token_is_lost(lives),
        counters_are_right(lives, aftermath),
        events(
            lives,
            "every event is recorded, and none twice",
            &aftermath.recorded,
        ),
        events(
            lives,
            "every event is delivered, and no other",
            &aftermath.delivered,
        ),
        the_trail_is_sealed(aftermath),
        no_answer_is_broken(history),
    ]
}

fn no_agent_is_lost(lives: &[Life<'_>], aftermath: &Aftermath) -> Invariant {
    let mut invariant = Invariant::new("no acknowledged agent is lost");
    for life in lives {
        let Some(created) = life.creation() else {
            continue;
        };
        let shown = aftermath.agents.get(&life.agent);
        invariant.case(shown.is_some(), || describe(created, "and it is gone"));
        if let (Some(shown), Some(ended)) = (shown, life.deactivation()) {
            invariant.case(!shown.is_active, || {
                describe(ended, "and the agent is active")
            });
        }
        if let Some(shown) = shown
            && !life.may_be_deactivated()
        {
            invariant.case(shown.is_active, || {
                describe(created, "and nobody deactivated it, but it is inactive")
            });
        }
    }
    invariant
}

fn no_former_secret_is_good(lives: &[Life<'_>]) -> Invariant {
    let mut invariant = Invariant::new("no secret is good after its rotation");
    for life in lives {
        for entry in &life.entries {
            if let Act::Issue { secret, .. } = entry.act
                && let Some(rotated) = life.rotation_of(secret)
                && entry.sent > rotated.answered
            {
                invariant.case(entry.outcome != Outcome::Done, || {
                    describe(entry, "with a secret that was rotated away")
                });
            }
        }
    }
    invariant
}

fn no_current_secret_is_lost(lives: &[Life<'_>]) -> Invariant {
    let mut invariant = Invariant::new("no acknowledged secret is lost");
    for life in lives {
        let Some(current) = life.current_secret() else {
            continue;
        };
        for entry in life.after_the_calm() {
            if let Act::Issue { secret, .. } = entry.act
                && secret == current
                && !life.may_be_deactivated()
            {
                invariant.case(entry.outcome != Outcome::Refused, || {
                    describe(entry, "with the secret that it was given last")
                });
            }
        }
    }
    invariant
}

fn nothing_for_the_deactivated(lives: &[Life<'_>]) -> Invariant {
    let mut invariant = Invariant::new("no token for a deactivated agent");
    for life in lives {
        let Some(ended) = life.deactivation() else {
            continue;
        };
        for entry in &life.entries {
            let asks = matches!(entry.act, Act::Issue { .. } | Act::Refresh { .. });
            if asks && entry.sent > ended.answered {
                invariant.case(entry.outcome != Outcome::Done, || {
                    describe(entry, "after its deactivation")
                });
            }
        }
    }
    invariant
}

fn one_successor(lives: &[Life<'_>]) -> Invariant {
    let mut invariant = Invariant::new("a refresh token has one successor");
    for life in lives {
        for (presented, redemptions) in life.redemptions() {
            let mut given = redemptions.iter().filter_map(|entry| match entry.act {
                Act::Refresh { given, .. } => given.map(|pair| pair.refresh),
                _ => None,
            });
            if let Some(first) = given.next() {
                invariant.case(given.all(|other| other == first), || {
                    format!("agent {}: token {presented} has several", life.agent)
                });
            }
        }
    }
    invariant
}

fn re_use_ends_the_family(lives: &[Life<'_>]) -> Invariant {
    let mut invariant = Invariant::new("re-use of a refresh token ends its family");
    for life in lives {
        for entry in &life.entries {
            let Act::Refresh { presented, .. } = entry.act else {
                continue;
            };
            if life.is_re_use(entry) {
                invariant.case(entry.outcome != Outcome::Done, || {
                    describe(entry, "although somebody went on from its successor")
                });
            } else if let Some(ended) = life.end_of_family(presented)
                && entry.sent > ended.answered
            {
                invariant.case(entry.outcome != Outcome::Done, || {
                    describe(entry, "although its family was ended")
                });
            }
        }
    }
    invariant
}

fn no_ended_token_is_active(lives: &[Life<'_>]) -> Invariant {
    let mut invariant = Invariant::new("no ended token is active at an issuer");
    for life in lives {
        for entry in &life.entries {
            if let Act::Introspect { access } = entry.act
                && let Some(ended) = life.end_of(access)
                && entry.sent > ended.answered
            {
                invariant.case(entry.outcome != Outcome::Done, || {
                    describe(entry, &format!("ended at {:.3?}", ended.answered))
                });
            }
        }
    }
    invariant
}

fn no_ended_token_is_accepted(lives: &[Life<'_>], bounds: &Bounds) -> Invariant {
    let mut invariant = Invariant::new("no ended token is accepted beyond the bound");
    for life in lives {
        for entry in &life.entries {
            let Act::Call { server, access } = entry.act else {
                continue;
            };
            let Some(ended) = life.end_of(access) else {
                continue;
            };
            let is_late = entry.sent > ended.answered + bounds.of(server)
                || (ended.answered < life.history.calm && entry.sent > life.history.calm);
            if is_late {
                invariant.case(entry.outcome != Outcome::Done, || {
                    describe(entry, &format!("ended at {:.3?}", ended.answered))
                });
            }
        }
    }
    invariant
}

fn no_good_token_is_lost(lives: &[Life<'_>]) -> Invariant {
    let mut invariant = Invariant::new("no token is refused that nobody ended");
    for life in lives {
        for entry in life.after_the_calm() {
            let access = match entry.act {
                Act::Introspect { access } | Act::Call { access, .. } => access,
                _ => continue,
            };
            if life.is_certainly_good(access) {
                invariant.case(entry.outcome != Outcome::Refused, || {
                    describe(entry, "although nobody ended it")
                });
            }
        }
    }
    invariant
}

fn counters_are_right(lives: &[Life<'_>], aftermath: &Aftermath) -> Invariant {
    let mut invariant = Invariant::new("counters equal what was issued");
    let mut totals = [(0, 0); 2];
    for life in lives {
        let bounds = [life.issued(), life.refreshed()];
        for (total, bound) in totals.iter_mut().zip(&bounds) {
            *total = (total.0 + bound.start(), total.1 + bound.end());
        }
        if let Some(shown) = aftermath.agents.get(&life.agent) {
            let found = [shown.tokens, shown.refreshes];
            for ((bound, found), what) in bounds.iter().zip(found).zip(["tokens", "refreshes"]) {
                let what = format!("{what} of agent {}", life.agent);
                invariant.within(bound, u64::try_from(found).unwrap_or(u64::MAX), &what);
            }
        }
    }
    for ((total, found), what) in totals
        .iter()
        .zip(aftermath.tokens)
        .zip(["tokens", "refreshes"])
    {
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        invariant.within(&(total.0..=total.1), found, &format!("all {what}"));
    }
    invariant
}

fn events(
    lives: &[Life<'_>],
    name: &'static str,
    found: &HashMap<(usize, &'static str), u64>,
) -> Invariant {
    let mut invariant = Invariant::new(name);
    for life in lives {
        // Of an agent whose creation was not answered nobody knows the name.
        if life.creation().is_none() {
            continue;
        }
        for event in EVENTS {
            let bounds = life.count(|act| event_of(act) == Some(event));
            let found = found.get(&(life.agent, event)).copied().unwrap_or(0);
            if *bounds.end() > 0 || found > 0 {
                invariant.within(&bounds, found, &format!("{event} of agent {}", life.agent));
            }
        }
    }
    invariant
}

fn the_trail_is_sealed(aftermath: &Aftermath) -> Invariant {
    let mut invariant = Invariant::new("the audit trail is as it was sealed");
    invariant.checked = 1;
    invariant.violations.clone_from(&aftermath.findings);
    invariant
}

fn no_answer_is_broken(history: &History) -> Invariant {
    let mut invariant = Invariant::new("no answer but what is documented");
    for entry in &history.entries {
        invariant.case(!matches!(entry.outcome, Outcome::Broken(_)), || {
            describe(entry, "")
        });
    }
    invariant
}

/// An entry in a line, for whoever looks for the fault.
pub(super) fn describe(entry: &Entry, remark: &str) -> String {
    let Entry {
        agent,
        act,
        sent,
        answered,
        outcome,
    } = entry;
    let moment = |moment: &Moment| format!("{:.3}", moment.as_secs_f64());
    format!(
        "agent {agent}: {act:?} at {}–{} s: {outcome:?} {remark}",
        moment(sent),
        moment(answered)
    )
}

#[cfg(test)]
#[path = "invariants_tests.rs"]
mod tests;
