//! Mixed load: owners who live through the whole life of one agent after the other, and watchers who try what was ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::client::{Client, Owned};
use super::history::{Moment, Outcome, Server};
use crate::dice::Dice;

/// How long somebody thinks between two requests, in milliseconds.
const PAUSE: (usize, usize) = (5, 40);
/// How long somebody waits who got no agent.
const AFTER_A_FAILURE: Duration = Duration::from_millis(150);
/// How many requests an agent's life has.
const LIFE: (usize, usize) = (6, 24);

/// All agents that were acknowledged, once their owners are done with them.
pub type Retired = Arc<Mutex<Vec<Owned>>>;

/// Somebody who owns one agent after the other, and asks one thing after the other about it.
#[derive(Debug)]
pub struct Owner {
    /// Who asks.
    pub client: Client,
    /// By chance.
    pub dice: Dice,
    /// Where agents go in the end.
    pub retired: Retired,
}

/// What an owner can do with its agent.
#[derive(Clone, Copy)]
enum Step {
    Issue,
    IssueByAFormerSecret,
    Refresh,
    RefreshTwiceAtOnce,
    ReUse,
    Rotate,
    Revoke,
    Introspect,
    Call,
}

/// Each as often as it comes.
const STEPS: [Step; 16] = [
    Step::Issue,
    Step::Issue,
    Step::Issue,
    Step::IssueByAFormerSecret,
    Step::Refresh,
    Step::Refresh,
    Step::Refresh,
    Step::RefreshTwiceAtOnce,
    Step::ReUse,
    Step::Rotate,
    Step::Revoke,
    Step::Revoke,
    Step::Introspect,
    Step::Call,
    Step::Call,
    Step::Call,
];

impl Owner {
    /// Lives until `end`.
    pub async fn work(mut self, end: Moment) {
        while self.client.book.now() < end {
            let issuer = self.dice.below(64);
            let Some(agent) = self.client.create(issuer).await else {
                sleep(AFTER_A_FAILURE).await;
                continue;
            };
            let agent = self.live(agent, end).await;
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.push(agent);
        }
    }

    async fn pause(&mut self) {
        sleep(self.dice.millis(PAUSE.0, PAUSE.1)).await;
    }

    async fn live(&mut self, mut agent: Owned, end: Moment) -> Owned {
        let mut life = Life::default();
        for _ in 0..LIFE.0 + self.dice.below(LIFE.1 - LIFE.0) {
            self.pause().await;
            if self.client.book.now() >= end {
                return agent;
            }
            let step = *self.dice.pick(&STEPS);
            self.step(step, &mut agent, &mut life).await;
            if life.is_uncertain {
                // Nobody knows its secret any more.
                return agent;
            }
        }
        if self.dice.percent(30) {
            let issuer = self.dice.below(64);
            self.client.deactivate(issuer, &agent).await;
            for issuer in [issuer, issuer + 1] {
                let secret = agent.current_secret();
                self.client.issue(issuer, &mut agent, secret).await;
            }
        }
        agent
    }

    async fn step(&mut self, step: Step, agent: &mut Owned, life: &mut Life) {
        let issuer = self.dice.below(64);
        let client = self.client.clone();
        match step {
            Step::Issue => {
                let secret = agent.current_secret();
                client.issue(issuer, agent, secret).await;
            }
            Step::IssueByAFormerSecret => {
                if agent.current_secret() > 0 {
                    let secret = self.dice.below(agent.current_secret());
                    client.issue(issuer, agent, secret).await;
                }
            }
            Step::Refresh => {
                if let Some(family) = self.family(agent, life) {
                    self.refresh(issuer, agent, family, life).await;
                }
            }
            Step::RefreshTwiceAtOnce => {
                if let Some(family) = self.family(agent, life) {
                    self.race(issuer, agent, family, life).await;
                }
            }
            Step::ReUse => {
                let long = |family: &usize| agent.families[*family].len() > 2;
                if let Some(family) = self.family(agent, life).filter(long) {
                    life.ended_families.push(family);
                    client
                        .refresh(issuer, agent, agent.families[family][0])
                        .await;
                    let newest = agent.families[family].len() - 1;
                    client
                        .refresh(issuer + 1, agent, agent.families[family][newest])
                        .await;
                }
            }
            Step::Rotate => {
                let outcome = client.rotate(issuer, agent).await;
                life.is_uncertain = outcome == Outcome::Unknown;
            }
            Step::Revoke => {
                if let Some(at) = self.some_access(agent) {
                    let access = agent.accesses[at];
                    if !life.revoked.contains(&at) && life.ended_families.is_empty() {
                        life.revoked.push(at);
                        client.revoke(issuer, agent, access).await;
                    }
                    client.introspect(issuer + 1, agent.number, access).await;
                }
            }
            Step::Introspect => {
                if let Some(at) = self.some_access(agent) {
                    client
                        .introspect(issuer, agent.number, agent.accesses[at])
                        .await;
                }
            }
            Step::Call => {
                if let Some(at) = self.some_access(agent) {
                    let server = *self.dice.pick(&Server::ALL);
                    client.call(server, agent.number, agent.accesses[at]).await;
                }
            }
        }
    }

    fn some_access(&mut self, agent: &Owned) -> Option<usize> {
        let count = agent.accesses.len();
        (count > 0).then(|| self.dice.below(count))
    }

    /// A family that goes on, as far as is known.
    fn family(&mut self, agent: &Owned, life: &Life) -> Option<usize> {
        let open = |family: &usize| !life.ended_families.contains(family);
        let open: Vec<_> = (0..agent.families.len()).filter(open).collect();
        (!open.is_empty()).then(|| *self.dice.pick(&open))
    }

    async fn refresh(&mut self, issuer: usize, agent: &mut Owned, family: usize, life: &mut Life) {
        let newest = agent.families[family].len() - 1;
        let presented = agent.families[family][newest];
        let (mut outcome, mut given) = self.client.refresh(issuer, agent, presented).await;
        if outcome == Outcome::Unknown {
            // An honest client asks again.
            (outcome, given) = self.client.refresh(issuer + 1, agent, presented).await;
        }
        match given {
            Some(given) => Client::take(agent, family, given),
            None if outcome != Outcome::Unreached => life.ended_families.push(family),
            None => {}
        }
    }

    async fn race(&mut self, issuer: usize, agent: &mut Owned, family: usize, life: &mut Life) {
        let newest = agent.families[family].len() - 1;
        let presented = agent.families[family][newest];
        let (one, other) = tokio::join!(
            self.client.refresh(issuer, agent, presented),
            self.client.refresh(issuer + 1, agent, presented),
        );
        match one.1.or(other.1) {
            Some(given) => Client::take(agent, family, given),
            None => life.ended_families.push(family),
        }
    }
}

/// What an owner knows of its agent.
#[derive(Default)]
struct Life {
    is_uncertain: bool,
    revoked: Vec<usize>,
    ended_families: Vec<usize>,
}

/// Tries one ended token after the other at a resource server, until `end`.
pub async fn watch(client: Client, server: Server, mut dice: Dice, end: Moment) {
    while client.book.now() < end {
        if let Some((agent, access)) = client.book.one_of_the_ended(dice.below(1 << 20)) {
            client.call(server, agent, access).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}
