//! What changes together, and under which conditions.

use std::fmt;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::random;

use super::key::{Key, Partition};
use super::log::Log;

/// A random identity of a batch, carried by every row and log entry that it wrote. Compared for equality only.
///
/// Never a counter: after a fail-over to an older state a counter would repeat, and a stale judgement would match
/// by accident.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u128);

impl Version {
    /// What no batch is.
    pub(super) const NONE: Version = Version(0);

    /// One that nothing has yet.
    pub fn mint() -> Version {
        Version(u128::from_ne_bytes(random()))
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Version {
        Version(u128::from_be_bytes(bytes))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({:032x})", self.0)
    }
}

/// Checks and writes that happen together or not at all, in one partition.
///
/// All checks are judged before the first write; the writes then apply in the order in which they were added.
/// A batch can be committed again when its answer was lost: a guarded row that already carries its version says
/// that it happened.
#[derive(Debug, Clone)]
pub struct Batch {
    partition: Partition,
    version: Version,
    checks: Vec<Check>,
    writes: Vec<Write>,
    on_replicas: bool,
}

/// A condition on a row. Dead rows count as absent.
#[derive(Debug, Clone)]
pub(super) enum Check {
    Absent(Key),
    AtVersion(Key, Version),
}

#[derive(Clone)]
pub(super) enum Write {
    Put(Key, Bytes, Option<Timestamp>),
    Delete(Key),
    Add(Key, i64),
    Max(Key, i64),
    Append(Log, Bytes),
}

impl Batch {
    /// An empty batch with a version of its own.
    pub fn new(partition: Partition) -> Batch {
        Batch {
            partition,
            version: Version::mint(),
            checks: Vec::new(),
            writes: Vec::new(),
            on_replicas: false,
        }
    }

    /// Counts as committed only when as many replicas have it as the store was told to wait for. When they do not
    /// acknowledge it in time, the commit fails as [unavailable](super::StoreError::is_unavailable), and it is unknown
    /// whether it happened. A store without replicas ignores it.
    pub fn on_replicas(mut self) -> Batch {
        self.on_replicas = true;
        self
    }

    /// Demands that there is no live row at `key`.
    pub fn absent(self, key: &Key) -> Batch {
        self.check(Check::Absent(key.clone()))
    }

    /// Demands that the row at `key` is alive and carries `version`.
    pub fn at_version(self, key: &Key, version: Version) -> Batch {
        self.check(Check::AtVersion(key.clone(), version))
    }

    /// Writes a row that lives until it is deleted.
    pub fn put(self, key: &Key, value: Bytes) -> Batch {
        self.write(key, Write::Put(key.clone(), value, None))
    }

    /// Writes a row that is alive while `now < expires_at`.
    pub fn put_until(self, key: &Key, value: Bytes, expires_at: Timestamp) -> Batch {
        self.write(key, Write::Put(key.clone(), value, Some(expires_at)))
    }

    /// Removes the row and the counter at `key`, whichever exist.
    pub fn delete(self, key: &Key) -> Batch {
        self.write(key, Write::Delete(key.clone()))
    }

    /// Adds to the counter at `key`, which starts at 0 and saturates at the ends of `i64`. Counters live apart
    /// from rows: they carry no version and never conflict.
    pub fn add(self, key: &Key, amount: i64) -> Batch {
        self.write(key, Write::Add(key.clone(), amount))
    }

    /// Raises the counter at `key`, which starts at 0, to at least `floor`.
    pub fn max(self, key: &Key, floor: i64) -> Batch {
        self.write(key, Write::Max(key.clone(), floor))
    }

    /// Appends an entry to a log of the batch's partition.
    pub fn append(mut self, log: Log, entry: Bytes) -> Batch {
        self.writes.push(Write::Append(log, entry));
        self
    }

    /// The version that this batch's rows and log entries carry.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The partition that this batch touches.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub(super) fn writes(&self) -> &[Write] {
        &self.writes
    }

    pub(super) fn insists_on_replicas(&self) -> bool {
        self.on_replicas
    }

