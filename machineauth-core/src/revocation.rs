//! What has been revoked before it expired: a small set that every check consults without calling anybody.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::claims::Claims;
use crate::clock::Timestamp;

/// Room for about half a million revocations; an issuer that has more alive at once sets another limit.
const DEFAULT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// What an entry takes beyond its id: the string's header, the value, the table's slack.
const ENTRY_OVERHEAD: usize = 64;

/// Entries outlive their `until` by the largest leeway that a verifier may be given.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5 * 60);

/// One thing that is revoked, as the feed carries it and as a [`RevocationSet`] takes it.
///
/// `until` is in Unix seconds: from then on nothing that the revocation could hit is alive, and it may be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Revocation {
    /// One access token.
    Token {
        /// The token's `jti`.
        jti: String,
        /// Unix seconds.
        until: u64,
    },
    /// All tokens that descend from one grant.
    Family {
        /// The tokens' `fid`.
        fid: String,
        /// Unix seconds.
        until: u64,
    },
    /// All tokens of an agent that were issued before it reached a generation.
    Agent {
        /// The tokens' `agent_id`, or their `sub` when they have none.
        agent_id: String,
        /// Tokens whose `gen` is smaller, or missing, are revoked.
        below_generation: u64,
        /// Unix seconds.
        until: u64,
    },
    /// All tokens of an agent, until it is resumed.
    Suspended {
        /// As in [`Revocation::Agent`].
        agent_id: String,
        /// Unix seconds.
        until: u64,
    },
    /// Lifts a suspension.
    Resumed {
        /// As in [`Revocation::Agent`].
        agent_id: String,
    },
    /// All tokens issued for an organization.
    Organization {
        /// The tokens' `org_id`.
        org_id: String,
        /// Unix seconds.
        until: u64,
    },
    /// All tokens signed with a key.
    Key {
        /// The tokens' `kid`.
        kid: String,
        /// Unix seconds.
        until: u64,
    },
    /// A kind that a newer issuer knows and this version does not. It changes nothing.
    #[serde(other)]
    Unknown,
}

/// What is revoked at the moment. Clones share one set.
///
/// The order in which revocations are applied does not matter, except between the suspension and the resumption of
/// the same agent: they only ever widen what is refused.
///
/// A verifier that remembers the [epoch](Self::epoch) at which it last judged a token need not look again until the
/// epoch has moved.
#[derive(Clone)]
pub struct RevocationSet(Arc<Shared>);

struct Shared {
    table: RwLock<Table>,
    /// Moves after each change, so that whoever reads it *before* a look-up never misses the change.
    epoch: AtomicU64,
    /// Wakes those who wait for a change; the number is of no interest.
    changes: watch::Sender<u64>,
    /// Unix milliseconds plus one; zero means never.
    fresh_at: AtomicU64,
    /// Something did not fit, so an answer of "not revoked" may be wrong.
    incomplete: AtomicBool,
    max_bytes: usize,
}

impl RevocationSet {
    /// An empty set that takes up to 64 MiB, which is room for about half a million revocations.
    pub fn new() -> Self {
        Self::with_max_bytes(DEFAULT_MAX_BYTES)
    }

    /// An empty set that takes up to about `max_bytes` bytes of memory.
    ///
    /// A set that is full keeps what it has, and reports from then on that it was never fresh, so that the
    /// verifier's policy for stale revocations bites. A later [`replace`](Self::replace) that fits heals it.
    pub fn with_max_bytes(max_bytes: usize) -> Self {
        Self(Arc::new(Shared {
            table: RwLock::default(),
            epoch: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            fresh_at: AtomicU64::new(0),
            incomplete: AtomicBool::new(false),
            max_bytes,
        }))
    }

    /// Adds one revocation, or lifts one suspension.
    pub fn apply(&self, revocation: &Revocation) {
        let mut table = self.write();
        match table.apply(revocation, self.0.max_bytes) {
            Applied::Changed => self.bump(),
            Applied::Unchanged => {}
            Applied::Full => self.0.incomplete.store(true, Ordering::Release),
        }
    }

