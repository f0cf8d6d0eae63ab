//! Revocations: a row each for those who ask, and a log entry each for those who listen.

use std::time::Duration;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use machineauth_core::revocation::Revocation;
use machineauth_core::verifier::GREATEST_LEEWAY;
use serde::{Deserialize, Serialize};

use super::id::{AgentId, FamilyId, OrganizationId, TokenId};
use crate::store::{Batch, Entry, Key, KeyName, Log, Partition, Store, StoreError, Table};

/// The longest an access token or refresh token can live, whatever the configuration says now or said before.
///
/// A revocation that may hit any token of an agent is kept this long, and then a verifier's greatest leeway.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// The rows of what is revoked: `revoked/{kind}/{id}`, each until nothing that it could hit is alive.
pub const REVOKED: Table<OwnedRevocation> = Table::new("revoked", 1);

/// A revocation, and whose it is: an organization hears of its own only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedRevocation {
    /// What is revoked.
    #[serde(flatten)]
    pub revocation: Revocation,
    /// The organization that it concerns; `None` when it is of none, or of all.
    #[serde(rename = "of", default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationId>,
}

impl OwnedRevocation {
    /// Whether `organization` may hear of it. The server's keys sign everybody's tokens.
    pub fn concerns(&self, organization: OrganizationId) -> bool {
        match self.organization {
            Some(own) => own == organization,
            None => matches!(self.revocation, Revocation::Key { .. }),
        }
    }
}

/// Whose a revocation is.
pub type Owner = Option<OrganizationId>;

fn token_key(home: Partition, token: TokenId) -> Key {
    REVOKED.key(home).with("token").with(token)
}

fn family_key(home: Partition, family: FamilyId) -> Key {
    REVOKED.key(home).with("family").with(family)
}

fn agent_key(home: Partition, agent: AgentId) -> Key {
    REVOKED.key(home).with("agent").with(agent)
}

fn suspension_key(home: Partition, agent: AgentId) -> Key {
    REVOKED.key(home).with("suspended").with(agent)
}

/// When a revocation of something that may live until `end` can be forgotten.
fn forgotten_after(end: Timestamp) -> Timestamp {
    end.saturating_add(GREATEST_LEEWAY)
}

fn append(batch: Batch, revocation: &OwnedRevocation) -> Batch {
    let entry = serde_json::to_vec(revocation).expect("a revocation is plain data");
    batch
        .append(Log::Revocations, Bytes::from(entry))
        .on_replicas()
}

fn record(
    batch: Batch,
    key: &Key,
    revocation: Revocation,
    owner: Owner,
    until: Timestamp,
) -> Batch {
    let owned = OwnedRevocation {
        revocation,
        organization: owner,
    };
    append(batch.put_until(key, REVOKED.encode(&owned), until), &owned)
}

/// Adds to `batch`: the token `token`, which expires at `end`, is revoked, and was not before.
pub fn revoke_token(batch: Batch, owner: Owner, token: TokenId, end: Timestamp) -> Batch {
    let until = forgotten_after(end);
    let revocation = Revocation::Token {
        jti: token.to_string(),
        until: until.as_secs(),
    };
    let key = token_key(batch.partition(), token);
    record(batch.absent(&key), &key, revocation, owner, until)
}

/// Adds to `batch`: every token of the family is revoked, the refresh tokens and the access tokens, and was not before.
pub fn revoke_family(batch: Batch, owner: Owner, family: FamilyId, now: Timestamp) -> Batch {
    let until = forgotten_after(now.saturating_add(LONGEST_LIFETIME));
    let revocation = Revocation::Family {
        fid: family.to_string(),
        until: until.as_secs(),
    };
    let key = family_key(batch.partition(), family);
    record(batch.absent(&key), &key, revocation, owner, until)
}

/// Adds to `batch`: every token that the agent got in a generation before `generation` is revoked.
pub fn revoke_agent(
    batch: Batch,
    owner: Owner,
    agent: AgentId,
    generation: u64,
    now: Timestamp,
) -> Batch {
    let until = forgotten_after(now.saturating_add(LONGEST_LIFETIME));
    let revocation = Revocation::Agent {
        agent_id: agent.to_string(),
        below_generation: generation,
        until: until.as_secs(),
    };
    let key = agent_key(batch.partition(), agent);
    record(batch, &key, revocation, owner, until)
}

