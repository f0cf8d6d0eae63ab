//! Lists of agents: merged from the rows of the index, a page at a time.

use std::collections::VecDeque;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::index::{self, Order, Place, SORTED_NAME, Shelf, name_key};
use super::{AGENTS, AgentError, Agents, MAX_ATTEMPTS, record_key};
use crate::domain::agent::Agent;
use crate::store::{Batch, Key, KeyName, Outcome, Partition, Store, StoreError};

/// How many rows of one partition are read at once, at least.
const SMALLEST_CHUNK: usize = 8;
/// How many records of a page are read at the same time.
const CONCURRENT_READS: usize = 64;
/// How many rows with a common prefix are counted before the count is given up.
const MOST_COUNTED: usize = 10_000;
/// Says that every agent stands in the index.
const INDEXED: &str = "agents_indexed";
const SCAN_PAGE: usize = 500;

/// Which agents a list has, and in which order.
#[derive(Debug, Clone)]
pub struct AgentQuery {
    /// Those on this shelf.
    pub shelf: Shelf,
    /// Those that are active, or those that are not.
    pub is_active: Option<bool>,
    /// Those whose names begin so, whatever their case; at most [`SORTED_NAME`] bytes. Only in the order of names.
    pub name_prefix: Option<String>,
    /// In which order.
    pub order: Order,
    /// Whether in the reverse of it.
    pub is_descending: bool,
}

/// The rows of one partition, read ahead.
struct Source<'a> {
    store: &'a dyn Store,
    rows: Key,
    last: Option<Key>,
    buffered: VecDeque<Place>,
    chunk: usize,
    is_exhausted: bool,
}

impl Agents {
    /// Up to `limit` agents after the place `after`, each with its place. Only what is deleted at this moment is missing.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(
        &self,
        query: &AgentQuery,
        after: Option<&Place>,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<(Place, Agent)>, StoreError> {
        let places = self.places(query, after, skip + limit).await?;
        stream::iter(places.into_iter().skip(skip))
            .map(|place| async move {
                match self.find(place.agent()).await {
                    Ok(found) => Ok(Some((place, found.value))),
                    Err(AgentError::Store(error)) => Err(error),
                    Err(_) => Ok(None),
                }
            })
            .buffered(CONCURRENT_READS)
            .try_filter_map(async |found| Ok(found))
            .try_collect()
            .await
    }

