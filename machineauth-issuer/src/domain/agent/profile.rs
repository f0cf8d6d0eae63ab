//! What an administrator decides about an agent, and what of it can be accepted.

use std::time::Duration;

use machineauth_core::ErrorKind;
use machineauth_core::claims::Claims;
use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;

use super::{Agent, MachineClient, PublicKey};
use crate::domain::id::{OrganizationId, TeamId};
use crate::domain::json_object::{JsonObject, MAX_DEPTH};
use crate::domain::revocation::LONGEST_LIFETIME;
use crate::domain::text;

/// The most scopes that one agent can have.
pub const MAX_SCOPES: usize = 100;
/// The longest scope, in characters.
pub const MAX_SCOPE: usize = 128;
/// The longest list of scopes as one text, in characters: a token with all of them stays well below what verifiers take.
pub const MAX_SCOPE_TEXT: usize = 4096;
/// The longest accepted credential lifetime: a hundred years, in seconds.
pub const MAX_EXPIRES_IN: u64 = 100 * 365 * 86_400;
/// The most tags that one agent can have.
pub const MAX_TAGS: usize = 50;
/// The longest tag, in characters.
pub const MAX_TAG: usize = 64;
/// The most metadata, in bytes of JSON.
pub const MAX_METADATA: usize = 16 * 1024;
/// The most custom claims, in bytes of JSON.
pub const MAX_CLAIMS: usize = 2 * 1024;
/// The most audiences that one agent can ask for.
pub const MAX_AUDIENCES: usize = 20;
/// The longest audience, in characters.
pub const MAX_AUDIENCE: usize = 256;

/// Claims that mean something to verifiers, or will: nobody sets them by hand (RFC 7519 §4.1, RFC 9068 §2.2, RFC 8693
/// §4, OpenID Connect Core §2, and our own).
const RESERVED_CLAIMS: [&str; 35] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "scope",
    "scp",
    "client_id",
    "agent_id",
    "org_id",
    "team_id",
    "gen",
    "fid",
    "cnf",
    "act",
    "may_act",
    "azp",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "auth_time",
    "acr",
    "amr",
    "sid",
    "events",
    "toe",
    "txn",
    "roles",
    "groups",
    "entitlements",
    "dockId",
    "partyId",
];

/// What a new agent is made from.
#[derive(Debug, Clone, Default)]
pub struct NewAgent {
    /// Whom it will belong to.
    pub organization_id: Option<OrganizationId>,
    /// Its team there.
    pub team_id: Option<TeamId>,
    /// What makes it a machine client, if it is to be one.
    pub machine: Option<MachineClient>,
    /// How long it gets tokens; 1 s to [`MAX_EXPIRES_IN`].
    pub expires_in: Option<Duration>,
    /// Everything else. A name must be among it.
    pub profile: AgentChange,
}

/// What changes of an agent. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct AgentChange {
    /// For people; 1 to [`text::MAX_NAME`] characters.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// For people and their programs.
    pub tags: Option<Vec<String>>,
    /// For people and their programs: a JSON object, not interpreted.
    pub metadata: Option<JsonObject>,
    /// The most that its tokens can carry.
    pub scopes: Option<ScopeSet>,
    /// An inactive agent gets no token, and its tokens are refused.
    pub is_active: Option<bool>,
    /// From when on it gets no token; `Some(None)` for never.
    pub expires_at: Option<Option<Timestamp>>,
    /// How long its access tokens live; `Some(None)` for as long as its organization's or the server's.
    pub token_lifetime: Option<Option<Duration>>,
    /// Whether it gets refresh tokens, where the server issues them.
    pub refresh_tokens: Option<bool>,
    /// For whom it can ask tokens, beside the server's own audience.
    pub audiences: Option<Vec<String>>,
    /// Claims that its tokens carry as they are.
    pub claims: Option<JsonObject>,
    /// With what it can prove who it is; `Some(None)` for its secret only.
    pub public_key: Option<Option<PublicKey>>,
}

