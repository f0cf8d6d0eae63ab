//! The store of many processes: Redis 6.2 or newer, or Valkey, without modules.
//!
//! A partition is one hash tag. Its rows, their index, their expiry times, its counters and its logs are one Redis
//! key each, and a batch is one run of one script over them: one round trip.

mod address;
mod announce;
mod checks;
mod cluster;
mod commit;
mod copy;
mod failure;
mod link;
mod pipeline;
mod script;
mod servers;
mod whereabouts;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use machineauth_core::clock::{Clock, Timestamp};
use redis::{FromRedisValue, Value};
use tokio::sync::watch;

use self::address::Address;
pub use self::address::RedisOptions;
use self::announce::{Announcer, Subscriber};
use self::link::{Request, Resend};
use self::script::{CHANGES, Names, evalsha};
use self::servers::Servers;
use super::changes::Changes;
use super::key::{Direction, one_partition, scan_bounds};
use super::piece::{Piece, Pieces, Place, Section};
use super::row::{decode_log_entry, live_entries, live_entry};
use super::{
    Batch, Entry, Key, Log, LogRead, Outcome, PARTITIONS, Partition, Position, SWEEP_MARGIN, Store,
    StoreError, Version,
};

/// How many rows or entries one run of a script looks at: Redis does nothing else meanwhile.
const STEP: usize = 256;

/// Lua's numbers are exact up to here; no log gets that long.
const LONGEST: u64 = 1 << 53;

/// A store in Redis.
#[derive(Debug)]
pub struct RedisStore {
    clock: Arc<dyn Clock>,
    servers: Arc<Servers>,
    /// How many replicas must have what a batch wrote that insists on it.
    replicas: u32,
    announcer: Announcer,
    subscriber: Subscriber,
    changes: Arc<Changes>,
    /// Of the data partitions in order, and then of the system's.
    names: Vec<Names>,
}

impl RedisStore {
    /// Connects to `redis://[user:password@]host[:port][/database]`, or to `rediss://` over TLS.
    ///
    /// # Errors
    /// [`StoreError::Address`] for another URL, [`StoreError::Unavailable`] within about a second when Redis cannot
    /// be reached, [`StoreError::Incompatible`] when it holds a store that is not for this program.
    pub async fn connect(url: &str, clock: Arc<dyn Clock>) -> Result<RedisStore, StoreError> {
        Self::connect_with(url, &RedisOptions::default(), clock).await
    }

