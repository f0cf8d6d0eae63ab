//! Random histories: each backend answers exactly as the memory store does.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::clock::{Clock as _, ManualClock};
use machineauth_issuer::store::{
    Batch, DynStore, EmbeddedStore, Key, Log, LogRead, MemoryStore, Partition, Position,
    RedisStore, Version,
};
use machineauth_tests::redis_server::{Persistence, RedisServer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::fixture::{clock, key, partition};

const CASES: u32 = 100;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Op>),
    /// The last batch, sent again.
    Resend,
    Advance(u64),
    Sweep(usize),
    Trim(Log, u64),
    Scan {
        under: usize,
        after: Option<usize>,
        limit: usize,
    },
    Log {
        log: Log,
        after: usize,
        limit: usize,
    },
}

#[derive(Debug, Clone)]
enum Op {
    Absent(usize),
    AtVersion(usize, Which),
    Put(usize, Vec<u8>),
    PutUntil(usize, Vec<u8>, u64),
    Delete(usize),
    Add(usize, i64),
    Max(usize, i64),
    Append(Log, Vec<u8>),
}

/// The version that a check names.
#[derive(Debug, Clone, Copy)]
enum Which {
    Current,
    Stale(usize),
}

#[test]
fn the_embedded_store_agrees_with_the_memory_store() {
    let directory = TempDir::new().unwrap();
    let mut case = 0;
    agrees(|clock| {
        case += 1;
        let path = directory.path().join(format!("{case}.redb"));
        let clock = clock.clone();
        async move { Arc::new(EmbeddedStore::open(&path, Arc::new(clock)).await.unwrap()) as DynStore }
    });
}

#[test]
fn redis_agrees_with_the_memory_store() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(RedisServer::start_with(Persistence::None));
    let admin = redis::Client::open(server.url()).unwrap();
    agrees(|clock| {
        redis::cmd("FLUSHALL")
            .exec(&mut admin.get_connection().unwrap())
            .unwrap();
        let (url, clock) = (server.url(), clock.clone());
        async move { Arc::new(RedisStore::connect(&url, Arc::new(clock)).await.unwrap()) as DynStore }
    });
}

fn agrees<F: Future<Output = DynStore>>(mut open: impl FnMut(&ManualClock) -> F) {
    let runtime = Runtime::new().unwrap();
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let open = std::cell::RefCell::new(&mut open);
    let verdict = TestRunner::new(config).run(&vec(step(), 1..25), |steps| {
        runtime.block_on(async {
            let clock = clock();
            let memory = MemoryStore::new(Arc::new(clock.clone()));
            let opening = (open.borrow_mut())(&clock);
            let history = History {
                memory: Arc::new(memory),
                other: opening.await,
                clock,
                versions: Vec::new(),
                last: None,
            };
            history.follow(steps).await
        })
    });
    if let Err(difference) = verdict {
        panic!("{difference}");
    }
}

struct History {
    memory: DynStore,
    other: DynStore,
    clock: ManualClock,
    versions: Vec<Version>,
    last: Option<Batch>,
}

/// Asks both stores the same and compares the answers.
macro_rules! same {
    ($self:ident.$method:ident($($argument:expr),*)) => {{
        let expected = $self.memory.$method($($argument),*).await;
        let answered = $self.other.$method($($argument),*).await;
        let expected = expected.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let answered = answered.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&answered, &expected, "{}", stringify!($method));
        expected
    }};
}

impl History {
    async fn follow(mut self, steps: Vec<Step>) -> Result<(), TestCaseError> {
        for step in steps {
            self.take(step).await?;
            self.compare().await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Commit(ops) => {
                let batch = self.batch(ops).await?;
                let _ = same!(self.commit(&batch));
                self.versions.push(batch.version());
                self.last = Some(batch);
            }
            Step::Resend => {
                if let Some(batch) = &self.last {
                    let _ = same!(self.commit(batch));
                }
            }
            Step::Advance(millis) => self.clock.advance(Duration::from_millis(millis)),
            Step::Sweep(limit) => {
                // Which of the due rows go first is up to the store, so all of them go.
                while same!(self.sweep(partition(), 1_000 + limit)) > 0 {}
            }
            Step::Trim(log, through) => {
                same!(self.trim(partition(), log, through));
            }
            Step::Scan {
                under,
                after,
                limit,
            } => {
                let after = after.map(|after| keys()[after].clone());
                same!(self.scan(&roots()[under], after.as_ref(), limit));
                same!(self.scan_back(&roots()[under], after.as_ref(), limit));
            }
            Step::Log { log, after, limit } => {
                let positions = self.positions(log).await?;
                let after = positions[after % positions.len()];
                same!(self.log(partition(), log, &after, limit));
                same!(self.log_back(partition(), log, after.sequence(), limit));
            }
        }
        Ok(())
    }

