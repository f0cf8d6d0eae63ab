//! What a store consists of, piece by piece, for an exact copy of it.

use std::fmt;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use machineauth_core::clock::Timestamp;

use super::{Log, Position, StoreError, Version};

/// A piece of a partition, exactly as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// A row, dead or alive.
    Row {
        /// The path of its key.
        path: Box<str>,
        /// Of the batch that put it.
        version: Version,
        /// When it dies. `None`: never.
        expires_at: Option<Timestamp>,
        /// What was put.
        value: Bytes,
    },
    /// A counter.
    Counter {
        /// The path of its key.
        path: Box<str>,
        /// What was counted.
        count: i64,
    },
    /// Where a log begins: before its entries.
    Tail {
        /// Which log.
        log: Log,
        /// The position before its oldest entry.
        position: Position,
    },
    /// An entry of a log: in order, after its tail.
    Entry {
        /// Which log.
        log: Log,
        /// Its position.
        position: Position,
        /// What was appended.
        entry: Bytes,
    },
}

/// Where a copy of a partition goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub(super) Section);

/// What is copied from a place on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Section {
    /// Rows after a path.
    Rows(Option<Box<str>>),
    /// Counters after whatever the backend counts by.
    Counters(Option<Box<str>>),
}

impl Place {
    /// Before everything.
    pub const START: Self = Self(Section::Rows(None));

    /// Where a copy goes on after `pieces`, of which there could be `limit`, for a backend that counts by paths.
    pub(super) fn after(&self, pieces: &[Piece], limit: usize) -> Option<Self> {
        let last = match pieces.last().filter(|_| pieces.len() >= limit) {
            Some(Piece::Row { path, .. } | Piece::Counter { path, .. }) => Some(path.clone()),
            _ => None,
        };
        match (&self.0, last) {
            (Section::Rows(_), None) => Some(Self(Section::Counters(None))),
            (Section::Rows(_), last) => Some(Self(Section::Rows(last))),
            (Section::Counters(_), None) => None,
            (Section::Counters(_), last) => Some(Self(Section::Counters(last))),
        }
    }
}

/// Some pieces of a partition, and where the rest of them is. `None`: there are no more.
pub type Pieces = (Vec<Piece>, Option<Place>);

const ROW: u8 = b'r';
const COUNTER: u8 = b'c';
const TAIL: u8 = b't';
const ENTRY: u8 = b'e';
const NEVER: u64 = u64::MAX;

impl Piece {
    /// How much it weighs, in bytes, so that a batch of pieces can be kept small.
    pub fn weight(&self) -> usize {
        match self {
            Self::Row { path, value, .. } => path.len() + value.len() + 32,
            Self::Counter { path, .. } => path.len() + 16,
            Self::Tail { .. } => 32,
            Self::Entry { entry, .. } => entry.len() + 32,
        }
    }

    /// The piece as bytes, the same whatever the backend.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.weight() + 8);
        match self {
            Self::Row {
                path,
                version,
                expires_at,
                value,
            } => {
                bytes.put_u8(ROW);
                put_text(&mut bytes, path);
                bytes.put_slice(&version.to_bytes());
                bytes.put_u64(expires_at.map_or(NEVER, Timestamp::as_millis));
                bytes.put_slice(value);
            }
            Self::Counter { path, count } => {
                bytes.put_u8(COUNTER);
                put_text(&mut bytes, path);
                bytes.put_i64(*count);
            }
            Self::Tail { log, position } => {
                bytes.put_u8(TAIL);
                put_place(&mut bytes, *log, position);
            }
            Self::Entry {
                log,
                position,
                entry,
            } => {
                bytes.put_u8(ENTRY);
                put_place(&mut bytes, *log, position);
                bytes.put_slice(entry);
            }
        }
        bytes.freeze()
    }

    /// Reads what [`Piece::encode`] wrote.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for other bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, StoreError> {
        Self::read(bytes).ok_or(StoreError::Corrupt {
            what: "a piece of a copy that is none",
        })
    }

    fn read(mut bytes: Bytes) -> Option<Self> {
        match bytes.try_get_u8().ok()? {
            ROW => {
                let path = take_text(&mut bytes)?;
                let version = take_version(&mut bytes)?;
                let expires_at = bytes.try_get_u64().ok()?;
                Some(Self::Row {
                    path,
                    version,
                    expires_at: (expires_at != NEVER).then_some(Timestamp::from_millis(expires_at)),
                    value: bytes,
                })
            }
            COUNTER => {
                let path = take_text(&mut bytes)?;
                let count = bytes.try_get_i64().ok()?;
                bytes.is_empty().then_some(Self::Counter { path, count })
            }
            TAIL => {
                let (log, position) = take_place(&mut bytes)?;
                bytes.is_empty().then_some(Self::Tail { log, position })
            }
            ENTRY => {
                let (log, position) = take_place(&mut bytes)?;
                Some(Self::Entry {
                    log,
                    position,
                    entry: bytes,
                })
            }
            _ => None,
        }
    }
}

