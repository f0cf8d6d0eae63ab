//! Many at once: whatever batches and reads do at the same time, there is one order in which they happened.
//!
//! Each batch appends its number to a log, so the log says in which order batches were committed. They are replayed in that
//! order on a model, where each must be allowed. What conflicted, and what was read, must fit somewhere in that order
//! between the moments at which it was asked for and answered.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use machineauth_issuer::store::{
    Batch, DynStore, EmbeddedStore, Key, Log, LogRead, MemoryStore, Outcome, Position, Store,
    Version,
};
use machineauth_tests::dice::Dice;
use machineauth_tests::redis_server::{Persistence, RedisServer};
use tempfile::TempDir;
use tokio::sync::Barrier;
use tokio::task::{JoinSet, yield_now};

use super::fixture::{clock, connect, key, partition};

const HISTORIES: u64 = 12;
const CLIENTS: usize = 6;
const STEPS: usize = 30;
/// Few, so that clients meet.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_batches_in_memory_have_an_order() {
    for seed in 0..HISTORIES {
        let store: DynStore = Arc::new(MemoryStore::new(Arc::new(clock())));
        have_an_order(&[store], seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_batches_in_a_file_have_an_order() {
    for seed in 0..HISTORIES {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store.redb");
        let store = EmbeddedStore::open(&path, Arc::new(clock())).await.unwrap();
        have_an_order(&[Arc::new(store)], seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_batches_of_two_issuers_on_redis_have_an_order() {
    let server = RedisServer::start_with(Persistence::None).await;
    for seed in 0..HISTORIES {
        server.ask(&["FLUSHALL"]);
        let clock = clock();
        let stores = [
            connect(&server, &clock).await,
            connect(&server, &clock).await,
        ];
        have_an_order(&stores, seed).await;
    }
}

/// Lets clients loose on stores that are one, and looks for the order.
async fn have_an_order(stores: &[DynStore], seed: u64) {
    let mut dice = Dice::new(seed);
    let watch = Arc::new(Watch::default());
    let start = Arc::new(Barrier::new(CLIENTS));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let client = Client {
            store: Arc::clone(&stores[n % stores.len()]),
            watch: Arc::clone(&watch),
            start: Arc::clone(&start),
            dice: dice.fork(),
            seen: HashMap::new(),
            did: Vec::new(),
        };
        clients.spawn(client.work());
    }
    let did: Vec<Did> = clients.join_all().await.into_iter().flatten().collect();
    let committed = did.iter().filter(|one| one.committed().is_some()).count();
    let conflicted = did.iter().filter(|one| one.has_conflicted()).count();
    assert!(
        committed > CLIENTS && conflicted > CLIENTS,
        "{committed} committed, {conflicted} conflicted"
    );
    let order = order(&*stores[0]).await;
    let last = State::read(&*stores[0]).await;
    if let Err(difference) = verify(&did, &order, &last) {
        panic!("seed {seed}: {difference}");
    }
}

/// A clock that only says what came before what.
#[derive(Debug, Default)]
struct Watch(AtomicU64);

impl Watch {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// A batch, as the model understands it.
#[derive(Clone, Debug)]
struct Plan {
    number: u64,
    version: Version,
    /// The version at each key; `None` for an absent row.
    checks: Vec<(usize, Option<Version>)>,
    writes: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Put(usize, Bytes),
    Delete(usize),
    Add(usize, i64),
}

/// What a client did, and when it had not yet begun and was over.
#[derive(Clone, Debug)]
struct Did {
    begun: u64,
    what: What,
    ended: u64,
}

#[derive(Clone, Debug)]
enum What {
    Commit(Plan, Outcome),
    Rows(Vec<Option<(Version, Bytes)>>),
    Counts(Vec<i64>),
}

impl Did {
    /// The number of a batch that was committed.
    fn committed(&self) -> Option<u64> {
        match &self.what {
            What::Commit(plan, Outcome::Committed) => Some(plan.number),
            _ => None,
        }
    }

    fn has_conflicted(&self) -> bool {
        matches!(self.what, What::Commit(_, Outcome::Conflict))
    }
}

/// All that there is to see in a store.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    rows: BTreeMap<usize, (Version, Bytes)>,
    counts: BTreeMap<usize, i64>,
}

impl State {
    async fn read(store: &dyn Store) -> Self {
        let rows = store.get_all(&keys()).await.unwrap();
        let counts = store.counts(&keys()).await.unwrap();
        let rows = rows.into_iter().enumerate().filter_map(|(at, row)| {
            let row = row?;
            Some((at, (row.version, row.value)))
        });
        Self {
            rows: rows.collect(),
            counts: counts
                .into_iter()
                .enumerate()
                .filter(|(_, count)| *count != 0)
                .collect(),
        }
    }

    fn allows(&self, plan: &Plan) -> bool {
        plan.checks.iter().all(|(key, version)| {
            let live = self.rows.get(key).map(|(version, _)| *version);
            live == *version
        })
    }

    fn after(&self, plan: &Plan) -> Self {
        let mut next = self.clone();
        for write in &plan.writes {
            match write {
                Write::Put(key, value) => {
                    next.rows.insert(*key, (plan.version, value.clone()));
                }
                Write::Delete(key) => {
                    next.rows.remove(key);
                    next.counts.remove(key);
                }
                Write::Add(key, amount) => {
                    let count = next.counts.entry(*key).or_default();
                    *count += amount;
                }
            }
        }
        next.counts.retain(|_, count| *count != 0);
        next
    }

    /// Whether this is a moment at which that could have been seen.
    fn shows(&self, what: &What) -> bool {
        match what {
            What::Commit(_, Outcome::Committed) => true,
            What::Commit(plan, Outcome::Conflict) => !self.allows(plan),
            What::Rows(rows) => rows
                .iter()
                .enumerate()
                .all(|(key, row)| self.rows.get(&key) == row.as_ref()),
            What::Counts(counts) => counts
                .iter()
                .enumerate()
                .all(|(key, count)| self.counts.get(&key).copied().unwrap_or(0) == *count),
        }
    }
}

/// The numbers of the batches in the order in which they were committed.
async fn order(store: &dyn Store) -> Vec<u64> {
    let log = store.log(partition(), Log::Audit, &Position::START, usize::MAX);
    let LogRead::Entries(entries) = log.await.unwrap() else {
        panic!("nobody trimmed the log");
    };
    let number = |entry: Bytes| u64::from_be_bytes(entry[..].try_into().unwrap());
    entries
        .into_iter()
        .map(|(_, entry)| number(entry))
        .collect()
}

/// Whether everything fits into that order, and leads to that end.
fn verify(did: &[Did], order: &[u64], last: &State) -> Result<(), String> {
    let mut places = HashMap::new();
    for (place, number) in order.iter().enumerate() {
        if places.insert(*number, place).is_some() {
            return Err(format!("batch {number} happened twice"));
        }
    }
    let mut plans = HashMap::new();
    for one in did {
        if let What::Commit(plan, outcome) = &one.what {
            let is_in_order = places.contains_key(&plan.number);
            if is_in_order != (*outcome == Outcome::Committed) {
                return Err(format!("{plan:?} is in the order or not, and {outcome:?}"));
            }
            plans.insert(plan.number, plan);
        }
    }
    let mut states = vec![State::default()];
    for number in order {
        let plan = plans[number];
        let before = &states[states.len() - 1];
        if !before.allows(plan) {
            return Err(format!("{plan:?} was committed in {before:?}"));
        }
        states.push(before.after(plan));
    }
    for one in did {
        let moments = moments(one, did, &places);
        let fits = match one.committed() {
            Some(number) => moments.contains(&places[&number]),
            None => moments
                .clone()
                .any(|moment| states[moment].shows(&one.what)),
        };
        if !fits {
            return Err(format!("{one:?} fits nowhere in {moments:?}"));
        }
    }
    match states[states.len() - 1] == *last {
        true => Ok(()),
        false => Err(format!("the end is {last:?} and not {:?}", states.last())),
    }
}

/// After how many of the commits something may have happened: not before those that were over when it began, and not after
/// those that began when it was over.
fn moments(one: &Did, did: &[Did], places: &HashMap<u64, usize>) -> RangeInclusive<usize> {
    let placed = did
        .iter()
        .filter_map(|other| Some((other, places[&other.committed()?])));
    let (mut from, mut to) = (0, places.len());
    for (other, place) in placed {
        if other.ended < one.begun {
            from = from.max(place + 1);
        }
        if other.begun > one.ended {
            to = to.min(place);
        }
    }
    from..=to
}

/// Somebody who reads and writes, by what it has seen.
struct Client {
    store: DynStore,
    watch: Arc<Watch>,
    start: Arc<Barrier>,
    dice: Dice,
    seen: HashMap<usize, Version>,
    did: Vec<Did>,
}

impl Client {
    async fn work(mut self) -> Vec<Did> {
        self.start.wait().await;
        for _ in 0..STEPS {
            // Somebody else's turn, also where nothing has to be waited for.
            yield_now().await;
            match self.dice.below(10) {
                0..3 => self.read().await,
                3 => self.count().await,
                _ => self.commit().await,
            }
        }
        self.did
    }

    async fn read(&mut self) {
        let begun = self.watch.tick();
        let rows = self.store.get_all(&keys()).await.unwrap();
        let ended = self.watch.tick();
        self.seen = rows
            .iter()
            .enumerate()
            .filter_map(|(key, row)| Some((key, row.as_ref()?.version)))
            .collect();
        let rows = rows
            .into_iter()
            .map(|row| row.map(|row| (row.version, row.value)));
        let what = What::Rows(rows.collect());
        self.did.push(Did { begun, what, ended });
    }

    async fn count(&mut self) {
        let begun = self.watch.tick();
        let counts = self.store.counts(&keys()).await.unwrap();
        let ended = self.watch.tick();
        let what = What::Counts(counts);
        self.did.push(Did { begun, what, ended });
    }

    async fn commit(&mut self) {
        let (plan, batch) = self.plan();
        let begun = self.watch.tick();
        // A batch that leaves its version in a row that it guards can be sent twice, and happens once. (Where it guards the
        // absence of a row and somebody deletes that in between, the port does not promise this.)
        let is_recognisable = plan.checks.iter().any(|(key, version)| {
            let of_key = plan
                .writes
                .iter()
                .rev()
                .find(|write| write.row() == Some(*key));
            version.is_some() && matches!(of_key, Some(Write::Put(..)))
        });
        let outcome = match is_recognisable && self.dice.percent(25) {
            true => {
                let (one, other) =
                    tokio::join!(self.store.commit(&batch), self.store.commit(&batch));
                let (one, other) = (one.unwrap(), other.unwrap());
                // Once it was changed by somebody else, the second one may find no trace of the first.
                match one == Outcome::Committed {
                    true => one,
                    false => other,
                }
            }
            false => self.store.commit(&batch).await.unwrap(),
        };
        let ended = self.watch.tick();
        if outcome == Outcome::Committed {
            for write in &plan.writes {
                match write {
                    Write::Put(key, _) => drop(self.seen.insert(*key, plan.version)),
                    Write::Delete(key) => drop(self.seen.remove(key)),
                    Write::Add(..) => {}
                }
            }
        }
        let what = What::Commit(plan, outcome);
        self.did.push(Did { begun, what, ended });
    }

    fn plan(&mut self) -> (Plan, Batch) {
        let number = self.watch.tick();
        let mut batch = Batch::new(partition())
            .append(Log::Audit, Bytes::copy_from_slice(&number.to_be_bytes()));
        let mut plan = Plan {
            number,
            version: batch.version(),
            checks: Vec::new(),
            writes: Vec::new(),
        };
        for _ in 0..self.dice.below(3) {
            let key = self.dice.below(KEYS.len());
            let seen = self.seen.get(&key).copied();
            plan.checks.push((key, seen));
            batch = match seen {
                Some(version) => batch.at_version(&keys()[key], version),
                None => batch.absent(&keys()[key]),
            };
        }
        for _ in 0..=self.dice.below(2) {
            let key = match plan.checks.first() {
                Some((checked, _)) if self.dice.percent(70) => *checked,
                _ => self.dice.below(KEYS.len()),
            };
            let (write, next) = match self.dice.below(10) {
                0..6 => {
                    let value = Bytes::copy_from_slice(&number.to_be_bytes());
                    let next = batch.put(&keys()[key], value.clone());
                    (Write::Put(key, value), next)
                }
                6..8 => (Write::Delete(key), batch.delete(&keys()[key])),
                amount => {
                    let amount = i64::try_from(amount).unwrap();
                    (Write::Add(key, amount), batch.add(&keys()[key], amount))
                }
            };
            plan.writes.push(write);
            batch = next;
        }
        (plan, batch)
    }
}

impl Write {
    /// The row that it puts or deletes.
    fn row(&self) -> Option<usize> {
        match self {
            Self::Put(key, _) | Self::Delete(key) => Some(*key),
            Self::Add(..) => None,
        }
    }
}

fn keys() -> Vec<Key> {
    KEYS.map(key).into()
}

/// Two batches that put the same row, one after the other.
fn two_puts() -> (Vec<Did>, State) {
    let put = |number: u64, before: Option<Version>| {
        let value = Bytes::copy_from_slice(&number.to_be_bytes());
        let plan = Plan {
            number,
            version: Batch::new(partition()).version(),
            checks: vec![(0, before)],
            writes: vec![Write::Put(0, value)],
        };
        let did = Did {
            begun: 10 * number,
            what: What::Commit(plan.clone(), Outcome::Committed),
            ended: 10 * number + 5,
        };
        (plan, did)
    };
    let (first, one) = put(1, None);
    let (second, other) = put(2, Some(first.version));
    let last = State::default().after(&first).after(&second);
    (vec![one, other], last)
}

#[test]
fn a_history_that_has_an_order_is_found_to_have_one() {
    let (did, last) = two_puts();
    assert_eq!(verify(&did, &[1, 2], &last), Ok(()));
}

#[test]
fn histories_that_have_none_are_found_out() {
    let (did, last) = two_puts();
    let complaint =
        |did: &[Did], order: &[u64], last: &State| verify(did, order, last).unwrap_err();
    assert!(complaint(&did, &[2, 1], &last).contains("was committed in"));
    assert!(complaint(&did, &[1], &last).contains("is in the order or not"));
    assert!(complaint(&did, &[1, 2, 2], &last).contains("happened twice"));
    assert!(complaint(&did, &[1, 2], &State::default()).contains("the end is"));

    let read = |begun, rows: Vec<_>| Did {
        begun,
        what: What::Rows(rows),
        ended: begun + 1,
    };
    let nothing = vec![None; KEYS.len()];
    let mut stale = did.clone();
    stale.push(read(30, nothing.clone()));
    assert!(complaint(&stale, &[1, 2], &last).contains("fits nowhere"));
    let mut in_time = did.clone();
    in_time.push(read(12, nothing));
    assert_eq!(
        verify(&in_time, &[1, 2], &last),
        Ok(()),
        "the first is under way"
    );

    // Refused, although nothing stood in its way.
    let mut refused = did;
    let What::Commit(plan, _) = &refused[1].what else {
        unreachable!("both are commits")
    };
    let mut plan = plan.clone();
    plan.number = 3;
    plan.checks.clear();
    refused.push(Did {
        begun: 30,
        what: What::Commit(plan, Outcome::Conflict),
        ended: 31,
    });
    assert!(complaint(&refused, &[1, 2], &last).contains("fits nowhere"));
}
