//! The bytes of a row and of a log entry in a backend: the version, when the row dies, the value.

use bytes::{Bytes, BytesMut};
use machineauth_core::clock::Timestamp;

use super::{Entry, StoreError, Version};

const VERSION_LEN: usize = 16;
const HEADER_LEN: usize = VERSION_LEN + 8;
const NEVER: Timestamp = Timestamp::MAX;

/// A row as stored: 16 bytes of version, 8 of Unix milliseconds (big-endian, all ones for never), the value.
#[derive(Clone, Copy)]
pub(super) struct StoredRow<'a> {
    pub(super) version: Version,
    pub(super) expires_at: Timestamp,
    pub(super) value: &'a [u8],
}

impl<'a> StoredRow<'a> {
    pub(super) fn encode(version: Version, expires_at: Option<Timestamp>, value: &[u8]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER_LEN + value.len());
        bytes.extend_from_slice(&version.to_bytes());
        let expires_at = expires_at.unwrap_or(NEVER).as_millis();
        bytes.extend_from_slice(&expires_at.to_be_bytes());
        bytes.extend_from_slice(value);
        bytes.freeze()
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<StoredRow<'a>, StoreError> {
        const SHORT: StoreError = StoreError::Corrupt {
            what: "a row that is too short",
        };
        let (version, rest) = bytes.split_first_chunk().ok_or(SHORT)?;
        let (expires_at, value) = rest.split_first_chunk().ok_or(SHORT)?;
        Ok(StoredRow {
            version: Version::from_bytes(*version),
            expires_at: Timestamp::from_millis(u64::from_be_bytes(*expires_at)),
            value,
        })
    }

    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// When the row dies, or nothing when it never does.
    pub(super) fn dies_at(&self) -> Option<Timestamp> {
        (self.expires_at != NEVER).then_some(self.expires_at)
    }
}

/// The entry in a stored row, when it is alive, without copying the value.
pub(super) fn live_entry(bytes: &Bytes, now: Timestamp) -> Result<Option<Entry>, StoreError> {
    let row = StoredRow::decode(bytes)?;
    let (version, is_live) = (row.version, row.is_live(now));
    Ok(is_live.then(|| Entry {
        value: bytes.slice(HEADER_LEN..),
        version,
    }))
}

/// As [`live_entry`] of each row that is there.
pub(super) fn live_entries(
    rows: Vec<Option<Bytes>>,
    now: Timestamp,
) -> Result<Vec<Option<Entry>>, StoreError> {
    let entry = |row: Option<Bytes>| row.map_or(Ok(None), |row| live_entry(&row, now));
    rows.into_iter().map(entry).collect()
}

/// A log entry as stored: 16 bytes of version, the entry.
pub(super) fn encode_log_entry(version: Version, entry: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(VERSION_LEN + entry.len());
    bytes.extend_from_slice(&version.to_bytes());
    bytes.extend_from_slice(entry);
    bytes.freeze()
}

/// The version and the entry in a stored log entry.
pub(super) fn decode_log_entry(bytes: &Bytes) -> Result<(Version, Bytes), StoreError> {
    let version = bytes.first_chunk().ok_or(StoreError::Corrupt {
        what: "a log entry that is too short",
    })?;
    Ok((Version::from_bytes(*version), bytes.slice(VERSION_LEN..)))
}