/// A value that an agent cannot have. The text names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAgent {
    /// The name is missing, empty, too long, or holds control characters.
    #[error("name: 1 to {} characters, no control characters", text::MAX_NAME)]
    Name,
    /// The description is too long, or holds control characters.
    #[error(
        "description: at most {} characters, no control characters",
        text::MAX_DESCRIPTION
    )]
    Description,
    /// Too many tags, or one that is empty or too long.
    #[error("tags: at most {MAX_TAGS}, each of 1 to {MAX_TAG} characters, no control characters")]
    Tags,
    /// Too much metadata.
    #[error("metadata: a JSON object of at most {MAX_METADATA} bytes, {MAX_DEPTH} levels deep")]
    Metadata,
    /// More scopes than one agent can have, or longer ones.
    #[error(
        "scopes: at most {MAX_SCOPES}, each of at most {MAX_SCOPE} characters, {MAX_SCOPE_TEXT} together"
    )]
    Scopes,
    /// A text that is no scope.
    #[error("scopes: each of printable ASCII without spaces, quotes and backslashes")]
    MalformedScope,
    /// A lifetime of nothing, or of more than a century.
    #[error("expires_in: 1 to {MAX_EXPIRES_IN} seconds")]
    ExpiresIn,
    /// A lifetime that no access token can have.
    #[error("token_lifetime: 1 to {} seconds, or null", LONGEST_LIFETIME.as_secs())]
    TokenLifetime,
    /// Too many audiences, or one that no token can have.
    #[error(
        "audiences: at most {MAX_AUDIENCES}, each of 1 to {MAX_AUDIENCE} characters without spaces"
    )]
    Audiences,
    /// Too many claims.
    #[error(
        "claims: a JSON object of at most {MAX_CLAIMS} bytes that verifiers can read: no name twice, at most 16 levels deep"
    )]
    Claims,
    /// No public key, or one that cannot be used.
    #[error(
        "public_key: a public key in PEM, or a JWK without its private half; RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519"
    )]
    PublicKey,
    /// A claim that verifiers give a meaning to.
    #[error("claims: {0:?} is reserved")]
    ReservedClaim(&'static str),
}

impl NewAgent {
    pub(super) fn validate(&self) -> Result<(), InvalidAgent> {
        if self.profile.name.is_none() {
            return Err(InvalidAgent::Name);
        }
        match self.expires_in.map(|lifetime| lifetime.as_secs()) {
            Some(0) => Err(InvalidAgent::ExpiresIn),
            Some(seconds) if seconds > MAX_EXPIRES_IN => Err(InvalidAgent::ExpiresIn),
            _ => self.profile.validate(),
        }
    }
}

impl AgentChange {
    /// The change that makes any agent be as `agent` is.
    pub fn describing(agent: &Agent) -> Self {
        let agent = agent.clone();
        Self {
            name: Some(agent.name),
            description: Some(agent.description),
            tags: Some(agent.tags),
            metadata: Some(agent.metadata),
            scopes: Some(agent.scopes),
            is_active: Some(agent.is_active),
            expires_at: Some(agent.expires_at),
            token_lifetime: Some(agent.token_lifetime),
            refresh_tokens: Some(agent.refresh_tokens),
            audiences: Some(agent.audiences),
            claims: Some(agent.claims),
            public_key: Some(agent.public_key),
        }
    }