    /// How many agents the list has. Those with a common prefix are counted up to 10,000; all others come from counters.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn count(&self, query: &AgentQuery) -> Result<i64, StoreError> {
        if query.name_prefix.is_some() {
            let places = self.places(query, None, MOST_COUNTED).await?;
            return Ok(i64::try_from(places.len()).unwrap_or(i64::MAX));
        }
        let parts = query.shelf.partitions().into_iter().map(|partition| {
            let counters: Vec<_> = query
                .activities()
                .map(|is_active| query.shelf.count(partition, is_active))
                .collect();
            async move { self.store.counts(&counters).await }
        });
        let parts = try_join_all(parts).await?;
        Ok(parts.into_iter().flatten().sum())
    }

    async fn places(
        &self,
        query: &AgentQuery,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let mut sources = query.sources(&*self.store, after, limit);
        try_join_all(sources.iter_mut().map(|source| source.fill(query))).await?;
        let mut merged = Vec::with_capacity(limit.min(MOST_COUNTED));
        while merged.len() < limit {
            let heads = sources
                .iter_mut()
                .filter(|source| !source.buffered.is_empty());
            let next = match query.is_descending {
                false => heads.min_by(|one, other| one.buffered[0].cmp(&other.buffered[0])),
                true => heads.max_by(|one, other| one.buffered[0].cmp(&other.buffered[0])),
            };
            let Some(source) = next else { break };
            merged.extend(source.buffered.pop_front());
            if source.buffered.is_empty() {
                source.fill(query).await?;
            }
        }
        Ok(merged)
    }

    /// Gives every agent its rows in the index, where a store was made before there was one. Safe at any time.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn index_all(&self) -> Result<(), StoreError> {
        let done = Partition::SYSTEM.key(INDEXED);
        if self.store.get(&done).await?.is_some() {
            return Ok(());
        }
        for partition in Partition::data() {
            let prefix = AGENTS.key(partition);
            let mut after = None;
            loop {
                let rows = AGENTS
                    .scan(&*self.store, &prefix, after.as_ref(), SCAN_PAGE)
                    .await?;
                after = rows.last().map(|(key, _)| key.clone());
                let is_last = rows.len() < SCAN_PAGE;
                for (_, row) in rows {
                    self.index_one(row.value).await?;
                }
                if is_last {
                    break;
                }
            }
        }
        let batch = Batch::new(Partition::SYSTEM).put(&done, bytes::Bytes::new());
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }

    async fn index_one(&self, mut agent: Agent) -> Result<(), StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let key = record_key(agent.home(), agent.id);
            let Some(first) = index::rows(&agent).into_iter().next() else {
                return Ok(());
            };
            let Some(stored) = AGENTS.get(&*self.store, &key).await? else {
                return Ok(());
            };
            if self.store.get(&first).await?.is_some() {
                return Ok(());
            }
            agent = stored.value;
            let batch = Batch::new(agent.home())
                .at_version(&key, stored.version)
                .absent(&first);
            let batch = index::shelve(batch, None, Some(&agent));
            if self.store.commit(&batch).await? == Outcome::Committed {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl AgentQuery {
    fn activities(&self) -> impl Iterator<Item = bool> {
        let wanted = self.is_active;
        [true, false]
            .into_iter()
            .filter(move |is_active| wanted.is_none_or(|wanted| wanted == *is_active))
    }

    /// The beginning that sort keys must have.
    fn sort_prefix(&self) -> Option<KeyName> {
        let prefix = self
            .name_prefix
            .as_deref()
            .filter(|prefix| !prefix.is_empty());
        prefix.map(name_key)
    }

    fn sources<'a>(
        &self,
        store: &'a dyn Store,
        after: Option<&Place>,
        limit: usize,
    ) -> Vec<Source<'a>> {
        let partitions = self.shelf.partitions();
        let chunk = (limit / partitions.len() + SMALLEST_CHUNK).min(SCAN_PAGE);
        let mut sources = Vec::new();
        for partition in partitions {
            for is_active in self.activities() {
                let rows = self.shelf.rows(partition, is_active, self.order);
                let last = match after {
                    Some(place) => Some(place.key(&rows)),
                    None => self.start().map(|start| rows.with(&start)),
                };
                sources.push(Source {
                    store,
                    rows,
                    last,
                    buffered: VecDeque::new(),
                    chunk,
                    is_exhausted: false,
                });
            }
        }
        sources
    }

    /// Just before the first row of a list with a prefix.
    fn start(&self) -> Option<KeyName> {
        let prefix = self.sort_prefix()?;
        match self.is_descending {
            false => Some(prefix),
            // `~` would do, and is no character of a key's part; `z` comes after every hexadecimal digit, too.
            true => KeyName::try_from(format!("{prefix}z").as_str()).ok(),
        }
    }
}

impl Source<'_> {
    async fn fill(&mut self, query: &AgentQuery) -> Result<(), StoreError> {
        if self.is_exhausted {
            return Ok(());
        }
        let last = self.last.as_ref();
        let rows = match query.is_descending {
            false => self.store.scan(&self.rows, last, self.chunk).await?,
            true => self.store.scan_back(&self.rows, last, self.chunk).await?,
        };
        self.is_exhausted = rows.len() < self.chunk;
        self.last = rows.last().map(|(key, _)| key.clone());
        let prefix = query.sort_prefix();
        for place in rows.iter().filter_map(|(key, _)| Place::of(key)) {
            let is_wanted = prefix
                .as_ref()
                .is_none_or(|prefix| place.sort_key().as_str().starts_with(prefix.as_str()));
            if !is_wanted {
                self.is_exhausted = true;
                break;
            }
            self.buffered.push_back(place);
        }
        Ok(())
    }
}

/// Whether names can be asked for by this prefix.
pub fn is_name_prefix(text: &str) -> bool {
    text.to_lowercase().len() <= SORTED_NAME
}