    /// Whether a second commit of this batch would see that the first one happened: it leaves its version in a
    /// row that it guards. Only then may it be sent again without knowing what became of the first.
    pub(super) fn is_recognisable(&self) -> bool {
        self.checks.iter().any(|check| {
            let last_write = self
                .writes
                .iter()
                .rev()
                .find(|write| write.row() == Some(check.key()));
            matches!(last_write, Some(Write::Put(..)))
        })
    }

    /// The logs that grow when this batch is committed.
    pub(super) fn appended(&self) -> impl Iterator<Item = Log> {
        Log::ALL.into_iter().filter(|log| {
            self.writes
                .iter()
                .any(|write| matches!(write, Write::Append(appended, _) if appended == log))
        })
    }

    fn check(mut self, check: Check) -> Batch {
        self.assert_mine(check.key());
        self.checks.push(check);
        self
    }

    fn write(mut self, key: &Key, write: Write) -> Batch {
        self.assert_mine(key);
        self.writes.push(write);
        self
    }

    fn assert_mine(&self, key: &Key) {
        assert_eq!(
            key.partition(),
            self.partition,
            "a batch touches one partition"
        );
    }
}

impl Check {
    pub(super) fn key(&self) -> &Key {
        match self {
            Check::Absent(key) | Check::AtVersion(key, _) => key,
        }
    }

    /// Whether the condition holds, given the version of the live row.
    pub(super) fn holds(&self, live: Option<Version>) -> bool {
        match self {
            Check::Absent(_) => live.is_none(),
            Check::AtVersion(_, version) => live == Some(*version),
        }
    }
}

impl Write {
    /// The row that this write puts or deletes.
    fn row(&self) -> Option<&Key> {
        match self {
            Write::Put(key, ..) | Write::Delete(key) => Some(key),
            Write::Add(..) | Write::Max(..) | Write::Append(..) => None,
        }
    }
}

/// Shows sizes, never values: they hold hashed secrets and sealed keys.
impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Write::Put(key, value, expires_at) => {
                write!(f, "Put({key:?}, {} bytes, {expires_at:?})", value.len())
            }
            Write::Delete(key) => write!(f, "Delete({key:?})"),
            Write::Add(key, amount) => write!(f, "Add({key:?}, {amount})"),
            Write::Max(key, floor) => write!(f, "Max({key:?}, {floor})"),
            Write::Append(log, entry) => write!(f, "Append({log:?}, {} bytes)", entry.len()),
        }
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a conflict means that nothing was written"]
pub enum Outcome {
    /// All of it happened, now or when it was sent before.
    Committed,
    /// A check failed and nothing happened: read again, judge again.
    Conflict,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &'static str) -> Key {
        Partition::SYSTEM.key("test").with(name)
    }

    #[test]
    fn only_a_batch_that_marks_a_row_it_guards_is_recognisable() {
        let (a, b) = (key("a"), key("b"));
        let version = Version::mint();
        let new = || Batch::new(Partition::SYSTEM);
        assert!(new().absent(&a).put(&a, Bytes::new()).is_recognisable());
        assert!(
            new()
                .at_version(&a, version)
                .absent(&b)
                .put(&b, Bytes::new())
                .is_recognisable()
        );
        assert!(!new().put(&a, Bytes::new()).is_recognisable());
        assert!(!new().absent(&a).put(&b, Bytes::new()).is_recognisable());
        assert!(!new().at_version(&a, version).delete(&a).is_recognisable());
        assert!(
            !new()
                .absent(&a)
                .put(&a, Bytes::new())
                .delete(&a)
                .is_recognisable()
        );
    }

    /// I21
    #[test]
    fn debug_output_never_shows_a_value() {
        let batch = Batch::new(Partition::SYSTEM)
            .put(&key("a"), Bytes::from_static(b"hunter2"))
            .append(Log::Audit, Bytes::from_static(b"hunter2"));
        assert!(!format!("{batch:?}").contains("hunter2"));
    }

    #[test]
    #[should_panic(expected = "one partition")]
    fn a_key_of_another_partition_is_a_programming_error() {
        let _ = Batch::new(Partition::of("x")).absent(&key("a"));
    }
}
