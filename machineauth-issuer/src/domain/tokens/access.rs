//! Access tokens: what they say, and signing them.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::dpop::Thumbprint;
use machineauth_core::jws::{Type, sign_compact};
use machineauth_core::scope::ScopeSet;
use serde::Serialize;

use crate::domain::agent::{Agent, ForeignId, TOKEN_PREFIX, TokenFormat};
use crate::domain::id::{AgentId, ClientId, FamilyId, OrganizationId, TeamId, TokenId};
use crate::domain::keys::RingKey;
use crate::domain::organization::{IssuerUrl, Organization};
use crate::domain::vault::Vault;

/// Which shape access tokens have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The documented claims: `typ: JWT`, `scope` as an array.
    Machineauth,
    /// RFC 9068: `typ: at+jwt`, `scope` as a string, `client_id`.
    Rfc9068,
}

/// What every access token of this server has in common.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
    /// How long a token lives, at most.
    pub lifetime: Duration,
    /// The shape.
    pub profile: Profile,
}

/// What one access token says beside what all of them say.
#[derive(Debug, Clone, Copy)]
pub struct AccessContent<'a> {
    /// The `jti`.
    pub id: TokenId,
    /// The granted scopes.
    pub scope: &'a ScopeSet,
    /// Whom it is meant for; `None` for the server's own audience.
    pub audience: Option<&'a str>,
    /// The refresh family that it belongs to.
    pub family: Option<FamilyId>,
    /// The key that it is bound to (RFC 9449 §6).
    pub key: Option<Thumbprint>,
    /// The `iat`.
    pub issued_at: Timestamp,
}

/// An access token.
#[derive(Debug)]
pub struct AccessToken {
    /// The compact serialization (RFC 7515 §7.1), or a sealed value.
    pub text: String,
    /// The `exp` claim.
    pub expires_at: Timestamp,
}

/// Signs access tokens.
#[derive(Debug)]
pub struct Minter {
    settings: TokenSettings,
    vault: Arc<Vault>,
}

/// The claims, in the order in which they are written.
#[derive(Serialize)]
struct AccessTokenClaims<'a> {
    iss: &'a str,
    sub: ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    agent_id: AgentId,
    /// Empty while the agent belongs to no organization: the documented claims are always there.
    org_id: OrganizationClaim,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<TeamId>,
    aud: &'a str,
    iat: u64,
    exp: u64,
    scope: ScopeClaim<'a>,
    jti: TokenId,
    /// The agent's generation: seconds in `iat` are too coarse to say "issued before".
    r#gen: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fid: Option<FamilyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    /// The only dock that the token is good for.
    #[serde(rename = "dockId", skip_serializing_if = "Option::is_none")]
    dock_id: Option<&'a str>,
    /// Whom the client's acts are ascribed to.
    #[serde(rename = "partyId", skip_serializing_if = "Option::is_none")]
    party_id: Option<&'a str>,
}

/// What the token's user must prove to have (RFC 7800 §3.1).
#[derive(Serialize)]
struct Confirmation {
    jkt: Thumbprint,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OrganizationClaim {
    Member(OrganizationId),
    None(&'static str),
}

#[derive(Serialize)]
#[serde(untagged)]
enum ScopeClaim<'a> {
    Array(&'a ScopeSet),
    Text(String),
}

impl Minter {
    /// Makes tokens of this kind.
    pub fn new(settings: TokenSettings, vault: Arc<Vault>) -> Self {
        Self { settings, vault }
    }

    /// What all tokens have in common.
    pub fn settings(&self) -> &TokenSettings {
        &self.settings
    }

    /// Signs an access token for `agent` of `organization` with `key`, or seals it where its clients are to have opaque
    /// ones. It never outlives the agent.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn mint(
        &self,
        key: &RingKey,
        agent: &Agent,
        organization: Option<&Organization>,
        content: AccessContent<'_>,
    ) -> Result<AccessToken, machineauth_core::Error> {
        let end = self.end(agent, organization, content.issued_at);
        let machine = agent.machine.as_ref();
        let rfc9068 = self.settings.profile == Profile::Rfc9068;
        let claims = AccessTokenClaims {
            iss: organization
                .and_then(|organization| organization.issuer.as_ref())
                .map_or(&self.settings.issuer, IssuerUrl::as_str),
            sub: agent.client_id,
            client_id: (rfc9068 || agent.machine.is_some()).then(|| agent.client_name()),
            agent_id: agent.id,
            org_id: agent
                .organization_id
                .map_or(OrganizationClaim::None(""), OrganizationClaim::Member),
            team_id: agent.team_id,
            aud: content.audience.unwrap_or(&self.settings.audience),
            iat: content.issued_at.as_secs(),
            exp: end.as_secs(),
            scope: match rfc9068 {
                true => ScopeClaim::Text(content.scope.to_string()),
                false => ScopeClaim::Array(content.scope),
            },
            jti: content.id,
            r#gen: agent.generation,
            fid: content.family,
            cnf: content.key.map(|jkt| Confirmation { jkt }),
            dock_id: machine
                .and_then(|machine| machine.dock_id.as_ref())
                .map(ForeignId::as_str),
            party_id: machine
                .and_then(|machine| machine.party_id.as_ref())
                .map(ForeignId::as_str),
        };
        let mut payload = serde_json::to_vec(&claims).expect("claims are plain data");
        // None of the above: those names are reserved.
        agent.claims.append_to(&mut payload);
        let expires_at = Timestamp::from_secs(end.as_secs());
        if machine.is_some_and(|machine| machine.token_format == TokenFormat::Opaque) {
            let sealed = self.vault.seal_token(&payload);
            return Ok(AccessToken {
                text: format!("{TOKEN_PREFIX}{sealed}"),
                expires_at,
            });
        }
        let typ = if rfc9068 {
            Type::AccessToken
        } else {
            Type::Jwt
        };
        let text = sign_compact(&key.key, typ, key.kid.as_str(), &payload)?;
        Ok(AccessToken { text, expires_at })
    }

    /// When a token ends that is issued at `issued_at`.
    fn end(
        &self,
        agent: &Agent,
        organization: Option<&Organization>,
        issued_at: Timestamp,
    ) -> Timestamp {
        // Who sets an agent's lifetime need not be who sets the organization's.
        let most = organization.and_then(|organization| organization.token_lifetime);
        let lifetime = match (agent.token_lifetime, most) {
            (Some(own), Some(most)) => own.min(most),
            (own, most) => own.or(most).unwrap_or(self.settings.lifetime),
        };
        let end = issued_at.saturating_add(lifetime);
        agent.expires_at.map_or(end, |agent_end| end.min(agent_end))
    }
}
