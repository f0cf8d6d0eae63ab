//! Where a row lives: a partition and a path inside it.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use uuid::Uuid;

/// How many data partitions a store has. Fixed when a store is created, checked when it is opened.
pub const PARTITIONS: u8 = 32;

const SEPARATOR: char = '/';

/// The unit of atomicity: a batch touches exactly one partition.
///
/// On Redis a partition is one hash tag, so a batch is one slot and a cluster spreads the partitions; in the
/// embedded store it is a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// What belongs to the service as a whole: signing keys, configuration, leases.
    pub const SYSTEM: Partition = Partition(u8::MAX);

    /// The data partition of an id, the same in every process and version.
    ///
    /// FNV-1a (64 bits) over the id's text, its halves folded by exclusive or, modulo [`PARTITIONS`].
    pub fn of(id: impl fmt::Display) -> Partition {
        let mut hash = Fnv1a::new();
        write!(hash, "{id}").expect("hashing text cannot fail");
        let folded = (hash.0 >> 32) ^ (hash.0 & u64::from(u32::MAX));
        let index = folded % u64::from(PARTITIONS);
        Partition(u8::try_from(index).expect("a remainder of a u8 fits a u8"))
    }

    /// The data partitions, all [`PARTITIONS`] of them, in order.
    pub fn data() -> impl Iterator<Item = Partition> + Clone {
        (0..PARTITIONS).map(Partition)
    }

    /// All partitions: those of data, and that of the system.
    pub fn all() -> impl Iterator<Item = Partition> + Clone {
        Self::data().chain(std::iter::once(Self::SYSTEM))
    }

    /// The first part of a key in this partition: what kind of row it is.
    ///
    /// # Panics
    /// When `kind` is empty or contains `/`, which is a programming error.
    pub fn key(self, kind: &'static str) -> Key {
        let mut path = String::with_capacity(kind.len());
        push_part(&mut path, &kind);
        Key {
            partition: self,
            path: path.into(),
        }
    }

    pub(super) fn index(self) -> u8 {
        self.0
    }

    /// Its number in files: below [`PARTITIONS`], or 255 for [`Partition::SYSTEM`].
    pub fn number(self) -> u8 {
        self.0
    }

    /// The partition with that number. `None` when there is none.
    pub fn numbered(number: u8) -> Option<Partition> {
        Self::data()
            .chain([Self::SYSTEM])
            .find(|partition| partition.0 == number)
    }
}

/// The partition that all of `keys` are in; `None` where there are no keys.
///
/// # Panics
/// When they are in several, which is a programming error.
pub(super) fn one_partition(keys: &[Key]) -> Option<Partition> {
    let partition = keys.first()?.partition();
    assert!(
        keys.iter().all(|key| key.partition() == partition),
        "what is read at once is in one partition"
    );
    Some(partition)
}

/// `07`, or `sys` for [`Partition::SYSTEM`].
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Partition::SYSTEM {
            f.write_str("sys")
        } else {
            write!(f, "{:02}", self.0)
        }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({self})")
    }
}

/// The address of a row: a partition, and a path of parts joined by `/`.
///
/// Rows of a partition are ordered by the bytes of their paths. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    partition: Partition,
    path: Arc<str>,
}

impl Key {
    /// This key's path with one more part.
    ///
    /// # Panics
    /// When the part is empty or contains `/`: the types that implement [`KeyPart`] do not.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "parts are ids and numbers, which callers need not borrow"
    )]
    pub fn with(&self, part: impl KeyPart) -> Key {
        let mut path = String::with_capacity(self.path.len() + 40);
        path.push_str(&self.path);
        path.push(SEPARATOR);
        push_part(&mut path, &part);
        Key {
            partition: self.partition,
            path: path.into(),
        }
    }

    /// The partition that this key belongs to.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The parts, joined by `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether this key lies under `prefix`: same partition, all parts of the prefix, and at least one more.
    pub fn starts_with(&self, prefix: &Key) -> bool {
        self.partition == prefix.partition
            && self
                .path
                .strip_prefix(&*prefix.path)
                .is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// The text behind the last separator.
    pub fn last_part(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// A key read back from a backend.
    pub(super) fn from_stored(partition: Partition, path: &str) -> Key {
        Key {
            partition,
            path: path.into(),
        }
    }

    /// The path, shared.
    pub(super) fn shared_path(&self) -> Arc<str> {
        Arc::clone(&self.path)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}:{})", self.partition, self.path)
    }
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Back,
}