    async fn batch(&self, ops: Vec<Op>) -> Result<Batch, TestCaseError> {
        let keys = keys();
        let mut batch = Batch::new(partition());
        for op in ops {
            batch = match op {
                Op::Absent(k) => batch.absent(&keys[k]),
                Op::AtVersion(k, which) => {
                    let current = same!(self.get(&keys[k])).map(|entry| entry.version);
                    let version = match which {
                        Which::Current => current,
                        Which::Stale(index) => self
                            .versions
                            .get(index % self.versions.len().max(1))
                            .copied(),
                    };
                    match version {
                        Some(version) => batch.at_version(&keys[k], version),
                        None => batch,
                    }
                }
                Op::Put(k, value) => batch.put(&keys[k], value.into()),
                Op::PutUntil(k, value, millis) => {
                    let until = self.clock.now();
                    let until = until.saturating_add(Duration::from_millis(millis));
                    batch.put_until(&keys[k], value.into(), until)
                }
                Op::Delete(k) => batch.delete(&keys[k]),
                Op::Add(k, amount) => batch.add(&keys[k], amount),
                Op::Max(k, floor) => batch.max(&keys[k], floor),
                Op::Append(log, entry) => batch.append(log, entry.into()),
            };
        }
        Ok(batch)
    }

    /// Compares all that there is to see.
    async fn compare(&self) -> Result<(), TestCaseError> {
        for key in keys() {
            same!(self.get(&key));
        }
        same!(self.counts(&keys()));
        for root in roots() {
            same!(self.scan(&root, None, usize::MAX));
        }
        for log in Log::ALL {
            same!(self.tail(partition(), log));
            same!(self.head(partition(), log));
            same!(self.log(partition(), log, &Position::START, usize::MAX));
        }
        Ok(())
    }

    /// Positions in a log, and some that are not.
    async fn positions(&self, log: Log) -> Result<Vec<Position>, TestCaseError> {
        let tail = same!(self.tail(partition(), log));
        let mut positions = vec![Position::START, tail, same!(self.head(partition(), log))];
        let other = if log == Log::Audit {
            Log::Revocations
        } else {
            Log::Audit
        };
        positions.push(same!(self.head(partition(), other)));
        let read = same!(self.log(partition(), log, &tail, usize::MAX));
        if let LogRead::Entries(entries) = read {
            positions.extend(entries.into_iter().map(|(position, _)| position));
        }
        Ok(positions)
    }
}

fn roots() -> [Key; 3] {
    let root = partition().key("test");
    [root.clone(), key("a"), root.with("b")]
}

/// Few, so that operations meet; chosen around the order of `-`, `.`, `/` and `0`.
fn keys() -> Vec<Key> {
    let mut keys: Vec<Key> = ["a", "a-", "a.", "a0", "b"].map(key).into();
    keys.push(key("a").with("x"));
    keys.push(key("a").with(7));
    keys.push(Partition::of("acme").key("other").with("x"));
    keys
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(op(), 0..7).prop_map(Step::Commit),
        1 => Just(Step::Resend),
        2 => (0_u64..90_000).prop_map(Step::Advance),
        1 => (0_usize..5).prop_map(Step::Sweep),
        1 => (log(), 0_u64..12).prop_map(|(log, through)| Step::Trim(log, through)),
        1 => (0..roots().len(), proptest::option::of(a_key()), 0_usize..5)
            .prop_map(|(under, after, limit)| Step::Scan { under, after, limit }),
        1 => (log(), 0_usize..20, 0_usize..5)
            .prop_map(|(log, after, limit)| Step::Log { log, after, limit }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let value = || vec(any::<u8>(), 0..20);
    let number = || {
        prop_oneof![
            8 => -1_000_i64..1_000,
            1 => any::<i64>(),
            1 => Just(i64::MAX),
            1 => Just(i64::MIN),
            1 => ((1_i64 << 53) - 2)..((1 << 53) + 3),
        ]
    };
    prop_oneof![
        1 => a_key().prop_map(Op::Absent),
        2 => (a_key(), which()).prop_map(|(k, which)| Op::AtVersion(k, which)),
        3 => (a_key(), value()).prop_map(|(k, value)| Op::Put(k, value)),
        3 => (a_key(), value(), 0_u64..120_000).prop_map(|(k, value, ms)| Op::PutUntil(k, value, ms)),
        2 => a_key().prop_map(Op::Delete),
        2 => (a_key(), number()).prop_map(|(k, amount)| Op::Add(k, amount)),
        2 => (a_key(), number()).prop_map(|(k, floor)| Op::Max(k, floor)),
        3 => (log(), value()).prop_map(|(log, entry)| Op::Append(log, entry)),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        3 => Just(Which::Current),
        1 => (0_usize..20).prop_map(Which::Stale),
    ]
}

fn a_key() -> std::ops::Range<usize> {
    0..keys().len()
}

fn log() -> impl Strategy<Value = Log> {
    prop_oneof![Just(Log::Audit), Just(Log::Revocations)]
}
