//! From the document's objects to ours, without a look at the store.
//!
//! What names an object, or decides who may do what, is kept exactly or the object is refused. What works differently
//! here, or is only for people, is left out with a note.

mod webhook;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::sha256;
use machineauth_core::scope::{Scope, ScopeSet};
use uuid::Uuid;

use crate::domain::agent::{
    Agent, ForeignId, MAX_ROTATIONS, MachineClient, PublicKey, Rotation, TokenFormat,
};
use crate::domain::api_keys::BroughtApiKey;
use crate::domain::id::{AgentId, ApiKeyId, OrganizationId, SecretId, TeamId, WebhookId};
use crate::domain::organization::{
    InvalidOrganization, IssuerUrl, Organization, Origin, Plan, Slug,
};
use crate::domain::password_hash::PasswordHash;
use crate::domain::revocation::LONGEST_LIFETIME;
use crate::domain::secret::{SecretHash, StoredSecret};
use crate::domain::teams::Team;
use crate::domain::usage::Usage;
use crate::transfer::document::{
    AgentObject, ApiKeyObject, MachineObject, OrganizationObject, RotationObject, TeamObject, Time,
};

pub(super) use self::webhook::{WEBHOOK, webhook};

/// What the Go service writes as the issuer of every organization, whoever really issues.
const NOBODYS_ISSUER: &str = "https://auth.agentauth.io";
/// How an issuer begins that the Go service makes up for organizations that sign up by themselves.
const MADE_UP_ISSUER: &str = "machineauth-";
const SHOWN_OF_A_KEY: usize = 12;

/// What the members of each object are called.
pub(super) const ORGANIZATION: [&str; 10] = [
    "id",
    "name",
    "slug",
    "owner_email",
    "jwt_issuer",
    "jwt_expiry_secs",
    "allowed_origins",
    "plan",
    "created_at",
    "updated_at",
];
pub(super) const TEAM: [&str; 6] = [
    "id",
    "organization_id",
    "name",
    "description",
    "created_at",
    "updated_at",
];
pub(super) const AGENT: [&str; 27] = [
    "id",
    "organization_id",
    "team_id",
    "name",
    "description",
    "tags",
    "metadata",
    "client_id",
    "client_secret_hash",
    "scopes",
    "public_key",
    "status",
    "is_active",
    "created_at",
    "updated_at",
    "expires_at",
    "token_count",
    "refresh_count",
    // Here, an agent's last activity is its last token.
    "last_activity_at",
    "last_token_issued_at",
    "rotation_history",
    "token_lifetime",
    "refresh_tokens",
    "audiences",
    "claims",
    "machine",
    "suspended_itself",
];
pub(super) const API_KEY: [&str; 11] = [
    "id",
    "organization_id",
    "team_id",
    "name",
    "key_hash",
    "prefix",
    "last_used_at",
    "expires_at",
    "is_active",
    "created_at",
    "scopes",
];

/// What is said of an object beside whether it is accepted.
pub(super) type Notes = Vec<String>;

/// An identifier of ours from one of the document: the same where that is a UUID, otherwise one that follows from it, so
/// that every object that names it, and every later import, finds the same.
pub(super) trait FromDocument: Sized {
    const KIND: &'static str;

    fn parse(text: &str) -> Option<Self>;

    fn from_bytes(bytes: [u8; 16]) -> Self;

    fn read(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| {
            let digest = sha256(format!("machineauth import {}\n{text}", Self::KIND).as_bytes());
            let (bytes, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
            Self::from_bytes(
                *uuid::Builder::from_custom_bytes(*bytes)
                    .as_uuid()
                    .as_bytes(),
            )
        })
    }

    /// As [`FromDocument::read`], for the object that bears the identifier.
    fn bear(text: &str, notes: &mut Notes) -> Result<Self, String> {
        if text.is_empty() {
            return Err("id: missing".to_owned());
        }
        if Self::parse(text).is_none() {
            notes.push(format!("id: it was {text:?}, which is no UUID"));
        }
        Ok(Self::read(text))
    }
}

macro_rules! from_document {
    ($($id:ident: $kind:literal),*) => {
        $(impl FromDocument for $id {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Option<Self> {
                // The nil UUID stands for none, wherever it comes from.
                text.parse().ok().filter(|id: &Self| *id.as_bytes() != *Uuid::nil().as_bytes())
            }

            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self::from_bytes(bytes)
            }
        })*
    };
}

from_document!(OrganizationId: "organization", TeamId: "team", AgentId: "agent", ApiKeyId: "API key", WebhookId: "webhook");

