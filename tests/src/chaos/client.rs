//! A client: asks, and writes down what it was told.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::HEALS_WITHIN;
use super::book::Book;
use super::history::{Act, Outcome, Pair, Server, Token};
use crate::agent::Agent;
use crate::http::{self, Answer};
use crate::installation::ADMIN;

/// How long somebody waits before asking again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The issuers, as URLs.
    pub issuers: Vec<String>,
    /// The edge.
    pub edge: String,
    /// The resource server that verifies by itself.
    pub api: String,
}

/// An agent with all that it was ever given.
#[derive(Clone, Debug)]
pub struct Owned {
    /// What it is called in the book.
    pub number: usize,
    /// Names it in the API.
    pub id: String,
    client_id: String,
    secrets: Vec<String>,
    /// The refresh tokens of each family, each the successor of the one before.
    pub families: Vec<Vec<Token>>,
    /// All of its access tokens.
    pub accesses: Vec<Token>,
}

impl Owned {
    /// The number of its newest secret.
    pub fn current_secret(&self) -> usize {
        self.secrets.len() - 1
    }

    fn takes(&mut self, pair: Pair) {
        if !self.accesses.contains(&pair.access) {
            self.accesses.push(pair.access);
        }
    }
}

/// Somebody who calls the server and its resource servers.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    addresses: Addresses,
    /// What it has done.
    pub book: Book,
}

impl Client {
    /// One that writes in `book`.
    pub fn new(addresses: Addresses, book: Book) -> Self {
        Self {
            http: http::client(),
            addresses,
            book,
        }
    }

