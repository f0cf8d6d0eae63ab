//! Where clients write down what they did.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::history::{Act, Entry, History, Loss, Moment, Outcome, Token};

/// A book that everybody writes in. Clones are the same book.
#[derive(Clone, Debug)]
pub struct Book {
    began: Instant,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    history: History,
    agents: usize,
    /// Tokens have numbers here, so that none stands in a report.
    numbers: HashMap<String, Token>,
    texts: Vec<String>,
    /// Access tokens that were ended, with their agents.
    ended: Vec<(usize, Token)>,
}

impl Book {
    /// An empty one. Time begins now.
    pub fn open() -> Self {
        Self {
            began: Instant::now(),
            pages: Arc::default(),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the run has lasted.
    pub fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// The number of one more agent.
    pub fn agent(&self) -> usize {
        let mut pages = self.pages();
        pages.agents += 1;
        pages.agents - 1
    }

    /// The number of a token.
    pub fn token(&self, text: String) -> Token {
        let mut pages = self.pages();
        let next = pages.texts.len();
        let number = *pages.numbers.entry(text.clone()).or_insert(next);
        if number == next {
            pages.texts.push(text);
        }
        number
    }

    /// The text of a token.
    pub fn text(&self, token: Token) -> String {
        self.pages().texts[token].clone()
    }

    /// Writes down what was asked since `sent`, and answered now.
    pub fn write(&self, agent: usize, act: Act, sent: Moment, outcome: Outcome) {
        let answered = self.now();
        self.pages().history.entries.push(Entry {
            agent,
            act,
            sent,
            answered,
            outcome,
        });
    }

    /// Remembers access tokens that were ended, for whoever likes to try them.
    pub fn ended(&self, agent: usize, tokens: &[Token]) {
        let tokens = tokens.iter().map(|token| (agent, *token));
        self.pages().ended.extend(tokens);
    }

    /// The `n`th of the access tokens that were ended, counted in a circle.
    pub fn one_of_the_ended(&self, n: usize) -> Option<(usize, Token)> {
        let pages = self.pages();
        let count = pages.ended.len();
        (count > 0).then(|| pages.ended[n % count])
    }

    /// The store is killed now, and may lose so much.
    pub fn may_lose(&self, window: Duration) {
        let at = self.now();
        self.pages().history.losses.push(Loss { at, window });
    }

    /// All is well from now on.
    pub fn is_calm(&self) {
        let now = self.now();
        self.pages().history.calm = now;
    }

    /// What was written so far.
    pub fn history(&self) -> History {
        self.pages().history.clone()
    }
}