pub(super) fn organization(
    object: OrganizationObject,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<Organization, String> {
    let created_at = Time::read(object.created_at).unwrap_or(now);
    let organization = Organization {
        id: OrganizationId::bear(&object.id, notes)?,
        name: object.name,
        slug: Slug::try_from(object.slug).map_err(|error| error.to_string())?,
        owner_email: object.owner_email,
        issuer: issuer(object.jwt_issuer, notes),
        token_lifetime: token_lifetime(object.jwt_expiry_secs, notes),
        allowed_origins: origins(&object.allowed_origins, notes),
        plan: plan(&object.plan, notes),
        created_at,
        updated_at: Time::read(object.updated_at).unwrap_or(created_at),
    };
    match organization.validate() {
        Ok(()) => Ok(organization),
        Err(invalid @ InvalidOrganization::OwnerEmail) => {
            notes.push(format!("left out: {invalid}"));
            let organization = Organization {
                owner_email: String::new(),
                ..organization
            };
            organization.validate().map_err(|error| error.to_string())?;
            Ok(organization)
        }
        Err(invalid) => Err(invalid.to_string()),
    }
}

fn issuer(text: String, notes: &mut Notes) -> Option<IssuerUrl> {
    if text.is_empty() || text == NOBODYS_ISSUER || text.starts_with(MADE_UP_ISSUER) {
        return None;
    }
    let issuer = IssuerUrl::try_from(text).ok();
    if issuer.is_none() {
        notes.push(format!("left out: {}", InvalidOrganization::Issuer));
    }
    issuer
}

fn token_lifetime(seconds: i64, notes: &mut Notes) -> Option<Duration> {
    let lifetime = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    if lifetime > LONGEST_LIFETIME {
        notes.push(format!("left out: {}", InvalidOrganization::TokenLifetime));
        return None;
    }
    (!lifetime.is_zero()).then_some(lifetime)
}

fn origins(text: &str, notes: &mut Notes) -> Vec<Origin> {
    let mut origins = Vec::new();
    for origin in text
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        match Origin::try_from(origin.to_owned()) {
            Ok(origin) => origins.push(origin),
            Err(_) if origin == "*" => notes.push(
                "allowed_origins: \"*\" is left out: no page may call the API until its origin is named"
                    .to_owned(),
            ),
            Err(invalid) => notes.push(format!("left out: {invalid}")),
        }
    }
    origins
}

fn plan(text: &str, notes: &mut Notes) -> Plan {
    if text.is_empty() {
        return Plan::default();
    }
    Plan::try_from(text).unwrap_or_else(|invalid| {
        notes.push(format!("left out: {invalid}"));
        Plan::default()
    })
}

pub(super) fn team(object: TeamObject, now: Timestamp, notes: &mut Notes) -> Result<Team, String> {
    let created_at = Time::read(object.created_at).unwrap_or(now);
    let team = Team {
        id: TeamId::bear(&object.id, notes)?,
        organization_id: OrganizationId::read(&object.organization_id),
        name: object.name,
        description: object.description,
        created_at,
        updated_at: Time::read(object.updated_at).unwrap_or(created_at),
    };
    team.validate().map_err(|error| error.to_string())?;
    Ok(team)
}

