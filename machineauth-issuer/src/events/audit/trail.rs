//! Reading the trail: the logs of all partitions, merged, newest first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use machineauth_core::clock::Timestamp;

use super::cursor::{Cursor, partitions};
use super::filter::Filter;
use super::segment::Concerning;
use crate::domain::agents::{AgentError, Agents};
use crate::domain::event::Event;
use crate::store::{DynStore, Log, Partition, Position, StoreError};

/// How many entries are looked at for one page at most. A filter that takes few gives short pages, and a cursor to go on with.
/// Passing over segments that do not concern an agent counts as well: as the entries that could have been read instead.
pub const LOOKED_AT: usize = 20_000;
/// How many entries of a log are read at first, and at most, at once.
const FIRST_STEP: usize = 8;
const LONGEST_STEP: usize = 256;
/// How far from the order of their times entries of a log can be: they are timed before they are written, by clocks that
/// may disagree.
const DISORDER: Duration = Duration::from_secs(120);

/// Reads the trail. Clones read the same one.
#[derive(Debug, Clone)]
pub struct Trail {
    store: DynStore,
    agents: Arc<Agents>,
}

/// An event, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Which log it is in.
    pub partition: Partition,
    /// Its number there.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

/// A page of the trail.
#[derive(Debug)]
pub struct Page {
    /// The events, newest first.
    pub entries: Vec<Entry>,
    /// Where the trail goes on, unless it is at its end.
    pub next: Option<Cursor>,
    /// When that happened which was looked at last.
    pub until: Option<Timestamp>,
    /// How many there are in all, as far as that was asked and looked at.
    pub total: u64,
}

/// One log, being read downwards.
struct Stream {
    partition: Partition,
    /// The number of the next entry to read from the store; at or below `floor` when none is left.
    next: u64,
    /// The number of the entry that is not read any more.
    floor: u64,
    /// What can be passed over, where one agent is asked for.
    concerning: Option<Concerning>,
    step: usize,
    read: VecDeque<Entry>,
}

impl Trail {
    /// The trail in `store`, which has these agents.
    pub fn new(store: DynStore, agents: Arc<Agents>) -> Self {
        Self { store, agents }
    }

