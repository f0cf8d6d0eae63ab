//! Seals: what is signed of a stretch of an audit log.
//!
//! A seal covers a segment of one partition's log: which entries, a digest over them, and the digest of the seal before
//! it. So the seals of a partition are a chain, and none can be taken out of it. Beside the digest it has a mark of each
//! entry, by which the one that was tampered with is found.

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{VerifyingKey, sha256};
use serde::{Deserialize, Serialize};

use super::cursor::partitions;
use crate::domain::sealing::{SealingError, SealingKey};
use crate::store::{Key, Partition, Position, Store, StoreError, Table};

/// The seals of a partition, each under the number of its first entry.
const SEALS: Table<Seal> = Table::new("seal", 1);
/// The most entries of one segment.
pub(super) const MAX_SEGMENT: usize = 500;
/// How much of an entry's digest its mark is, in bytes.
pub(super) const MARK: usize = 8;
/// What a seal is, and in which form: nothing else that is signed begins so.
const PREAMBLE: &str = "machineauth audit seal 1";

/// What is signed of a segment of an audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Whose log it is: `00` to `31`, or `sys`.
    pub partition: String,
    /// The number of the first entry.
    pub first: u64,
    /// The position of the last entry: its number, and the version of the batch that wrote it.
    pub last: String,
    /// How many entries there are.
    pub count: u64,
    /// SHA-256 of the digests of all entries, in base64url.
    pub digest: String,
    /// The first eight bytes of each entry's digest, in base64url.
    pub marks: String,
    /// The digest of the seal before it, in base64url; empty for the first of a log.
    pub previous: String,
    /// When it was sealed, in Unix milliseconds.
    pub at: Timestamp,
    /// The key that signed it.
    pub kid: String,
    /// Its Ed25519 signature, in base64url.
    pub signature: String,
}

/// The digest of an entry: of the version that it carries, and of its bytes.
///
/// Its number is not in it: an entry that stands in another place is recognised there.
pub(super) fn entry_digest(position: &Position, entry: &[u8]) -> [u8; 32] {
    let text = position.to_string();
    let version = text.split_once('.').map_or("", |(_, version)| version);
    let mut message = Vec::with_capacity(version.len() + 1 + entry.len());
    message.extend_from_slice(version.as_bytes());
    message.push(b'\n');
    message.extend_from_slice(entry);
    sha256(&message)
}

/// The mark of an entry with this digest.
pub(super) fn mark(digest: &[u8; 32]) -> [u8; MARK] {
    let (mark, _) = digest
        .split_first_chunk()
        .expect("a digest is longer than a mark");
    *mark
}

/// The digest over a whole segment.
pub(super) fn segment_digest(digests: &[[u8; 32]]) -> String {
    base64url::encode(sha256(digests.concat().as_slice()))
}

impl Seal {
    /// Seals the entries of a segment, which are not none.
    ///
    /// # Errors
    /// When signing fails.
    pub(super) fn over(
        partition: Partition,
        entries: &[(Position, bytes::Bytes)],
        previous: String,
        at: Timestamp,
        key: &SealingKey,
    ) -> Result<Self, SealingError> {
        let digests: Vec<_> = entries
            .iter()
            .map(|(position, entry)| entry_digest(position, entry))
            .collect();
        let (first, last) = (entries.first(), entries.last());
        let mut seal = Self {
            partition: partition.to_string(),
            first: first.map_or(0, |(position, _)| position.sequence()),
            last: last.map_or_else(String::new, |(position, _)| position.to_string()),
            count: entries.len() as u64,
            digest: segment_digest(&digests),
            marks: base64url::encode(digests.iter().map(mark).collect::<Vec<_>>().concat()),
            previous,
            at,
            kid: key.kid().to_owned(),
            signature: String::new(),
        };
        seal.signature = base64url::encode(key.sign(&seal.message())?);
        Ok(seal)
    }

    /// The seal as it is exported: JSON, and the end of the line.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("a seal is plain data");
        line.push('\n');
        line
    }

    /// Everything that is signed, a line each.
    fn message(&self) -> Vec<u8> {
        let Self {
            partition,
            first,
            last,
            count,
            digest,
            marks,
            previous,
            at,
            kid,
            signature: _,
        } = self;
        let at = at.as_millis();
        format!(
            "{PREAMBLE}\n{partition}\n{first}\n{last}\n{count}\n{digest}\n{marks}\n{previous}\n{at}\n{kid}"
        )
        .into_bytes()
    }

    /// Whether `key` signed it.
    pub(super) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        base64url::decode(&self.signature)
            .is_some_and(|signature| key.verify(&self.message(), &signature).is_ok())
    }

    /// What the next seal says of this one.
    pub(super) fn chained(&self) -> String {
        let mut message = self.message();
        message.push(b'\n');
        message.extend_from_slice(self.signature.as_bytes());
        base64url::encode(sha256(&message))
    }

    /// The position of its last entry.
    pub(super) fn last_position(&self) -> Option<Position> {
        self.last.parse().ok()
    }

    /// The number of its last entry.
    pub(super) fn last_sequence(&self) -> u64 {
        self.last_position()
            .map_or(0, |position| position.sequence())
    }

    /// The marks of its entries, in their order.
    pub(super) fn marks(&self) -> Vec<[u8; MARK]> {
        let bytes = base64url::decode(&self.marks).unwrap_or_default();
        let (marks, _) = bytes.as_chunks();
        marks.to_vec()
    }
}

/// A text that holds no seals as they are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected a seal as it was exported, one JSON object on each line")]
pub struct InvalidSeals {
    line: usize,
}

/// A line of an export that is no seal but says with which key those after it were signed.
#[derive(Deserialize)]
struct KeyLine {
    #[serde(rename = "sealing_key")]
    _key: serde_json::Map<String, serde_json::Value>,
}

/// The first line of an export: the key that the seals after it are signed with.
pub fn seals_head(key: &SealingKey) -> String {
    let key = serde_json::json!({ "sealing_key": key.public_jwk() });
    format!("{key}\n")
}

/// Reads exported seals, a line each.
///
/// # Errors
/// Names the first line that is none.
pub fn parse_seals(text: &str) -> Result<Vec<Seal>, InvalidSeals> {
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let mut seals = Vec::new();
    for (line, text) in lines {
        match serde_json::from_str(text) {
            Ok(seal) => seals.push(seal),
            Err(_) if serde_json::from_str::<KeyLine>(text).is_ok() => {}
            Err(_) => return Err(InvalidSeals { line }),
        }
    }
    Ok(seals)
}

/// Up to `limit` seals after the one at `after`, partition by partition, in their order.
///
/// # Errors
/// The store's failure.
pub async fn scan_seals(
    store: &dyn Store,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<(Key, Seal)>, StoreError> {
    let mut after = after.cloned();
    let mut found = Vec::new();
    let from = after.as_ref().map(Key::partition);
    let rest = partitions().skip_while(|partition| from.is_some_and(|from| from != *partition));
    for partition in rest {
        let prefix = SEALS.key(partition);
        let wanted = limit - found.len();
        let rows = SEALS.scan(store, &prefix, after.as_ref(), wanted).await?;
        found.extend(rows.into_iter().map(|(key, seal)| (key, seal.value)));
        if found.len() == limit {
            break;
        }
        after = None;
    }
    Ok(found)
}

/// The table of seals.
pub(super) const fn seals() -> &'static Table<Seal> {
    &SEALS
}

/// The row of the seal whose first entry has this number.
pub(super) fn seal_key(partition: Partition, first: u64) -> Key {
    SEALS.key(partition).with(first)
}