pub(super) fn agent(
    object: AgentObject,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<(Agent, Usage), String> {
    let created_at = Time::read(object.created_at).unwrap_or(now);
    let public_key = public_key(object.public_key.as_deref(), notes);
    let agent = Agent {
        id: AgentId::bear(&object.id, notes)?,
        client_id: object.client_id.parse().map_err(|_| {
            "client_id: no lowercase UUID, so it could not authenticate here".to_owned()
        })?,
        organization_id: some(&object.organization_id).map(OrganizationId::read),
        team_id: object.team_id.as_deref().and_then(some).map(TeamId::read),
        machine: object.machine.map(machine).transpose()?,
        name: object.name,
        description: object.description,
        tags: object.tags,
        metadata: object.metadata,
        scopes: scopes(&object.scopes)?,
        is_active: object.is_active && matches!(object.status.as_str(), "" | "active"),
        // Where nobody says, an administrator did it, and only one undoes it.
        suspended_itself: object.suspended_itself.unwrap_or(false),
        generation: 0,
        secrets: secrets(object.client_secret_hash.as_deref(), created_at, notes)?,
        rotations: rotations(object.rotation_history),
        token_lifetime: object.token_lifetime.map(Duration::from_secs),
        refresh_tokens: object.refresh_tokens.unwrap_or(true),
        audiences: object.audiences,
        claims: object.claims,
        public_key,
        created_at,
        updated_at: Time::read(object.updated_at).unwrap_or(created_at),
        expires_at: Time::read(object.expires_at),
    };
    agent.validate().map_err(|error| error.to_string())?;
    let usage = Usage {
        token_count: object.token_count.max(0),
        refresh_count: object.refresh_count.max(0),
        last_token_issued_at: Time::read(object.last_token_issued_at),
    };
    Ok((agent, usage))
}

/// A key that clients could not authenticate with anyway is left out.
fn public_key(text: Option<&str>, notes: &mut Notes) -> Option<PublicKey> {
    let text = text.and_then(some)?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    PublicKey::parse(&value)
        .inspect_err(|invalid| notes.push(format!("left out: {invalid}")))
        .ok()
}

fn secrets(
    hash: Option<&str>,
    created_at: Timestamp,
    notes: &mut Notes,
) -> Result<Vec<StoredSecret>, String> {
    let Some(hash) = hash.and_then(some) else {
        notes.push("it has no secret: rotate it to give it one".to_owned());
        return Ok(Vec::new());
    };
    let password_hash =
        PasswordHash::parse(hash).map_err(|error| format!("client_secret_hash: {error}"))?;
    Ok(vec![StoredSecret {
        id: SecretId::random(),
        hash: SecretHash::Brought { password_hash },
        created_at,
        expires_at: None,
    }])
}

fn machine(object: MachineObject) -> Result<MachineClient, String> {
    let foreign = |id: Option<String>, name: &str| {
        let id = id.map(|id| ForeignId::parse(&id).ok_or(format!("machine.{name}: no identifier")));
        id.transpose()
    };
    Ok(MachineClient {
        dock_id: foreign(object.dock_id, "dock_id")?,
        party_id: foreign(object.party_id, "party_id")?,
        token_format: match object.token_format.as_str() {
            "opaque" => TokenFormat::Opaque,
            "jwt" => TokenFormat::Jwt,
            _ => return Err("machine.token_format: opaque or jwt".to_owned()),
        },
    })
}

/// The latest rotations, with the addresses that asked for them, which the Go service may write with a port.
fn rotations(history: Vec<RotationObject>) -> Vec<Rotation> {
    let address = |text: &str| {
        let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
        text.parse::<IpAddr>().or_else(|_| with_port()).ok()
    };
    let rotations = history.into_iter().filter_map(|rotation| {
        Some(Rotation {
            at: Time::read(rotation.rotated_at)?,
            by: address(&rotation.rotated_by_ip),
        })
    });
    let mut rotations: Vec<_> = rotations.collect();
    rotations.drain(..rotations.len().saturating_sub(MAX_ROTATIONS));
    rotations
}

pub(super) fn api_key(
    object: ApiKeyObject,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<(OrganizationId, BroughtApiKey), String> {
    if !object.is_active {
        return Err("it was revoked".to_owned());
    }
    let id = ApiKeyId::bear(&object.id, notes)?;
    let Some(hash) = object.key_hash.as_deref().and_then(some) else {
        return Err(
            "key_hash: missing, so that nobody could present it: create a new key".to_owned(),
        );
    };
    let digest = digest(hash).ok_or_else(|| {
        "key_hash: not SHA-256 of its text, so that it could not be found: create a new key"
            .to_owned()
    })?;
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let key = BroughtApiKey {
        id,
        team: object.team_id.as_deref().and_then(some).map(TeamId::read),
        name: object.name,
        prefix: match object.prefix.len() <= SHOWN_OF_A_KEY && is_plain(&object.prefix) {
            true => object.prefix,
            false => String::new(),
        },
        scopes: object.scopes.as_deref().map(scopes).transpose()?,
        digest,
        created_at: Time::read(object.created_at).unwrap_or(now),
        expires_at: Time::read(object.expires_at),
        last_used_at: Time::read(object.last_used_at),
    };
    key.validate().map_err(|error| error.to_string())?;
    Ok((OrganizationId::read(&object.organization_id), key))
}

/// Reads 32 bytes in base64url, with padding or without, or in hexadecimal.
fn digest(text: &str) -> Option<[u8; 32]> {
    let bytes = match text.len() {
        64 => (0..32)
            .map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok())
            .collect::<Option<Vec<_>>>(),
        _ => URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok(),
    };
    bytes?.try_into().ok()
}

fn scopes(names: &[String]) -> Result<ScopeSet, String> {
    let invalid = |name: &String| format!("scopes: {name:?} cannot be a scope");
    let scopes = names
        .iter()
        .map(|name| Scope::try_from(name.as_str()).map_err(|_| invalid(name)));
    scopes.collect()
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
