//! Which agents a sealed segment of a log concerns, so that whoever asks for one agent passes over the others.
//!
//! One small row for each seal, written with it. A log without them, or that part of it, is read entry by entry.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use machineauth_core::base64url;
use machineauth_core::crypto::sha256;
use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::domain::id::AgentId;
use crate::store::{Entry, Key, Partition, Position, Store, StoreError, Table};

const SEGMENTS: Table<Segment> = Table::new("audit_segment", 1);
/// How many rows are read at once.
const READ_AT_ONCE: usize = 64;
/// How much of an agent's digest stands for it, in bytes. Others may share it, and their entries are then read in vain: of
/// the segments of 500 agents each, one in a hundred.
const MARK: usize = 2;

/// A sealed segment of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// The number of its first entry.
    pub first: u64,
    /// The number of its last entry.
    pub last: u64,
    /// The marks of the agents that it concerns, in base64url.
    agents: String,
}

impl Segment {
    /// The segment of these entries, if they are any.
    pub(super) fn of(entries: &[(Position, Bytes)]) -> Option<Self> {
        // What cannot be read is shown to nobody.
        let events = entries
            .iter()
            .filter_map(|(_, entry)| Event::decode(entry).ok());
        let agents: BTreeSet<_> = events
            .filter_map(|event| event.agent_id)
            .map(mark)
            .collect();
        Some(Self {
            first: entries.first()?.0.sequence(),
            last: entries.last()?.0.sequence(),
            agents: base64url::encode(agents.into_iter().flatten().collect::<Vec<_>>()),
        })
    }

    /// Whether an entry may concern `agent`.
    fn may_concern(&self, agent: AgentId) -> bool {
        let bytes = base64url::decode(&self.agents);
        // What cannot be read hides nothing.
        bytes.is_none_or(|bytes| bytes.as_chunks().0.contains(&mark(agent)))
    }

    /// The row of the segment whose first entry has this number.
    pub(super) fn key(partition: Partition, first: u64) -> Key {
        SEGMENTS.key(partition).with(first)
    }

    /// The bytes of its row.
    pub(super) fn encode(&self) -> Bytes {
        SEGMENTS.encode(self)
    }

    /// The segment in a row, if it is the one that belongs there: no other row may say what can be passed over.
    fn in_row(key: &Key, entry: &Entry) -> Result<Option<Self>, StoreError> {
        let segment = SEGMENTS.decode(&entry.value)?;
        let is_its_own = *key == Self::key(key.partition(), segment.first);
        Ok(is_its_own.then_some(segment))
    }

    /// Up to `limit` rows after the one at `after`: of each its place, and the number of the first entry if it belongs there.
    pub(super) async fn scan(
        store: &dyn Store,
        partition: Partition,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Option<u64>)>, StoreError> {
        let rows = store.scan(&SEGMENTS.key(partition), after, limit).await?;
        let rows = rows.into_iter().map(|(key, entry)| {
            let segment = Self::in_row(&key, &entry)?;
            Ok((key, segment.map(|segment| segment.first)))
        });
        rows.collect()
    }

    /// The segment whose first entry has this number, if there is a row of it.
    pub(super) async fn find(
        store: &dyn Store,
        partition: Partition,
        first: u64,
    ) -> Result<Option<Self>, StoreError> {
        let row = SEGMENTS.get(store, &Self::key(partition, first)).await?;
        Ok(row.map(|row| row.value))
    }
}

fn mark(agent: AgentId) -> [u8; MARK] {
    let digest = sha256(agent.as_bytes());
    let (mark, _) = digest
        .split_first_chunk()
        .expect("a digest is longer than a mark");
    *mark
}

/// The segments of one log that concern an agent, being read downwards.
pub(super) struct Concerning {
    agent: AgentId,
    partition: Partition,
    read: VecDeque<Segment>,
    is_exhausted: bool,
}

impl Concerning {
    pub(super) fn new(agent: AgentId, partition: Partition) -> Self {
        Self {
            agent,
            partition,
            read: VecDeque::new(),
            is_exhausted: false,
        }
    }

    /// From the entry numbered `next` downwards: the numbers of the next and of the last entry that have to be read at once,
    /// because they may concern the agent. The next one is 0 where none is left.
    pub(super) async fn range(
        &mut self,
        store: &dyn Store,
        next: u64,
    ) -> Result<(u64, u64), StoreError> {
        let (agent, mut next) = (self.agent, next);
        while next > 0 {
            let Some(segment) = self.below(store, next).await? else {
                // It was sealed before there were segments.
                return Ok((next, 1));
            };
            if segment.last < next {
                // It is not sealed yet.
                return Ok((next, segment.last + 1));
            }
            if segment.may_concern(agent) {
                return Ok((next, segment.first));
            }
            next = segment.first.saturating_sub(1);
        }
        Ok((0, 0))
    }

    /// The last segment that begins at `next` or before it.
    async fn below(
        &mut self,
        store: &dyn Store,
        next: u64,
    ) -> Result<Option<&Segment>, StoreError> {
        while self
            .read
            .front()
            .is_some_and(|segment| segment.first > next)
        {
            self.read.pop_front();
        }
        if self.read.is_empty() && !self.is_exhausted {
            let prefix = SEGMENTS.key(self.partition);
            let before = Segment::key(self.partition, next.saturating_add(1));
            let rows = store
                .scan_back(&prefix, Some(&before), READ_AT_ONCE)
                .await?;
            self.is_exhausted = rows.len() < READ_AT_ONCE;
            for (key, entry) in rows {
                self.read.extend(Segment::in_row(&key, &entry)?);
            }
        }
        Ok(self.read.front())
    }
}