/// Shows sizes, never values: they hold hashed secrets and sealed keys.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row {
                path,
                expires_at,
                value,
                ..
            } => write!(f, "Row({path}, {} bytes, {expires_at:?})", value.len()),
            Self::Counter { path, count } => write!(f, "Counter({path}, {count})"),
            Self::Tail { log, position } => write!(f, "Tail({log:?}, {position})"),
            Self::Entry {
                log,
                position,
                entry,
            } => write!(f, "Entry({log:?}, {position}, {} bytes)", entry.len()),
        }
    }
}

fn put_text(bytes: &mut BytesMut, text: &str) {
    let length = u32::try_from(text.len()).expect("no path is longer than 4 GiB");
    bytes.put_u32(length);
    bytes.put_slice(text.as_bytes());
}

fn put_place(bytes: &mut BytesMut, log: Log, position: &Position) {
    bytes.put_u8(match log {
        Log::Audit => b'a',
        Log::Revocations => b'r',
    });
    bytes.put_u64(position.sequence());
    bytes.put_slice(&position.version().to_bytes());
}

fn take_text(bytes: &mut Bytes) -> Option<Box<str>> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    if bytes.len() < length {
        return None;
    }
    let text = bytes.split_to(length);
    std::str::from_utf8(&text).ok().map(Into::into)
}

fn take_version(bytes: &mut Bytes) -> Option<Version> {
    let mut version = [0; 16];
    bytes.try_copy_to_slice(&mut version).ok()?;
    Some(Version::from_bytes(version))
}

fn take_place(bytes: &mut Bytes) -> Option<(Log, Position)> {
    let log = match bytes.try_get_u8().ok()? {
        b'a' => Log::Audit,
        b'r' => Log::Revocations,
        _ => return None,
    };
    let sequence = bytes.try_get_u64().ok()?;
    Some((log, Position::new(sequence, take_version(bytes)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces() -> impl Strategy<Value = Piece> {
        let log = prop::sample::select(Log::ALL.to_vec());
        let position = (any::<u64>(), any::<[u8; 16]>())
            .prop_map(|(sequence, version)| Position::new(sequence, Version::from_bytes(version)));
        let bytes = prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
        let row = (
            any::<String>(),
            any::<[u8; 16]>(),
            any::<Option<u32>>(),
            bytes.clone(),
        );
        prop_oneof![
            row.prop_map(|(path, version, expires_at, value)| Piece::Row {
                path: path.into(),
                version: Version::from_bytes(version),
                expires_at: expires_at.map(|at| Timestamp::from_millis(at.into())),
                value,
            }),
            (any::<String>(), any::<i64>()).prop_map(|(path, count)| Piece::Counter {
                path: path.into(),
                count,
            }),
            (log.clone(), position.clone())
                .prop_map(|(log, position)| Piece::Tail { log, position }),
            (log, position, bytes).prop_map(|(log, position, entry)| Piece::Entry {
                log,
                position,
                entry,
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_piece_survives_its_bytes(piece in pieces()) {
            prop_assert_eq!(Piece::decode(piece.encode()).unwrap(), piece);
        }

        #[test]
        fn other_bytes_are_no_piece_and_no_panic(bytes: Vec<u8>) {
            let _ = Piece::decode(bytes.into());
        }
    }
}