    /// Checks everything that is to change.
    ///
    /// # Errors
    /// Names the first field that does not hold what an agent can have.
    pub fn validate(&self) -> Result<(), InvalidAgent> {
        let checks = [
            (
                self.name.as_deref().is_none_or(text::is_name),
                InvalidAgent::Name,
            ),
            (
                self.description.as_deref().is_none_or(text::is_description),
                InvalidAgent::Description,
            ),
            (
                self.tags.as_deref().is_none_or(are_tags),
                InvalidAgent::Tags,
            ),
            (
                self.metadata
                    .as_ref()
                    .is_none_or(|object| object.fits(MAX_METADATA)),
                InvalidAgent::Metadata,
            ),
            (
                self.scopes.as_ref().is_none_or(are_scopes),
                InvalidAgent::Scopes,
            ),
            (
                self.token_lifetime.flatten().is_none_or(is_token_lifetime),
                InvalidAgent::TokenLifetime,
            ),
            (
                self.audiences.as_deref().is_none_or(are_audiences),
                InvalidAgent::Audiences,
            ),
            (
                self.claims.as_ref().is_none_or(are_claims),
                InvalidAgent::Claims,
            ),
        ];
        if let Some((_, invalid)) = checks.into_iter().find(|(holds, _)| !holds) {
            return Err(invalid);
        }
        let claims = self.claims.as_ref().map(JsonObject::members);
        let claims = claims.unwrap_or_default();
        let mut reserved = RESERVED_CLAIMS.into_iter();
        let reserved = reserved.find(|name| claims.contains_key(*name));
        reserved.map_or(Ok(()), |name| Err(InvalidAgent::ReservedClaim(name)))
    }

    /// Applies everything but whether the agent is active, which is more than a change of its record.
    pub(super) fn apply(self, agent: &mut Agent) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut agent.name, self.name);
        set(&mut agent.description, self.description);
        set(&mut agent.tags, self.tags);
        set(&mut agent.metadata, self.metadata);
        set(&mut agent.scopes, self.scopes);
        set(&mut agent.expires_at, self.expires_at);
        set(&mut agent.token_lifetime, self.token_lifetime);
        set(&mut agent.refresh_tokens, self.refresh_tokens);
        set(&mut agent.audiences, self.audiences);
        set(&mut agent.claims, self.claims);
        set(&mut agent.public_key, self.public_key);
    }
}

/// The scopes that these texts are.
///
/// # Errors
/// When they are too many, or one is none.
pub fn scopes(texts: &[String]) -> Result<ScopeSet, InvalidAgent> {
    // Before the set is made: making one compares each with all before it.
    if texts.len() > MAX_SCOPES {
        return Err(InvalidAgent::Scopes);
    }
    let scopes: Result<ScopeSet, _> = texts.iter().map(|scope| scope.parse()).collect();
    scopes.map_err(|_| InvalidAgent::MalformedScope)
}

fn are_tags(tags: &[String]) -> bool {
    let is_tag = |tag: &String| {
        let length = tag.chars().count();
        (1..=MAX_TAG).contains(&length) && !tag.chars().any(char::is_control)
    };
    tags.len() <= MAX_TAGS && tags.iter().all(is_tag)
}

fn are_scopes(scopes: &ScopeSet) -> bool {
    let lengths = || scopes.iter().map(|scope| scope.as_str().len());
    scopes.len() <= MAX_SCOPES
        && lengths().map(|length| length + 1).sum::<usize>() <= MAX_SCOPE_TEXT
        && lengths().all(|length| length <= MAX_SCOPE)
}

fn is_token_lifetime(lifetime: Duration) -> bool {
    !lifetime.is_zero() && lifetime <= LONGEST_LIFETIME
}

fn are_audiences(audiences: &[String]) -> bool {
    let is_audience = |audience: &String| {
        (1..=MAX_AUDIENCE).contains(&audience.chars().count())
            && !audience
                .chars()
                .any(|character| character.is_whitespace() || character.is_control())
    };
    audiences.len() <= MAX_AUDIENCES && audiences.iter().all(is_audience)
}

/// Whether they fit, and verifiers can read the token that they are in (RFC 8725 §2.4): what they cannot read nobody can revoke.
fn are_claims(claims: &JsonObject) -> bool {
    let mut token = br#"{"iss":"i","sub":"s","aud":"a","exp":0}"#.to_vec();
    claims.append_to(&mut token);
    // Names that verifiers give a meaning to are looked at by themselves.
    claims.fits(MAX_CLAIMS) && !is_malformed(&token)
}

fn is_malformed(token: &[u8]) -> bool {
    Claims::parse(token).is_err_and(|error| error.kind() == ErrorKind::MalformedToken)
}