    /// A request by the administrator to one of the issuers.
    pub fn admin(&self, issuer: usize, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.at(issuer, path));
        request.basic_auth(ADMIN.0, Some(ADMIN.1))
    }

    /// A plain look at one of the issuers.
    pub fn get(&self, issuer: usize, path: &str) -> RequestBuilder {
        self.http.get(self.at(issuer, path))
    }

    /// How many issuers there are.
    pub fn issuers(&self) -> usize {
        self.addresses.issuers.len()
    }

    fn at(&self, issuer: usize, path: &str) -> String {
        let issuers = &self.addresses.issuers;
        format!("{}{path}", issuers[issuer % issuers.len()])
    }

    /// Creates an agent. `None` unless that was acknowledged.
    pub async fn create(&self, issuer: usize) -> Option<Owned> {
        let number = self.book.agent();
        let sent = self.book.now();
        let body = json!({ "name": "chaos", "scopes": ["read"] });
        let request = self.admin(issuer, Method::POST, "/api/agents").json(&body);
        let (outcome, answer) = told(request).await;
        self.book.write(number, Act::Create, sent, outcome);
        let created = Agent::read(&answer?);
        Some(Owned {
            number,
            id: created.id,
            client_id: created.client_id,
            secrets: vec![created.client_secret],
            families: Vec::new(),
            accesses: Vec::new(),
        })
    }

    /// Asks for a token with one of the agent's secrets.
    pub async fn issue(&self, issuer: usize, agent: &mut Owned, secret: usize) -> Outcome {
        let sent = self.book.now();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &agent.client_id),
            ("client_secret", &agent.secrets[secret]),
        ];
        let request = self.http.post(self.at(issuer, "/oauth/token")).form(&form);
        let (outcome, answer) = told(request).await;
        let given = answer.map(|answer| self.pair(&answer));
        let act = Act::Issue { secret, given };
        self.book.write(agent.number, act, sent, outcome);
        if let Some(given) = given {
            agent.takes(given);
            agent.families.push(vec![given.refresh]);
        }
        outcome
    }

    /// Redeems a refresh token, as the agent.
    pub async fn refresh(
        &self,
        issuer: usize,
        agent: &Owned,
        presented: Token,
    ) -> (Outcome, Option<Pair>) {
        let sent = self.book.now();
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &agent.client_id),
            ("client_secret", &agent.secrets[agent.current_secret()]),
            ("refresh_token", &self.book.text(presented)),
        ];
        let request = self.http.post(self.at(issuer, "/oauth/token")).form(&form);
        let (outcome, answer) = told(request).await;
        let given = answer.map(|answer| self.pair(&answer));
        let act = Act::Refresh { presented, given };
        self.book.write(agent.number, act, sent, outcome);
        (outcome, given)
    }

    /// Takes what a refresh in the agent's `family`th family gave.
    pub fn take(agent: &mut Owned, family: usize, given: Pair) {
        agent.takes(given);
        if agent.families[family].last() != Some(&given.refresh) {
            agent.families[family].push(given.refresh);
        }
    }

    /// Gives the agent another secret.
    pub async fn rotate(&self, issuer: usize, agent: &mut Owned) -> Outcome {
        let sent = self.book.now();
        let path = format!("/api/agents/{}/rotate", agent.id);
        let (outcome, answer) = told(self.admin(issuer, Method::POST, &path)).await;
        self.book.write(agent.number, Act::Rotate, sent, outcome);
        if let Some(answer) = answer {
            agent.secrets.push(answer.str("client_secret"));
        }
        outcome
    }

    /// Revokes an access token, as the agent.
    pub async fn revoke(&self, issuer: usize, agent: &Owned, access: Token) -> Outcome {
        let sent = self.book.now();
        let form = [("token", self.book.text(access))];
        let request = self.http.post(self.at(issuer, "/oauth/revoke")).form(&form);
        let (outcome, _) = told(request).await;
        let act = Act::Revoke { access };
        self.book.write(agent.number, act, sent, outcome);
        if outcome == Outcome::Done {
            self.book.ended(agent.number, &[access]);
        }
        outcome
    }

    /// Deactivates the agent.
    pub async fn deactivate(&self, issuer: usize, agent: &Owned) -> Outcome {
        let sent = self.book.now();
        let path = format!("/api/agents/{}/deactivate", agent.id);
        let (outcome, _) = told(self.admin(issuer, Method::POST, &path)).await;
        self.book
            .write(agent.number, Act::Deactivate, sent, outcome);
        if outcome == Outcome::Done {
            self.book.ended(agent.number, &agent.accesses);
        }
        outcome
    }

    /// Asks an issuer whether a token is active.
    pub async fn introspect(&self, issuer: usize, agent: usize, access: Token) -> Outcome {
        let sent = self.book.now();
        let form = [("token", self.book.text(access))];
        let url = self.at(issuer, "/oauth/introspect");
        let (outcome, answer) = told(self.http.post(url).form(&form)).await;
        let is_active = answer.is_some_and(|answer| answer.json()["active"] == true);
        let outcome = match outcome {
            Outcome::Done if !is_active => Outcome::Refused,
            other => other,
        };
        let act = Act::Introspect { access };
        self.book.write(agent, act, sent, outcome);
        outcome
    }

    /// Uses a token.
    pub async fn call(&self, server: Server, agent: usize, access: Token) -> Outcome {
        let sent = self.book.now();
        let base = match server {
            Server::Edge => &self.addresses.edge,
            Server::Api => &self.addresses.api,
        };
        let request = self.http.get(format!("{base}/artifacts"));
        let request = request.bearer_auth(self.book.text(access));
        let (outcome, _) = told(request).await;
        let act = Act::Call { server, access };
        self.book.write(agent, act, sent, outcome);
        outcome
    }

    fn pair(&self, answer: &Answer) -> Pair {
        Pair {
            access: self.book.token(answer.str("access_token")),
            refresh: self.book.token(answer.str("refresh_token")),
        }
    }
}

/// Asks until somebody tells: also where everything is well a busy machine has an answer too late now and then.
///
/// # Panics
/// When nobody does in time.
pub(super) async fn until_told(ask: impl AsyncFnMut() -> Outcome) -> Outcome {
    until("nobody tells", Outcome::is_told, ask).await
}

/// Asks until the outcome is the one that is waited for.
///
/// # Panics
/// With the complaint, when it is not in time.
pub(super) async fn until(
    complaint: &str,
    is_so: impl Fn(Outcome) -> bool,
    mut ask: impl AsyncFnMut() -> Outcome,
) -> Outcome {
    let deadline = Instant::now() + HEALS_WITHIN;
    loop {
        let outcome = ask().await;
        if is_so(outcome) {
            return outcome;
        }
        assert!(Instant::now() < deadline, "{complaint}: {outcome:?}");
        sleep(AGAIN_AFTER).await;
    }
}

/// What became of a request, and the answer where it is a good one.
async fn told(request: RequestBuilder) -> (Outcome, Option<Answer>) {
    match Answer::try_to(request).await {
        Err(error) if error.is_connect() => (Outcome::Unreached, None),
        Err(_) => (Outcome::Unknown, None),
        Ok(answer) => match answer.status.as_u16() {
            200..=299 => (Outcome::Done, Some(answer)),
            503 => (Outcome::Unknown, None),
            status @ 500.. => (Outcome::Broken(status), None),
            _ => (Outcome::Refused, None),
        },
    }
}