    /// As [`RedisStore::connect`], with options.
    ///
    /// # Errors
    /// As [`RedisStore::connect`]; [`StoreError::Address`] also when the file of certificate authorities cannot be
    /// used.
    pub async fn connect_with(
        url: &str,
        options: &RedisOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<RedisStore, StoreError> {
        let servers = Arc::new(Servers::of(&Address::parse(url, options)?));
        checks::format(&servers).await?;
        checks::fitness(&servers, options.replicas).await?;
        let changes = Arc::new(Changes::new());
        Ok(RedisStore {
            clock,
            announcer: Announcer::new(Arc::clone(&servers)),
            subscriber: Subscriber::start(Arc::clone(&servers), Arc::clone(&changes)).await,
            servers,
            replicas: options.replicas,
            changes,
            names: Partition::data()
                .chain([Partition::SYSTEM])
                .map(Names::of)
                .collect(),
        })
    }

    fn names(&self, partition: Partition) -> &Names {
        &self.names[usize::from(partition.index().min(PARTITIONS))]
    }

    /// The positions before the oldest entry and of the newest.
    async fn ends(
        &self,
        partition: Partition,
        log: Log,
    ) -> Result<(Position, Position), StoreError> {
        let names = self.names(partition);
        let mut command = evalsha(
            &self.servers.scripts().ends,
            &[names.log(log), &names.tails],
        );
        command.arg(log.as_str());
        let (tail, tail_version, head, head_version): (u64, Vec<u8>, u64, Vec<u8>) =
            self.servers.call(partition, &command).await?;
        Ok((
            Position::new(tail, version(&tail_version)?),
            Position::new(head, version(&head_version)?),
        ))
    }
}

impl RedisStore {
    async fn rows(
        &self,
        prefix: &Key,
        start: Option<&Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        let partition = prefix.partition();
        let names = self.names(partition);
        let Some((mut lower, mut upper)) = scan_bounds(prefix, start, direction) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        while found.len() < limit {
            let now = self.clock.now();
            let mut command = evalsha(&self.servers.scripts().scan, &[&names.rows, &names.index]);
            command
                .arg(&lower)
                .arg(&upper)
                .arg((limit - found.len()).min(STEP))
                .arg(now.as_millis())
                .arg(match direction {
                    Direction::Forward => "forward",
                    Direction::Back => "back",
                });
            let answer: Vec<Bytes> = self.servers.call(partition, &command).await?;
            let mut answer = answer.into_iter();
            let last = text(&answer.next().unwrap_or_default())?.to_owned();
            while let (Some(path), Some(row)) = (answer.next(), answer.next()) {
                if let Some(entry) = live_entry(&row, now)? {
                    found.push((Key::from_stored(partition, text(&path)?), entry));
                }
            }
            if last.is_empty() {
                break;
            }
            match direction {
                Direction::Forward => lower = last,
                Direction::Back => upper = last,
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let mut command = redis::cmd("HGET");
        command
            .arg(&self.names(key.partition()).rows)
            .arg(key.path());
        let row: Option<Bytes> = self.servers.call(key.partition(), &command).await?;
        row.map_or(Ok(None), |row| live_entry(&row, self.clock.now()))
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, StoreError> {
        let Some(partition) = one_partition(keys) else {
            return Ok(Vec::new());
        };
        let mut command = redis::cmd("HMGET");
        command.arg(&self.names(partition).rows);
        for key in keys {
            command.arg(key.path());
        }
        let rows: Vec<Option<Bytes>> = self.servers.call(partition, &command).await?;
        live_entries(rows, self.clock.now())
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.rows(prefix, after, Direction::Forward, limit).await
    }

    async fn scan_back(
        &self,
        prefix: &Key,
        before: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        self.rows(prefix, before, Direction::Back, limit).await
    }

    async fn counts(&self, keys: &[Key]) -> Result<Vec<i64>, StoreError> {
        let Some(partition) = one_partition(keys) else {
            return Ok(Vec::new());
        };
        let mut command = redis::cmd("HMGET");
        command.arg(&self.names(partition).counters);
        for key in keys {
            command.arg(key.path());
        }
        let counts: Vec<Option<i64>> = self.servers.call(partition, &command).await?;
        Ok(counts.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn commit(&self, batch: &Batch) -> Result<Outcome, StoreError> {
        let announcement = self.announcer.with_commit(batch);
        let names = self.names(batch.partition());
        let scripts = self.servers.scripts();
        let command = commit::command(scripts, names, batch, self.clock.now(), announcement);
        let resend = if batch.is_recognisable() {
            Resend::Once
        } else {
            Resend::Never
        };
        let replicas = if batch.insists_on_replicas() {
            self.replicas
        } else {
            0
        };
        let request = Request::new(&command).on_replicas(replicas);
        let answer: i64 = self
            .servers
            .send(batch.partition(), request, resend)
            .await?;
        match answer {
            1 => Ok(Outcome::Committed),
            0 => Ok(Outcome::Conflict),
            _ => Err(UNEXPECTED),
        }
    }

    async fn log(
        &self,
        partition: Partition,
        log: Log,
        after: &Position,
        limit: usize,
    ) -> Result<LogRead, StoreError> {
        if after.sequence() >= LONGEST {
            return Ok(LogRead::Lost);
        }
        let names = self.names(partition);
        let mut position = *after;
        let mut entries = Vec::new();
        // Once at least: whether the position is lost is an answer even when no entry is wanted.
        loop {
            let step = (limit - entries.len()).min(STEP);
            let mut command = evalsha(&self.servers.scripts().log, &[names.log(log), &names.tails]);
            command
                .arg(log.as_str())
                .arg(position.sequence())
                .arg(&position.version().to_bytes()[..])
                .arg(step);
            let Some(read) = self
                .servers
                .call::<Option<Vec<Bytes>>>(partition, &command)
                .await?
            else {
                // What was read so far was there when it was read; the next read says that the rest is lost.
                let lost = entries.is_empty();
                return Ok(if lost {
                    LogRead::Lost
                } else {
                    LogRead::Entries(entries)
                });
            };
            let complete = read.len() < step;
            for stored in &read {
                let (version, entry) = decode_log_entry(stored)?;
                position = Position::new(position.sequence() + 1, version);
                entries.push((position, entry));
            }
            if complete || entries.len() == limit {
                return Ok(LogRead::Entries(entries));
            }
        }
    }

    async fn log_back(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
        limit: usize,
    ) -> Result<Vec<(Position, Bytes)>, StoreError> {
        let names = self.names(partition);
        let mut through = through;
        let mut entries = Vec::new();
        while entries.len() < limit && through > 0 {
            let step = (limit - entries.len()).min(STEP);
            let keys = [names.log(log), &names.tails];
            let mut command = evalsha(&self.servers.scripts().log_back, &keys);
            command
                .arg(log.as_str())
                .arg(through.min(LONGEST))
                .arg(step);
            let (newest, read): (u64, Vec<Bytes>) = self.servers.call(partition, &command).await?;
            let complete = read.len() < step;
            for (age, stored) in (0..).zip(read.iter().rev()) {
                let (version, entry) = decode_log_entry(stored)?;
                entries.push((Position::new(newest.saturating_sub(age), version), entry));
            }
            through = newest.saturating_sub(read.len() as u64);
            if complete {
                break;
            }
        }
        Ok(entries)
    }

    async fn head(&self, partition: Partition, log: Log) -> Result<Position, StoreError> {
        Ok(self.ends(partition, log).await?.1)
    }

    async fn tail(&self, partition: Partition, log: Log) -> Result<Position, StoreError> {
        Ok(self.ends(partition, log).await?.0)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.any()
    }

    fn changes_in(&self, log: Log) -> watch::Receiver<u64> {
        self.changes.in_log(log)
    }

    async fn sweep(&self, partition: Partition, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let names = self.names(partition);
        let keys = [&names.rows, &names.index, &names.expiry, &names.counters];
        let cutoff = now.saturating_sub(SWEEP_MARGIN);
        let mut swept = 0;
        while swept < limit && now.duration_since(Timestamp::default()) >= SWEEP_MARGIN {
            let step = (limit - swept).min(STEP);
            let mut command = evalsha(&self.servers.scripts().sweep, &keys);
            command.arg(cutoff.as_millis()).arg(step);
            let removed: usize = self.servers.call(partition, &command).await?;
            swept += removed;
            if removed < step {
                break;
            }
        }
        Ok(swept)
    }

    async fn trim(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
    ) -> Result<usize, StoreError> {
        let names = self.names(partition);
        let mut command = evalsha(
            &self.servers.scripts().trim,
            &[names.log(log), &names.tails],
        );
        command.arg(log.as_str()).arg(through.min(LONGEST));
        self.servers.call(partition, &command).await
    }

    async fn dump(
        &self,
        partition: Partition,
        from: &Place,
        limit: usize,
    ) -> Result<Pieces, StoreError> {
        let (names, limit) = (self.names(partition), limit.min(STEP));
        match &from.0 {
            Section::Rows(after) => {
                let scripts = self.servers.scripts();
                let command = copy::rows(scripts, names, after.as_deref(), limit);
                let answer: Vec<Option<Bytes>> = self.servers.call(partition, &command).await?;
                copy::read_rows(from, &answer, limit)
            }
            Section::Counters(cursor) => {
                let command = copy::counters(names, cursor.as_deref(), limit);
                let (cursor, counters) = self
                    .servers
                    .call::<(String, Vec<(String, i64)>)>(partition, &command)
                    .await?;
                Ok(copy::read_counters(&cursor, counters))
            }
        }
    }

    async fn load(&self, partition: Partition, pieces: &[Piece]) -> Result<(), StoreError> {
        for pieces in pieces.chunks(STEP) {
            let command = copy::load(self.servers.scripts(), self.names(partition), pieces);
            if self.servers.call::<u8>(partition, &command).await? != 1 {
                return Err(StoreError::Corrupt {
                    what: "a gap in a log",
                });
            }
        }
        Ok(())
    }

    async fn erase(&self, partition: Partition) -> Result<(), StoreError> {
        let mut command = redis::cmd("UNLINK");
        command.arg(&self.names(partition).of_copy());
        self.servers
            .call::<u64>(partition, &command)
            .await
            .map(drop)
    }

    /// Every process that has the store open listens to changes.
    async fn is_shared(&self) -> Result<bool, StoreError> {
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(CHANGES);
        let listeners: Vec<(String, u64)> = self.servers.each(&command).await?;
        Ok(listeners.iter().map(|(_, here)| here).sum::<u64>() > 1)
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let time = redis::cmd("TIME");
        let (secs, micros): (u64, u64) = self.servers.call(Partition::SYSTEM, &time).await?;
        Ok(Timestamp::from_millis(
            secs.saturating_mul(1000).saturating_add(micros / 1000),
        ))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.subscriber.stop();
        self.servers.close();
        Ok(())
    }
}

const UNEXPECTED: StoreError = StoreError::Corrupt {
    what: "an answer of an unexpected shape",
};

fn read<T: FromRedisValue>(answer: Value) -> Result<T, StoreError> {
    redis::from_redis_value(answer).map_err(|_| UNEXPECTED)
}

fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| UNEXPECTED)
}

fn version(bytes: &[u8]) -> Result<Version, StoreError> {
    bytes
        .try_into()
        .map(Version::from_bytes)
        .map_err(|_| UNEXPECTED)
}
