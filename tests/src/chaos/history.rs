//! What clients asked for and what they were told: all that a checker goes by.

use std::collections::HashMap;
use std::time::Duration;

/// Since the run began.
pub type Moment = Duration;

/// Where a token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Server {
    /// Behind the edge.
    Edge,
    /// The resource server that verifies by itself.
    Api,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Edge, Self::Api];
}

/// A token in the book: never its text.
pub type Token = usize;

/// What a grant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The access token.
    pub access: Token,
    /// The refresh token.
    pub refresh: Token,
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A new agent.
    Create,
    /// A token for the agent, by that of its secrets: the first is 0, the one from its first rotation 1.
    Issue {
        /// Which secret.
        secret: usize,
        /// What it gave.
        given: Option<Pair>,
    },
    /// The next pair of a family.
    Refresh {
        /// The refresh token.
        presented: Token,
        /// What it gave.
        given: Option<Pair>,
    },
    /// Another secret.
    Rotate,
    /// The end of an access token.
    Revoke {
        /// Which.
        access: Token,
    },
    /// The end of the agent and of all its tokens.
    Deactivate,
    /// Whether an access token is active, which is `Done` for yes and `Refused` for no.
    Introspect {
        /// Which.
        access: Token,
    },
    /// A request with an access token.
    Call {
        /// To whom.
        server: Server,
        /// With which.
        access: Token,
    },
}

impl Act {
    /// What it is called in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create an agent",
            Self::Issue { .. } => "issue a token",
            Self::Refresh { .. } => "refresh",
            Self::Rotate => "rotate a secret",
            Self::Revoke { .. } => "revoke a token",
            Self::Deactivate => "deactivate an agent",
            Self::Introspect { .. } => "introspect",
            Self::Call { .. } => "call with a token",
        }
    }
}

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It happened.
    Done,
    /// It did not, and there is a reason.
    Refused,
    /// Nobody took the request, so it did not happen.
    Unreached,
    /// The connection broke, or the server could not tell (503): it happened, or it did not.
    Unknown,
    /// The server failed with a status that is never right.
    Broken(u16),
}

impl Outcome {
    /// Whether it happened.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }

    /// Whether the client knows what became of it.
    pub fn is_told(self) -> bool {
        !matches!(self, Self::Unreached | Self::Unknown)
    }

    /// Whether it may have happened.
    pub fn is_possible(self) -> bool {
        !matches!(self, Self::Refused | Self::Unreached)
    }
}

/// One request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// About which agent.
    pub agent: usize,
    /// What was asked for.
    pub act: Act,
    /// When.
    pub sent: Moment,
    /// When the answer was there, or none could come any more.
    pub answered: Moment,
    /// What it was.
    pub outcome: Outcome,
}

/// A store that may have lost what it answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When it was killed.
    pub at: Moment,
    /// How much before that may be gone.
    pub window: Duration,
}

/// Everything that clients did in a run, in the order in which it ended.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was asked and answered.
    pub entries: Vec<Entry>,
    /// When the store may have lost something.
    pub losses: Vec<Loss>,
    /// When everything was healed, and every resource server was seen to hear of revocations again.
    pub calm: Moment,
}

impl History {
    /// Whether it happened for good.
    pub fn is_certain(&self, entry: &Entry) -> bool {
        entry.outcome == Outcome::Done && self.is_settled(entry)
    }

    /// Whether no loss of the store can have undone what was answered.
    pub fn is_settled(&self, entry: &Entry) -> bool {
        !self
            .losses
            .iter()
            .any(|loss| entry.sent <= loss.at && entry.answered + loss.window >= loss.at)
    }

    /// What was asked about each agent, in order of asking.
    pub fn by_agent(&self) -> Vec<Vec<&Entry>> {
        let mut agents: Vec<Vec<&Entry>> = Vec::new();
        for entry in &self.entries {
            if agents.len() <= entry.agent {
                agents.resize_with(entry.agent + 1, Vec::new);
            }
            agents[entry.agent].push(entry);
        }
        for entries in &mut agents {
            entries.sort_by_key(|entry| entry.sent);
        }
        agents
    }
}

/// What stands in the store afterwards, as the server tells it.
#[derive(Clone, Debug, Default)]
pub struct Aftermath {
    /// The agents that are there.
    pub agents: HashMap<usize, Shown>,
    /// Tokens by client credentials, and by refresh, over all agents.
    pub tokens: [i64; 2],
    /// The events of the trail, by agent.
    pub recorded: HashMap<(usize, &'static str), u64>,
    /// The events that reached the receiver, however often each, by agent.
    pub delivered: HashMap<(usize, &'static str), u64>,
    /// What is wrong with the trail's seals.
    pub findings: Vec<String>,
}

/// What the server shows of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Whether it is active.
    pub is_active: bool,
    /// Its tokens by client credentials.
    pub tokens: i64,
    /// Its tokens by refresh.
    pub refreshes: i64,
}