    /// Puts a whole snapshot in the place of everything known so far, in one step.
    pub fn replace(&self, snapshot: Vec<Revocation>) {
        let mut fresh = Table::default();
        let mut incomplete = false;
        for revocation in snapshot {
            incomplete |= fresh.apply(&revocation, self.0.max_bytes) == Applied::Full;
        }
        let mut table = self.write();
        let outdated = mem::replace(&mut *table, fresh);
        self.0.incomplete.store(incomplete, Ordering::Release);
        self.bump();
        drop(table);
        // Freeing a large table takes a while; nobody has to wait for it.
        drop(outdated);
    }

    /// Whether a token with these claims, signed with the key `kid`, is revoked.
    pub fn hit(&self, claims: &Claims, kid: Option<&str>) -> bool {
        self.read().hit(claims, kid)
    }

    /// A number that moves whenever something more, or something less, is revoked.
    ///
    /// Read it before [`hit`](Self::hit); the answer then holds for as long as the epoch stays the same.
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// Hears of each change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// How many revocations there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// How many keys are revoked.
    pub(crate) fn revoked_keys(&self) -> usize {
        self.read().keys.map.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether everything that was applied found room.
    pub fn is_complete(&self) -> bool {
        !self.0.incomplete.load(Ordering::Acquire)
    }

    /// Forgets what can no longer hit a living token. The epoch stays: nothing that was accepted would now be refused.
    pub fn expire(&self, now: Timestamp) {
        self.write()
            .expire(now.saturating_sub(EXPIRY_MARGIN).as_secs());
    }

    /// Notes that the set was complete at the time `at`. An earlier time than the one noted already changes nothing.
    pub fn mark_fresh(&self, at: Timestamp) {
        let at = at.as_millis().saturating_add(1);
        self.0.fresh_at.fetch_max(at, Ordering::AcqRel);
    }

    /// How long ago the set was last known to be complete; `None` when it never was, or when it overflowed.
    pub fn staleness(&self, now: Timestamp) -> Option<Duration> {
        let fresh_at = self.0.fresh_at.load(Ordering::Acquire).checked_sub(1)?;
        self.is_complete()
            .then(|| now.duration_since(Timestamp::from_millis(fresh_at)))
    }

    /// Called with the table still locked: an epoch never names two states of the table.
    fn bump(&self) {
        let before = self.0.epoch.fetch_add(1, Ordering::AcqRel);
        self.0.changes.send_replace(before + 1);
    }

    /// No code between lock and unlock can leave the table half changed, so a panic elsewhere does no harm to it.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RevocationSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RevocationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationSet")
            .field("len", &self.len())
            .field("epoch", &self.epoch())
            .field("complete", &self.is_complete())
            .finish_non_exhaustive()
    }
}

/// Values are the `until` of the entry, in Unix seconds, unless said otherwise.
#[derive(Default)]
struct Table {
    tokens: Ids<u64>,
    families: Ids<u64>,
    agents: Ids<Outdated>,
    suspended: Ids<u64>,
    organizations: Ids<u64>,
    keys: Ids<u64>,
}

impl Table {
    fn apply(&mut self, revocation: &Revocation, max_bytes: usize) -> Applied {
        let room = max_bytes.saturating_sub(self.bytes());
        match revocation {
            Revocation::Token { jti, until } => self.tokens.widen(jti, *until, room),
            Revocation::Family { fid, until } => self.families.widen(fid, *until, room),
            Revocation::Agent {
                agent_id,
                below_generation,
                until,
            } => {
                let outdated = Outdated {
                    below_generation: *below_generation,
                    until: *until,
                };
                self.agents.widen(agent_id, outdated, room)
            }
            Revocation::Suspended { agent_id, until } => {
                self.suspended.widen(agent_id, *until, room)
            }
            Revocation::Resumed { agent_id } => self.suspended.remove(agent_id),
            Revocation::Organization { org_id, until } => {
                self.organizations.widen(org_id, *until, room)
            }
            Revocation::Key { kid, until } => self.keys.widen(kid, *until, room),
            Revocation::Unknown => Applied::Unchanged,
        }
    }

