//! The checker can fail: each invariant is broken once.

use super::super::history::{Loss, Pair, Shown};
use super::*;

const BOUNDS: Bounds = Bounds {
    edge: Duration::from_secs(10),
    api: Duration::from_secs(300),
};

/// A run with one agent, in which one thing happens each second.
struct Story {
    history: History,
    aftermath: Aftermath,
}

impl Story {
    /// The agent was created, and got a token with each of the pairs 1/2, 11/12, 21/22 …
    fn with_tokens(count: usize) -> Self {
        let shown = Shown {
            is_active: true,
            tokens: i64::try_from(count).unwrap(),
            refreshes: 0,
        };
        let mut story = Self {
            history: History {
                calm: Duration::from_secs(1_000),
                ..History::default()
            },
            aftermath: Aftermath {
                agents: [(0, shown)].into(),
                tokens: [shown.tokens, 0],
                ..Aftermath::default()
            },
        };
        story.happens(Act::Create, Outcome::Done);
        for n in 0..count {
            story.happens(issue(0, Some(pair(n))), Outcome::Done);
        }
        story
    }

    /// The next second. What is recorded and delivered of it, is.
    fn happens(&mut self, act: Act, outcome: Outcome) {
        let second = u64::try_from(self.history.entries.len()).unwrap();
        self.at(Duration::from_secs(second), act, outcome);
        if let Some(event) = event_of(act)
            && outcome == Outcome::Done
        {
            *self.aftermath.recorded.entry((0, event)).or_default() += 1;
            *self.aftermath.delivered.entry((0, event)).or_default() += 1;
        }
    }

    fn at(&mut self, sent: Moment, act: Act, outcome: Outcome) {
        self.history.entries.push(Entry {
            agent: 0,
            act,
            sent,
            answered: sent + Duration::from_millis(100),
            outcome,
        });
    }

    fn refreshes(&mut self, presented: usize, given: Pair) {
        let given = Some(given);
        self.happens(Act::Refresh { presented, given }, Outcome::Done);
    }

    fn refreshed(&mut self, count: i64) {
        self.aftermath.tokens[1] = count;
        self.shown().refreshes = count;
    }

    fn shown(&mut self) -> &mut Shown {
        self.aftermath.agents.get_mut(&0).unwrap()
    }

    fn loses(&mut self, second: u64) {
        self.history.losses.push(Loss {
            at: Duration::from_secs(second),
            window: Duration::from_secs(1),
        });
    }

    /// The invariants that do not hold.
    fn broken(&self) -> Vec<&'static str> {
        let invariants = check(&self.history, &self.aftermath, &BOUNDS);
        let broken = invariants.iter().filter(|one| !one.violations.is_empty());
        broken.map(|one| one.name).collect()
    }
}

fn pair(n: usize) -> Pair {
    Pair {
        access: 10 * n + 1,
        refresh: 10 * n + 2,
    }
}

fn issue(secret: usize, given: Option<Pair>) -> Act {
    Act::Issue { secret, given }
}

#[test]
fn a_run_in_which_all_promises_are_kept_breaks_nothing() {
    let mut story = Story::with_tokens(2);
    story.refreshes(2, pair(5));
    story.refreshes(2, pair(5));
    story.refreshes(52, pair(6));
    story.refreshed(2);
    let again = Act::Refresh {
        presented: 2,
        given: None,
    };
    story.happens(again, Outcome::Refused);
    story.happens(Act::Introspect { access: 61 }, Outcome::Refused);
    story.happens(Act::Introspect { access: 11 }, Outcome::Done);
    story.happens(Act::Revoke { access: 11 }, Outcome::Done);
    story.happens(Act::Introspect { access: 11 }, Outcome::Refused);
    story.happens(Act::Rotate, Outcome::Done);
    story.happens(issue(0, None), Outcome::Refused);
    story.happens(Act::Deactivate, Outcome::Done);
    story.happens(issue(1, None), Outcome::Refused);
    story.shown().is_active = false;
    assert_eq!(story.broken(), [""; 0]);
}

#[test]
fn an_agent_that_is_gone_is_found() {
    let mut story = Story::with_tokens(0);
    story.aftermath.agents.clear();
    assert_eq!(story.broken(), ["no acknowledged agent is lost"]);
    story.loses(1);
    assert_eq!(story.broken(), [""; 0], "the store may lose a second");
}

#[test]
fn an_agent_that_is_active_again_is_found() {
    let mut story = Story::with_tokens(0);
    story.happens(Act::Deactivate, Outcome::Done);
    assert_eq!(story.broken(), ["no acknowledged agent is lost"]);
}

#[test]
fn a_former_secret_that_is_good_is_found() {
    let mut story = Story::with_tokens(1);
    story.happens(Act::Rotate, Outcome::Done);
    story.at(Duration::from_secs(9), issue(0, None), Outcome::Unknown);
    assert_eq!(story.broken(), [""; 0], "nobody knows");
    story.happens(issue(0, Some(pair(7))), Outcome::Done);
    story.shown().tokens += 1;
    story.aftermath.tokens[0] += 1;
    assert_eq!(story.broken(), ["no secret is good after its rotation"]);
}

#[test]
fn a_secret_that_is_lost_is_found() {
    let mut story = Story::with_tokens(0);
    story.happens(Act::Rotate, Outcome::Done);
    let late = story.history.calm + Duration::from_secs(1);
    story.at(late, issue(1, None), Outcome::Unknown);
    assert_eq!(story.broken(), [""; 0], "nobody knows");
    story.at(late, issue(1, None), Outcome::Refused);
    assert_eq!(story.broken(), ["no acknowledged secret is lost"]);
    // Where a rotation was not answered, the secret is another one perhaps.
    story.at(Duration::from_secs(5), Act::Rotate, Outcome::Unknown);
    assert_eq!(story.broken(), [""; 0]);
}

