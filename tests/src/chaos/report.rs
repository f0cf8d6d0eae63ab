//! A run as one table.

use std::collections::BTreeMap;
use std::fmt;

use super::Run;
use super::faults::Fault;
use super::history::{History, Outcome};
use super::invariants::Invariant;
use super::scene::Ground;
use crate::redis_server::Persistence;

/// How many violations of one invariant are shown.
const SHOWN: usize = 5;

/// What happened in a run, and whether the promises were kept.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    faults: BTreeMap<Fault, usize>,
    operations: BTreeMap<&'static str, [usize; 5]>,
    invariants: Vec<Invariant>,
}

impl Report {
    pub(super) fn new(
        run: &Run,
        faults: BTreeMap<Fault, usize>,
        history: &History,
        invariants: Vec<Invariant>,
    ) -> Self {
        let ground = match run.ground {
            Ground::Embedded => "one issuer on the embedded store",
            Ground::Redis(Persistence::Always) => "two issuers on Redis, appendfsync always",
            Ground::Redis(Persistence::EverySecond) => "two issuers on Redis, appendfsync everysec",
            Ground::Redis(Persistence::None) => "two issuers on Redis, in memory only",
        };
        let mut operations = BTreeMap::<_, [usize; 5]>::new();
        for entry in &history.entries {
            let outcome = match entry.outcome {
                Outcome::Done => 0,
                Outcome::Refused => 1,
                Outcome::Unreached => 2,
                Outcome::Unknown => 3,
                Outcome::Broken(_) => 4,
            };
            operations.entry(entry.act.name()).or_default()[outcome] += 1;
        }
        let title = format!("{ground}, {} s, SEED={}", run.lasts.as_secs(), run.seed);
        Self {
            title,
            faults,
            operations,
            invariants,
        }
    }

    /// Whether everything holds that must.
    pub fn is_kept(&self) -> bool {
        self.invariants.iter().all(|one| one.violations.is_empty())
    }

    /// How many faults there were.
    pub fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// The invariants of which the run had no case.
    pub fn unchecked(&self) -> Vec<&'static str> {
        let unchecked = self.invariants.iter().filter(|one| one.checked == 0);
        unchecked.map(|one| one.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n", self.title)?;
        writeln!(f, "{:52} {:>9}", "faults", "times")?;
        for (fault, times) in &self.faults {
            writeln!(f, "{:52} {times:>9}", fault.to_string())?;
        }
        let [done, refused, unreached, unknown, broken] =
            ["done", "refused", "unreached", "unknown", "broken"];
        writeln!(
            f,
            "\n{:22} {done:>9} {refused:>9} {unreached:>9} {unknown:>9} {broken:>9}",
            "operations"
        )?;
        for (name, [done, refused, unreached, unknown, broken]) in &self.operations {
            writeln!(
                f,
                "{name:22} {done:>9} {refused:>9} {unreached:>9} {unknown:>9} {broken:>9}"
            )?;
        }
        writeln!(
            f,
            "\n{:52} {:>9} {:>9}",
            "invariants", "checked", "violated"
        )?;
        for one in &self.invariants {
            let violated = one.violations.len();
            writeln!(f, "{:52} {:>9} {violated:>9}", one.name, one.checked)?;
            for violation in one.violations.iter().take(SHOWN) {
                writeln!(f, "    {violation}")?;
            }
        }
        Ok(())
    }
}