    fn hit(&self, claims: &Claims, kid: Option<&str>) -> bool {
        let agent_id = claims.agent_id.as_deref().unwrap_or(&claims.subject);
        let generation = claims.generation.unwrap_or(0);
        self.tokens.has(claims.jwt_id.as_deref())
            || self.families.has(claims.family_id.as_deref())
            || self.suspended.has(Some(agent_id))
            || self
                .agents
                .get(agent_id)
                .is_some_and(|outdated| generation < outdated.below_generation)
            || self.organizations.has(claims.organization_id.as_deref())
            || self.keys.has(kid)
    }

    fn expire(&mut self, now: u64) {
        self.tokens.expire(now);
        self.families.expire(now);
        self.agents.expire(now);
        self.suspended.expire(now);
        self.organizations.expire(now);
        self.keys.expire(now);
    }

    fn len(&self) -> usize {
        self.tokens.map.len()
            + self.families.map.len()
            + self.agents.map.len()
            + self.suspended.map.len()
            + self.organizations.map.len()
            + self.keys.map.len()
    }

    fn bytes(&self) -> usize {
        self.tokens.bytes
            + self.families.bytes
            + self.agents.bytes
            + self.suspended.bytes
            + self.organizations.bytes
            + self.keys.bytes
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    Changed,
    Unchanged,
    Full,
}

/// Revoked ids of one kind.
#[derive(Default)]
struct Ids<V> {
    map: HashMap<Box<str>, V, RandomState>,
    /// About what the entries take, so that ids of any length stay within the set's limit.
    bytes: usize,
}

impl<V: Extent> Ids<V> {
    /// Makes the entry cover what it covers already and `extent` as well.
    fn widen(&mut self, id: &str, extent: V, room: usize) -> Applied {
        if let Some(known) = self.map.get_mut(id) {
            let both = known.union(extent);
            if both == *known {
                return Applied::Unchanged;
            }
            *known = both;
            return Applied::Changed;
        }
        if weight(id) > room {
            return Applied::Full;
        }
        self.bytes += weight(id);
        self.map.insert(id.into(), extent);
        Applied::Changed
    }

    fn remove(&mut self, id: &str) -> Applied {
        if self.map.remove(id).is_none() {
            return Applied::Unchanged;
        }
        self.bytes -= weight(id);
        Applied::Changed
    }

    fn get(&self, id: &str) -> Option<V> {
        self.map.get(id).copied()
    }

    fn has(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.map.contains_key(id))
    }

    /// `now` in Unix seconds.
    fn expire(&mut self, now: u64) {
        let mut freed = 0;
        self.map.retain(|id, extent| {
            let alive = now < extent.until();
            if !alive {
                freed += weight(id);
            }
            alive
        });
        self.bytes -= freed;
    }
}

fn weight(id: &str) -> usize {
    id.len() + ENTRY_OVERHEAD
}

/// How far a revocation reaches.
trait Extent: Copy + PartialEq {
    /// What covers both, and hence does not depend on which came first.
    fn union(self, other: Self) -> Self;

    /// Unix seconds.
    fn until(self) -> u64;
}

impl Extent for u64 {
    fn union(self, other: Self) -> Self {
        self.max(other)
    }

    fn until(self) -> u64 {
        self
    }
}

/// The tokens of an agent before a generation.
#[derive(Clone, Copy, Default, PartialEq)]
struct Outdated {
    below_generation: u64,
    until: u64,
}

impl Extent for Outdated {
    fn union(self, other: Self) -> Self {
        Self {
            below_generation: self.below_generation.max(other.below_generation),
            until: self.until.max(other.until),
        }
    }

    fn until(self) -> u64 {
        self.until
    }
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