#[test]
fn a_token_for_a_deactivated_agent_is_found() {
    let mut story = Story::with_tokens(0);
    story.happens(Act::Deactivate, Outcome::Done);
    story.shown().is_active = false;
    story.happens(issue(0, Some(pair(1))), Outcome::Done);
    story.shown().tokens += 1;
    story.aftermath.tokens[0] += 1;
    assert_eq!(story.broken(), ["no token for a deactivated agent"]);
}

#[test]
fn two_successors_of_one_refresh_token_are_found() {
    let mut story = Story::with_tokens(1);
    story.refreshes(2, pair(5));
    story.refreshes(2, pair(6));
    story.refreshed(1);
    assert_eq!(story.broken(), ["a refresh token has one successor"]);
}

#[test]
fn a_redeemed_refresh_token_that_is_good_again_is_found() {
    let mut story = Story::with_tokens(1);
    story.refreshes(2, pair(5));
    story.refreshes(52, pair(6));
    story.refreshes(2, pair(5));
    story.refreshed(2);
    assert_eq!(
        story.broken(),
        ["re-use of a refresh token ends its family"]
    );
}

#[test]
fn a_family_that_outlives_a_re_use_is_found() {
    let mut story = Story::with_tokens(1);
    story.refreshes(2, pair(5));
    story.refreshes(52, pair(6));
    let again = Act::Refresh {
        presented: 2,
        given: None,
    };
    story.happens(again, Outcome::Refused);
    story.happens(Act::Introspect { access: 1 }, Outcome::Done);
    story.refreshes(62, pair(7));
    story.refreshed(3);
    assert_eq!(
        story.broken(),
        [
            "re-use of a refresh token ends its family",
            "no ended token is active at an issuer"
        ]
    );
}

#[test]
fn a_revoked_token_that_is_active_is_found() {
    let mut story = Story::with_tokens(1);
    story.happens(Act::Revoke { access: 1 }, Outcome::Done);
    story.happens(Act::Introspect { access: 1 }, Outcome::Done);
    assert_eq!(story.broken(), ["no ended token is active at an issuer"]);
}

#[test]
fn a_revoked_token_that_is_accepted_too_long_is_found() {
    let (edge, api) = (Server::Edge, Server::Api);
    let call = |server| Act::Call { server, access: 1 };
    let mut story = Story::with_tokens(1);
    story.happens(Act::Revoke { access: 1 }, Outcome::Done);
    story.happens(call(edge), Outcome::Done);
    story.at(Duration::from_secs(13), call(edge), Outcome::Refused);
    story.at(Duration::from_secs(13), call(api), Outcome::Done);
    assert_eq!(story.broken(), [""; 0], "they may not have heard yet");
    story.at(Duration::from_secs(13), call(edge), Outcome::Done);
    let broken = ["no ended token is accepted beyond the bound"];
    assert_eq!(story.broken(), broken);
    story.history.entries.pop();
    story.history.calm = Duration::from_secs(5);
    assert_eq!(
        story.broken(),
        broken,
        "when all is well there is no excuse"
    );
}

#[test]
fn a_token_that_nobody_ended_and_that_is_refused_is_found() {
    let mut story = Story::with_tokens(1);
    let late = story.history.calm + Duration::from_secs(1);
    story.at(late, Act::Introspect { access: 1 }, Outcome::Unknown);
    assert_eq!(story.broken(), [""; 0], "nobody knows");
    story.at(late, Act::Introspect { access: 1 }, Outcome::Refused);
    assert_eq!(story.broken(), ["no token is refused that nobody ended"]);
    story.happens(Act::Revoke { access: 1 }, Outcome::Unknown);
    assert_eq!(story.broken(), [""; 0], "perhaps it was revoked");
}

#[test]
fn counters_that_are_wrong_are_found() {
    let broken = ["counters equal what was issued"];
    let mut story = Story::with_tokens(2);
    story.happens(issue(0, None), Outcome::Unknown);
    assert_eq!(story.broken(), [""; 0]);
    story.shown().tokens = 3;
    story.aftermath.tokens[0] = 3;
    assert_eq!(story.broken(), [""; 0], "it may have happened");
    story.shown().tokens = 4;
    assert_eq!(story.broken(), broken, "it cannot have happened twice");
    story.shown().tokens = 1;
    assert_eq!(story.broken(), broken, "two were acknowledged");
    story.shown().tokens = 2;
    story.aftermath.tokens[0] = 1;
    assert_eq!(story.broken(), broken, "and so does the sum say");
}

#[test]
fn events_that_are_lost_or_doubled_are_found() {
    let created = (0, "agent.created");
    let mut story = Story::with_tokens(0);
    story.aftermath.recorded.insert(created, 2);
    story.aftermath.delivered.remove(&created);
    assert_eq!(
        story.broken(),
        [
            "every event is recorded, and none twice",
            "every event is delivered, and no other"
        ]
    );
}

#[test]
fn a_broken_answer_and_a_broken_seal_are_found() {
    let mut story = Story::with_tokens(0);
    story.happens(issue(0, None), Outcome::Broken(500));
    story
        .aftermath
        .findings
        .push("the entry is gone".to_owned());
    assert_eq!(
        story.broken(),
        [
            "the audit trail is as it was sealed",
            "no answer but what is documented"
        ]
    );
}