/// The paths under `prefix` on the far side of the key `start`, as two bounds that are both exclusive, the lower first;
/// nothing when no path can lie between them.
pub(super) fn scan_bounds(
    prefix: &Key,
    start: Option<&Key>,
    direction: Direction,
) -> Option<(String, String)> {
    let first = format!("{}{SEPARATOR}", prefix.path);
    // The byte after the separator: every path under the prefix sorts before it.
    let end = format!("{}{}", prefix.path, char::from(SEPARATOR as u8 + 1));
    let start = start.map(|key| {
        assert_eq!(
            key.partition, prefix.partition,
            "a scan stays in one partition"
        );
        key.path().to_owned()
    });
    let (lower, upper) = match (start, direction) {
        (None, _) => (first, end),
        (Some(start), Direction::Forward) => (start.max(first), end),
        (Some(start), Direction::Back) => (first, start.min(end)),
    };
    (lower < upper).then_some((lower, upper))
}

/// Something that can stand between two separators of a [`Key`].
pub trait KeyPart {
    /// Appends this part's text: never empty, never with a `/`.
    fn write(&self, path: &mut String);
}

/// Hyphenated lower-case text.
impl KeyPart for Uuid {
    fn write(&self, path: &mut String) {
        path.push_str(self.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }
}

impl KeyPart for &'static str {
    fn write(&self, path: &mut String) {
        path.push_str(self);
    }
}

/// Twenty digits with leading zeros, so that the order of keys is the order of numbers.
impl KeyPart for u64 {
    fn write(&self, path: &mut String) {
        write!(path, "{self:020}").expect("writing to a string cannot fail");
    }
}

impl KeyPart for KeyName {
    fn write(&self, path: &mut String) {
        path.push_str(&self.0);
    }
}

impl KeyPart for &KeyName {
    fn write(&self, path: &mut String) {
        path.push_str(&self.0);
    }
}

/// Text from outside that is fit to be a key part: 1 to 128 characters of `A-Z a-z 0-9 _ . -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for KeyName {
    type Error = InvalidKeyName;

    fn try_from(name: &str) -> Result<Self, InvalidKeyName> {
        let fits = (1..=Self::MAX_LEN).contains(&name.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if fits && name.bytes().all(plain) {
            Ok(KeyName(name.into()))
        } else {
            Err(InvalidKeyName)
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot be a [`KeyName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 128 characters, each a letter, a digit, `_`, `.` or `-`")]
pub struct InvalidKeyName;

fn push_part(path: &mut String, part: &impl KeyPart) {
    let start = path.len();
    part.write(path);
    let written = &path[start..];
    assert!(
        !written.is_empty() && !written.contains(SEPARATOR),
        "a key part is not empty and has no separator"
    );
}

/// <http://www.isthe.com/chongo/tech/comp/fnv/>: small, stable, and the ids are ours or checked by quota, so
/// nobody gains by choosing colliding ones.
struct Fnv1a(u64);

impl Fnv1a {
    const fn new() -> Self {
        Fnv1a(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Write for Fnv1a {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_never_move() {
        let ids = ["", "a", "foobar", "3f1c2f0e-6a55-4b43-9a5c-0a4bb07c8f10"];
        let partitions: Vec<u8> = ids.iter().map(|id| Partition::of(id).index()).collect();
        assert_eq!(partitions, [1, 0, 25, 24], "data would be lost");
    }

    #[test]
    fn a_uuid_and_its_text_are_in_the_same_partition() {
        let id = Uuid::new_v4();
        assert_eq!(Partition::of(id), Partition::of(id.to_string()));
    }

    #[test]
    fn ids_spread_over_all_partitions() {
        let mut counts = [0; PARTITIONS as usize];
        for _ in 0..3_200 {
            counts[usize::from(Partition::of(Uuid::new_v4()).index())] += 1;
        }
        assert!(
            counts.iter().all(|count| (40..250).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn numbers_sort_as_numbers() {
        let key = Partition::SYSTEM.key("n");
        assert!(key.with(9).path() < key.with(10).path());
        assert!(key.with(10).path() < key.with(u64::MAX).path());
    }

    #[test]
    fn a_key_is_under_its_prefix_only_at_a_separator() {
        let root = Partition::SYSTEM.key("agent");
        assert!(root.with("x").starts_with(&root));
        assert!(!root.starts_with(&root));
        assert!(!Partition::SYSTEM.key("agents").starts_with(&root));
        assert!(!Partition::of("x").key("agent").with("x").starts_with(&root));
    }

    #[test]
    fn names_cannot_contain_the_separator() {
        for name in ["", "a/b", "a b", "é", "a\0", &"x".repeat(129)] {
            assert_eq!(KeyName::try_from(name), Err(InvalidKeyName), "{name:?}");
        }
        assert!(KeyName::try_from("A-z_0.9").is_ok());
    }

    #[test]
    #[should_panic(expected = "has no separator")]
    fn a_part_with_a_separator_is_a_programming_error() {
        let _ = Partition::SYSTEM.key("a/b");
    }
}