    /// Up to `limit` events that `filter` takes, after `cursor`, or from the newest. At `look_at` entries it is looked at most.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn page(
        &self,
        filter: &Filter,
        cursor: Option<&Cursor>,
        limit: usize,
        look_at: usize,
    ) -> Result<Page, StoreError> {
        let mut merge = self.begin(filter, cursor, None, look_at).await?;
        let (mut entries, mut until) = (Vec::new(), None);
        while entries.len() < limit {
            let Some(entry) = merge.next(&self.store, filter).await? else {
                break;
            };
            until = Some(entry.event.at);
            if filter.takes(&entry.event) {
                entries.push(entry);
            }
        }
        Ok(Page {
            total: entries.len() as u64,
            entries,
            next: merge.cursor(),
            until,
        })
    }

    /// What `filter` takes of what was recorded after `since` and not after `until`, newest first. `None` where that are more
    /// than `limit` events, or more would have to be looked at than for a page.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn between(
        &self,
        filter: &Filter,
        since: &Cursor,
        until: &Cursor,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let (cursor, floor) = (Some(until), Some(since));
        let mut merge = self.begin(filter, cursor, floor, LOOKED_AT).await?;
        let mut entries = Vec::new();
        while let Some(entry) = merge.next(&self.store, filter).await? {
            if filter.takes(&entry.event) {
                if entries.len() == limit {
                    return Ok(None);
                }
                entries.push(entry);
            }
        }
        Ok(merge.is_at_end().then_some(entries))
    }

    /// Where the trail ends now: a page after this cursor begins with the newest event.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn end(&self) -> Result<Cursor, StoreError> {
        let heads = partitions().map(|partition| self.store.head(partition, Log::Audit));
        let heads = try_join_all(heads).await?;
        Ok(Cursor::new(heads.iter().map(Position::sequence)))
    }

    /// Up to `limit` events that `filter` takes, without the first `skip` of them, and how many there are in all: among
    /// the newest `LOOKED_AT` entries, where a filter must look at each.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn numbered(
        &self,
        filter: &Filter,
        skip: usize,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let whole = filter.is_whole() && filter.organization.is_none();
        let mut merge = self.begin(filter, None, None, LOOKED_AT).await?;
        let (mut entries, mut next) = (Vec::new(), None);
        let mut taken = 0;
        loop {
            if entries.len() == limit && next.is_none() {
                next = Some(merge.cursor());
            }
            if entries.len() == limit && whole {
                break;
            }
            let Some(entry) = merge.next(&self.store, filter).await? else {
                break;
            };
            if filter.takes(&entry.event) {
                taken += 1;
                if taken > skip && entries.len() < limit {
                    entries.push(entry);
                }
            }
        }
        Ok(Page {
            total: match whole {
                true => self.length().await?,
                false => taken as u64,
            },
            until: entries.last().map(|entry| entry.event.at),
            entries,
            next: next.unwrap_or_else(|| merge.cursor()),
        })
    }

    /// How many events there are.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn length(&self) -> Result<u64, StoreError> {
        let lengths = partitions().map(|partition| async move {
            let head = self.store.head(partition, Log::Audit).await?;
            let tail = self.store.tail(partition, Log::Audit).await?;
            Ok::<_, StoreError>(head.sequence().saturating_sub(tail.sequence()))
        });
        Ok(try_join_all(lengths).await?.into_iter().sum())
    }

    /// Begins to read at `cursor`, or at the newest entry, down to what was the newest at `floor`, `look_at` entries at most.
    async fn begin(
        &self,
        filter: &Filter,
        cursor: Option<&Cursor>,
        floor: Option<&Cursor>,
        look_at: usize,
    ) -> Result<Merge, StoreError> {
        let numbers = |cursor: Option<&Cursor>, otherwise| -> Vec<u64> {
            match cursor {
                Some(cursor) => cursor.next().collect(),
                None => partitions().map(|_| otherwise).collect(),
            }
        };
        let (next, floor) = (numbers(cursor, u64::MAX), numbers(floor, 0));
        let ranges = next.into_iter().zip(floor);
        let home = self.home(filter).await?;
        let streams = partitions()
            .zip(ranges)
            .map(|(partition, (next, floor))| async move {
                let is_home = |home| partition == home || partition == Partition::SYSTEM;
                let next = match (home, filter.to) {
                    (Some(home), _) if !is_home(home) => 0,
                    (_, Some(to)) if cursor.is_none() => self.last_until(partition, to).await?,
                    _ => next,
                };
                Ok::<_, StoreError>(Stream {
                    partition,
                    next,
                    floor,
                    concerning: filter.agent.map(|agent| Concerning::new(agent, partition)),
                    step: FIRST_STEP,
                    read: VecDeque::new(),
                })
            });
        Ok(Merge {
            streams: try_join_all(streams).await?,
            left: look_at,
        })
    }

    /// Where everything is that `filter` takes, and that is not with what belongs to the server. `None`: anywhere.
    async fn home(&self, filter: &Filter) -> Result<Option<Partition>, StoreError> {
        match (filter.organization, filter.agent) {
            (Some(organization), _) => Ok(Some(organization.partition())),
            (None, Some(agent)) => match self.agents.find(agent).await {
                Ok(stored) => Ok(Some(stored.value.home())),
                Err(AgentError::Store(error)) => Err(error),
                // Where it was, nobody knows any more.
                Err(_) => Ok(None),
            },
            (None, None) => Ok(None),
        }
    }

    /// A number at or above that of the last entry that happened until `to`, found by halving.
    async fn last_until(&self, partition: Partition, to: Timestamp) -> Result<u64, StoreError> {
        let to = to.saturating_add(DISORDER);
        let head = self.store.head(partition, Log::Audit).await?.sequence();
        let tail = self.store.tail(partition, Log::Audit).await?.sequence();
        let (mut low, mut high) = (tail, head);
        while low < high {
            let middle = high - (high - low) / 2;
            let read = self
                .store
                .log_back(partition, Log::Audit, middle, 1)
                .await?;
            let is_later = match read.first() {
                Some((_, entry)) => Event::decode(entry).is_ok_and(|event| event.at > to),
                // It was trimmed meanwhile.
                None => false,
            };
            match is_later {
                true => high = middle - 1,
                false => low = middle,
            }
        }
        Ok(low)
    }
}

