//! The record of an API key, what it is made from, and what finds it.

use std::time::Duration;

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};

use super::{BY_DIGEST, BY_TEXT};
use crate::domain::agent::MAX_EXPIRES_IN;
use crate::domain::id::{ApiKeyId, OrganizationId, TeamId};
use crate::domain::teams::Team;
use crate::domain::text;
use crate::store::{Key, KeyName, Partition, Versioned};

/// How the text of every key of ours begins.
pub const PREFIX: &str = "mach_";
/// How the texts of keys begin that an import brought along.
const BROUGHT_PREFIX: &str = "sk_";
/// How much of the text is kept and shown, in characters.
pub(super) const SHOWN: usize = 12;

/// Lets a key administer its organization.
pub const ADMIN: &str = "admin";
/// Lets a key read the audit trail of its organization.
pub const AUDIT_READ: &str = "audit:read";
/// Everything that a key can be good for, which is also what a key has unless less was asked for.
pub const SCOPES: [&str; 4] = [ADMIN, "tokens:introspect", "revocations:read", AUDIT_READ];

/// The stored record of an API key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// Names it in the API.
    pub id: ApiKeyId,
    /// What it administers.
    pub organization_id: OrganizationId,
    /// The only team that it administers, where it is made for one.
    pub team_id: Option<TeamId>,
    /// For people.
    pub name: String,
    /// How its text begins, so that people recognise it.
    pub prefix: String,
    /// What it is good for.
    pub scopes: ScopeSet,
    /// The row that finds it.
    pub(super) text_digest: TextDigest,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused. `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// Names the row that finds a key: where it is, and under which hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TextDigest {
    /// SHA-256 of the text decides on the partition: it does not depend on the data key.
    pub(super) partition_of: String,
    pub(super) hash: String,
    /// Whether `hash` is another system's, without a key.
    #[serde(default)]
    pub(super) is_plain: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) organization_id: OrganizationId,
    pub(super) id: ApiKeyId,
}

/// What a key is made from.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// For people; 1 to [`text::MAX_NAME`] characters.
    pub name: String,
    /// The only team that it will administer.
    pub team: Option<Versioned<Team>>,
    /// What it will be good for; `None` for everything.
    pub scopes: Option<ScopeSet>,
    /// How long it works; 1 s to [`MAX_EXPIRES_IN`].
    pub expires_in: Option<Duration>,
}

/// A value that an API key cannot have. The text names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApiKey {
    /// The name is empty, too long, or holds control characters.
    #[error("name: 1 to {} characters, no control characters", text::MAX_NAME)]
    Name,
    /// A scope that an API key cannot have, or none at all.
    #[error("scopes: at least one of admin, tokens:introspect, revocations:read, audit:read")]
    Scopes,
    /// A lifetime of nothing, or of more than a century.
    #[error("expires_in: 1 to {MAX_EXPIRES_IN} seconds")]
    ExpiresIn,
}

impl NewApiKey {
    pub(super) fn validate(&self) -> Result<(), InvalidApiKey> {
        if !text::is_name(&self.name) {
            return Err(InvalidApiKey::Name);
        }
        if !self.scopes.as_ref().is_none_or(are_scopes) {
            return Err(InvalidApiKey::Scopes);
        }
        match self.expires_in.map(|lifetime| lifetime.as_secs()) {
            Some(0) => Err(InvalidApiKey::ExpiresIn),
            Some(seconds) if seconds > MAX_EXPIRES_IN => Err(InvalidApiKey::ExpiresIn),
            _ => Ok(()),
        }
    }
}

/// Whether a bearer token is the text of an API key, by how it begins.
pub fn is_text(token: &str) -> bool {
    token.starts_with(PREFIX) || token.starts_with(BROUGHT_PREFIX)
}

pub(super) fn all_scopes() -> ScopeSet {
    SCOPES
        .iter()
        .filter_map(|scope| scope.parse().ok())
        .collect()
}

pub(super) fn are_scopes(scopes: &ScopeSet) -> bool {
    !scopes.is_empty() && scopes.iter().all(|scope| SCOPES.contains(&scope.as_str()))
}

impl ApiKey {
    /// Whether it works at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

impl TextDigest {
    pub(super) fn plain(digest: &[u8; 32]) -> Self {
        Self {
            partition_of: base64url::encode(&digest[..8]),
            hash: base64url::encode(digest),
            is_plain: true,
        }
    }

    pub(super) fn key(&self) -> Key {
        let table = if self.is_plain { &BY_DIGEST } else { &BY_TEXT };
        let hash = KeyName::try_from(self.hash.as_str()).expect("base64url is a valid key name");
        table.key(Partition::of(&self.partition_of)).with(&hash)
    }
}