/// Adds to `batch`: the agent's tokens are refused until it is resumed.
pub fn suspend_agent(batch: Batch, owner: Owner, agent: AgentId, now: Timestamp) -> Batch {
    let until = forgotten_after(now.saturating_add(LONGEST_LIFETIME));
    let revocation = Revocation::Suspended {
        agent_id: agent.to_string(),
        until: until.as_secs(),
    };
    let key = suspension_key(batch.partition(), agent);
    record(batch, &key, revocation, owner, until)
}

/// Adds to `batch`: the agent's tokens are good again, as far as nothing else revokes them.
pub fn resume_agent(batch: Batch, owner: Owner, agent: AgentId) -> Batch {
    let revocation = Revocation::Resumed {
        agent_id: agent.to_string(),
    };
    let key = suspension_key(batch.partition(), agent);
    let owned = OwnedRevocation {
        revocation,
        organization: owner,
    };
    append(batch.delete(&key), &owned)
}

/// Adds to `batch`: every token of the organization is revoked.
pub fn revoke_organization(batch: Batch, organization: OrganizationId, now: Timestamp) -> Batch {
    let until = forgotten_after(now.saturating_add(LONGEST_LIFETIME));
    let revocation = Revocation::Organization {
        org_id: organization.to_string(),
        until: until.as_secs(),
    };
    let key = REVOKED
        .key(batch.partition())
        .with("organization")
        .with(organization);
    record(batch, &key, revocation, Some(organization), until)
}

/// Adds to `batch`: every token that the key signed is refused.
pub fn revoke_key(batch: Batch, owner: Owner, kid: &str, now: Timestamp) -> Batch {
    let until = forgotten_after(now.saturating_add(LONGEST_LIFETIME));
    let revocation = Revocation::Key {
        kid: kid.to_owned(),
        until: until.as_secs(),
    };
    let name = KeyName::try_from(kid).expect("a kid of ours is the name of a row");
    let key = REVOKED.key(batch.partition()).with("key").with(&name);
    record(batch, &key, revocation, owner, until)
}

/// The check that a batch makes so that nothing is issued in a revoked family.
pub fn family_not_revoked(batch: Batch, family: FamilyId) -> Batch {
    let key = family_key(batch.partition(), family);
    batch.absent(&key)
}

/// Whether the family is revoked.
///
/// # Errors
/// When the store cannot tell; the caller fails closed.
pub async fn family_is_revoked(
    store: &dyn Store,
    home: Partition,
    family: FamilyId,
) -> Result<bool, StoreError> {
    Ok(store.get(&family_key(home, family)).await?.is_some())
}

/// The rows that revoke an access token: its own, its agent's, its family's.
pub fn rows_that_revoke(
    home: Partition,
    agent: AgentId,
    token: TokenId,
    family: Option<FamilyId>,
) -> Vec<Key> {
    let mut keys = vec![token_key(home, token), agent_key(home, agent)];
    keys.extend(family.map(|family| family_key(home, family)));
    keys
}

/// Whether `rows`, as [`rows_that_revoke`] names them, revoke an access token: by itself, through its family, or with all
/// of its agent's `generation`.
///
/// # Errors
/// When a row cannot be read; the caller fails closed.
pub fn is_revoked_by(rows: &[Option<Entry>], generation: u64) -> Result<bool, StoreError> {
    let [token, agent, family @ ..] = rows else {
        return Err(StoreError::Corrupt {
            what: "fewer rows than were asked for",
        });
    };
    if token.is_some() || family.iter().any(Option::is_some) {
        return Ok(true);
    }
    let agent = agent.as_ref().map(|row| REVOKED.decode(&row.value));
    Ok(matches!(
        agent.transpose()?.map(|owned| owned.revocation),
        Some(Revocation::Agent { below_generation, .. }) if generation < below_generation
    ))
}