/// All logs, being read downwards together.
struct Merge {
    streams: Vec<Stream>,
    /// How many entries may still be looked at.
    left: usize,
}

impl Merge {
    /// The newest event that is left, unless none may be looked at any more.
    async fn next(
        &mut self,
        store: &DynStore,
        filter: &Filter,
    ) -> Result<Option<Entry>, StoreError> {
        while self.left > 0 {
            let streams = self.streams.iter_mut();
            let empty = streams.filter(|stream| stream.read.is_empty());
            try_join_all(empty.map(|stream| stream.fill(store, filter))).await?;
            // What one of them has yet to find may be newer than what the others have.
            if self.streams.iter().any(Stream::is_behind) {
                self.left = self.left.saturating_sub(LONGEST_STEP);
                continue;
            }
            self.left -= 1;
            let streams = self.streams.iter_mut();
            let newest = streams
                .filter(|stream| !stream.read.is_empty())
                .max_by_key(|stream| stream.read.front().map(|entry| entry.event.at));
            return Ok(newest.and_then(|stream| stream.read.pop_front()));
        }
        Ok(None)
    }

    /// Whether nothing is left.
    fn is_at_end(&self) -> bool {
        let mut streams = self.streams.iter();
        streams.all(|stream| stream.read.is_empty() && !stream.is_behind())
    }

    /// Where to go on, unless nothing is left.
    fn cursor(&self) -> Option<Cursor> {
        let next = |stream: &Stream| match stream.read.front() {
            Some(entry) => entry.sequence,
            None => stream.next,
        };
        let is_left = self.streams.iter().any(|stream| next(stream) > 0);
        is_left.then(|| Cursor::new(self.streams.iter().map(next)))
    }
}

impl Stream {
    /// Whether there is more to read before anything of it can be shown.
    fn is_behind(&self) -> bool {
        self.read.is_empty() && self.next > self.floor
    }

    /// Reads on. Nothing may come of it, and yet something be left.
    async fn fill(&mut self, store: &DynStore, filter: &Filter) -> Result<(), StoreError> {
        if self.next <= self.floor {
            return Ok(());
        }
        let mut lowest = self.floor + 1;
        if let Some(concerning) = &mut self.concerning {
            let range = concerning.range(&**store, self.next, self.floor).await?;
            (lowest, self.next) = range.into_inner();
            if self.next < lowest {
                return Ok(());
            }
        }
        let left = usize::try_from(self.next - lowest).unwrap_or(self.step);
        let step = self.step.min(left.saturating_add(1));
        let read = store
            .log_back(self.partition, Log::Audit, self.next, step)
            .await?;
        let last = read.last().map_or(0, |(position, _)| position.sequence());
        self.next = match read.len() < step {
            true => 0,
            false => last.saturating_sub(1),
        };
        self.step = (self.step * 2).min(LONGEST_STEP);
        for (position, entry) in read {
            if position.sequence() <= self.floor {
                break;
            }
            // What was tampered with does not hide the rest; verifying names it.
            let Ok(event) = Event::decode(&entry) else {
                let (partition, sequence) = (self.partition, position.sequence());
                tracing::error!(%partition, sequence, "an entry of the audit log cannot be read");
                continue;
            };
            if filter
                .from
                .is_some_and(|from| event.at.saturating_add(DISORDER) < from)
            {
                self.next = 0;
                break;
            }
            self.read.push_back(Entry {
                partition: self.partition,
                sequence: position.sequence(),
                event,
            });
        }
        Ok(())
    }
}
