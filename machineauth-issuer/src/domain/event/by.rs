//! Who does something, and how it reached us.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::id::{AgentId, ApiKeyId};

/// The longest user agent that is kept, in characters.
const MAX_USER_AGENT: usize = 200;

/// Who does something, and how it reached us. Handed by reference to whatever changes state, which records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// The address that asks for it.
    pub address: Option<IpAddr>,
    /// What the client says it is.
    pub user_agent: Option<UserAgent>,
    /// What the request is called in logs.
    pub request_id: Option<Box<str>>,
}

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// An administrator of the server.
    Administrator {
        /// Its address.
        email: Box<str>,
    },
    /// A program of an organization.
    ApiKey {
        /// Its key.
        id: ApiKeyId,
    },
    /// A client, with its secret or its token.
    Agent {
        /// Which.
        id: AgentId,
    },
    /// Somebody at the server's own command line.
    Cli,
    /// The server itself.
    System,
    /// Somebody who did not say.
    Anonymous,
    /// A newer version knows.
    #[default]
    #[serde(other)]
    Other,
}

impl Actor {
    /// What it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Administrator { .. } => "administrator",
            Self::ApiKey { .. } => "api_key",
            Self::Agent { .. } => "agent",
            Self::Cli => "cli",
            Self::System => "system",
            Self::Anonymous => "anonymous",
            Self::Other => "other",
        }
    }

    /// Which of its kind, where there are several.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Administrator { email } => Some(email.to_string()),
            Self::ApiKey { id } => Some(id.to_string()),
            Self::Agent { id } => Some(id.to_string()),
            Self::Cli | Self::System | Self::Anonymous | Self::Other => None,
        }
    }
}

impl By {
    /// The server itself.
    pub const SYSTEM: Self = Self::here(Actor::System);
    /// Somebody at the command line of the machine that the store is on.
    pub const CLI: Self = Self::here(Actor::Cli);

    const fn here(actor: Actor) -> Self {
        Self {
            actor,
            address: None,
            user_agent: None,
            request_id: None,
        }
    }

    /// The same request, now that it is known who makes it.
    #[must_use]
    pub fn known_as(&self, actor: Actor) -> Self {
        Self {
            actor,
            ..self.clone()
        }
    }
}

/// What a client says it is: at most 200 printable ASCII characters, so that it harms no terminal and no table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct UserAgent(Arc<str>);

impl UserAgent {
    /// Cleans what a client says. `None` when nothing is left.
    pub fn clean(said: &[u8]) -> Option<Self> {
        let text: String = said
            .iter()
            .take(MAX_USER_AGENT)
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '?',
            })
            .collect();
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for UserAgent {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<UserAgent> for String {
    fn from(user_agent: UserAgent) -> Self {
        user_agent.0.as_ref().to_owned()
    }
}

impl fmt::Display for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
