//! Agents that live when everything is healed: by them each invariant has a case, whatever became of the load.

use super::client::{Client, Owned, until, until_told};
use super::history::{Outcome, Server, Token};

/// An agent that is asked for until somebody tells.
#[derive(Debug)]
pub(super) struct Canary<'a> {
    client: &'a Client,
    agent: Owned,
}

impl<'a> Canary<'a> {
    /// Everything that can happen to an agent, in order, to its end.
    ///
    /// # Panics
    /// When something is not as it must be where all is well.
    pub(super) async fn dies(client: &'a Client) -> Owned {
        let mut canary = Self::hatch(client).await;
        canary.issues().await;
        let redeemed = canary.refreshes().await;
        canary.refreshes().await;
        canary.re_uses(redeemed).await;

        canary.rotates().await;
        assert_eq!(canary.issue(0).await, Outcome::Refused, "a former secret");
        let token = canary.issues().await;
        canary.revokes(token).await;

        canary.ends().await;
        let current = canary.agent.current_secret();
        assert_eq!(canary.issue(current).await, Outcome::Refused, "it ended");
        canary.agent
    }

    /// One that goes on, with a token that was revoked and one that was not. Returns when every resource server has
    /// accepted the one and refused it then.
    ///
    /// # Panics
    /// When that does not come to pass in time.
    pub(super) async fn lives(client: &'a Client) -> Owned {
        let mut canary = Self::hatch(client).await;
        canary.issues().await;
        let token = canary.issues().await;
        canary.gets_everywhere(token, Outcome::Done).await;
        canary.revokes(token).await;
        canary.gets_everywhere(token, Outcome::Refused).await;
        canary.agent
    }

    async fn hatch(client: &'a Client) -> Self {
        let mut hatched = None;
        until("no agent", Outcome::is_done, async || {
            hatched = client.create(0).await;
            match hatched {
                Some(_) => Outcome::Done,
                None => Outcome::Unknown,
            }
        })
        .await;
        let agent = hatched.expect("it was created");
        Self { client, agent }
    }

    async fn issue(&mut self, secret: usize) -> Outcome {
        // The last issuer, and the first all the rest: what one is told, the other knows.
        let (client, agent) = (self.client, &mut self.agent);
        until_told(async || client.issue(client.issuers() - 1, agent, secret).await).await
    }

    async fn issues(&mut self) -> Token {
        let secret = self.agent.current_secret();
        assert_eq!(self.issue(secret).await, Outcome::Done, "a token");
        *self.agent.accesses.last().expect("it was given one")
    }

    /// Goes on in its first family. Returns what it presented.
    async fn refreshes(&mut self) -> Token {
        let (client, agent) = (self.client, &self.agent);
        let presented = *agent.families[0].last().expect("a family has a token");
        let mut given = None;
        let outcome = until_told(async || {
            let told = client.refresh(0, agent, presented).await;
            given = told.1;
            told.0
        })
        .await;
        assert_eq!(outcome, Outcome::Done, "a refresh");
        let given = given.expect("a refresh gives a pair");
        Client::take(&mut self.agent, 0, given);
        presented
    }

    async fn re_uses(&self, redeemed: Token) {
        let again = async || self.client.refresh(0, &self.agent, redeemed).await.0;
        assert_eq!(until_told(again).await, Outcome::Refused, "a re-use");
    }

    async fn rotates(&mut self) {
        let (client, agent) = (self.client, &mut self.agent);
        let rotated = until_told(async || client.rotate(0, agent).await).await;
        assert_eq!(rotated, Outcome::Done, "a rotation");
    }

    async fn revokes(&self, token: Token) {
        let revoked = async || self.client.revoke(0, &self.agent, token).await;
        assert_eq!(until_told(revoked).await, Outcome::Done, "a revocation");
    }

    async fn ends(&self) {
        let deactivated = async || self.client.deactivate(0, &self.agent).await;
        assert_eq!(until_told(deactivated).await, Outcome::Done, "its end");
    }

    /// Waits until every resource server answers the token like that.
    async fn gets_everywhere(&self, token: Token, outcome: Outcome) {
        for server in Server::ALL {
            let call = async || self.client.call(server, self.agent.number, token).await;
            let what = format!("{server:?} does not answer {outcome:?}");
            until(&what, |told| told == outcome, call).await;
        }
    }
}
