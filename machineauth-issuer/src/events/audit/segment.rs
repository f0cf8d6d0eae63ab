//! Which agents a sealed segment of a log concerns, so that whoever asks for one agent passes over the others.
//!
//! One small row for each seal, written with it. A log without them, or that part of it, is read entry by entry.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use bytes::Bytes;
use machineauth_core::base64url;
use machineauth_core::crypto::sha256;
use serde::{Deserialize, Serialize};

use crate::domain::event::Event;
use crate::domain::id::AgentId;
use crate::store::{Entry, Key, Partition, Position, Store, StoreError, Table};

const SEGMENTS: Table<Segment> = Table::new("audit_segment", 1);
/// How many rows are read at once, and passed over at once.
const READ_AT_ONCE: usize = 64;
/// Segments of an agent whose entries are this near to each other are read together, and what is between them in vain: that
/// takes less time than to ask again.
const NEAR: u64 = 256;
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

    /// What the row says, if it can be read. What cannot hides nothing: verifying names it.
    pub(super) fn decode(row: &Entry) -> Option<Self> {
        SEGMENTS.decode(&row.value).ok()
    }

    /// The segment in a row, if it is the one that belongs there: no other row may say what can be passed over.
    fn in_row(key: &Key, row: &Entry) -> Option<Self> {
        Self::decode(row).filter(|segment| *key == Self::key(key.partition(), segment.first))
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
            let segment = Self::in_row(&key, &entry);
            (key, segment.map(|segment| segment.first))
        });
        Ok(rows.collect())
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

    /// From the entry numbered `next` downwards, but not to the one numbered `floor`: the numbers of those that have to be read
    /// next, because they may concern the agent.
    ///
    /// Nothing is in the range where so much was passed over that others have their turn. It goes on at its end then, if
    /// that is not at the floor.
    pub(super) async fn range(
        &mut self,
        store: &dyn Store,
        mut next: u64,
        floor: u64,
    ) -> Result<RangeInclusive<u64>, StoreError> {
        let (agent, lowest) = (self.agent, floor.saturating_add(1));
        for _ in 0..READ_AT_ONCE {
            if next <= floor {
                break;
            }
            let Some(segment) = self.below(store, next).await? else {
                // It was sealed before there were segments.
                return Ok(lowest..=next);
            };
            if segment.last < next {
                // It is not sealed yet.
                return Ok(lowest.max(segment.last + 1)..=next);
            }
            let first = segment.first;
            if segment.may_concern(agent) {
                return Ok(lowest.max(self.reach(next).unwrap_or(first))..=next);
            }
            next = first.saturating_sub(1);
        }
        Ok(next.saturating_add(1)..=next)
    }

    /// Down to which entry one read from `next` finds what may concern the agent, as far as that is known.
    fn reach(&self, next: u64) -> Option<u64> {
        let near = self
            .read
            .iter()
            .take_while(|segment| next.saturating_sub(segment.first) < NEAR);
        near.filter(|segment| segment.may_concern(self.agent))
            .map(|segment| segment.first)
            .min()
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
                self.read.extend(Segment::in_row(&key, &entry));
            }
        }
        Ok(self.read.front())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use machineauth_core::clock::{ManualClock, Timestamp};

    use super::*;
    use crate::store::{Batch, MemoryStore, Outcome};

    const LOG: Partition = Partition::SYSTEM;

    /// A log of this many segments, of one entry each, none of which concerns an agent.
    async fn log_of(segments: u64) -> MemoryStore {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let store = MemoryStore::new(Arc::new(clock));
        let batch = (1..=segments).fold(Batch::new(LOG), |batch, number| {
            let segment = Segment {
                first: number,
                last: number,
                agents: String::new(),
            };
            batch.put(&Segment::key(LOG, number), segment.encode())
        });
        assert_eq!(store.commit(&batch).await.unwrap(), Outcome::Committed);
        store
    }

    #[tokio::test]
    async fn no_more_is_passed_over_at_once_than_is_read_at_once() {
        let store = log_of(200).await;
        let mut concerning = Concerning::new(AgentId::random(), LOG);
        let mut next = 200;
        for expected in [136, 72, 8, 0] {
            let range = concerning.range(&store, next, 0).await.unwrap();
            assert!(range.is_empty(), "{range:?}");
            next = *range.end();
            assert_eq!(next, expected);
        }
    }

    #[tokio::test]
    async fn nothing_below_the_floor_is_passed_over() {
        let store = log_of(50).await;
        let mut concerning = Concerning::new(AgentId::random(), LOG);
        let range = concerning.range(&store, 50, 48).await.unwrap();
        assert!(range.is_empty(), "{range:?}");
        assert_eq!(*range.end(), 48);
    }
}
