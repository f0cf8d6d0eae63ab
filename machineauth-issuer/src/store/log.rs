//! The logs, and places in them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::batch::Version;

/// The logs that every partition has. Entries are numbered from 1 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// Every event: what webhooks and the audit trail read.
    Audit,
    /// What resource servers must hear: revoked tokens, families, agents, keys.
    Revocations,
}

impl Log {
    /// Every log.
    pub const ALL: [Log; 2] = [Log::Audit, Log::Revocations];

    /// `audit` or `revocations`.
    pub fn as_str(self) -> &'static str {
        match self {
            Log::Audit => "audit",
            Log::Revocations => "revocations",
        }
    }
}

/// A place in a log: the number of the last entry read, and the version of the batch that wrote it, so that a
/// place in a log that was rolled back is not mistaken for one in the log that grew since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    sequence: u64,
    version: Version,
}

impl Position {
    /// Before the first entry.
    pub const START: Position = Position {
        sequence: 0,
        version: Version::NONE,
    };

    /// The number of the last entry read; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn new(sequence: u64, version: Version) -> Position {
        Position { sequence, version }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }
}

/// `17.` and the version as 22 characters of base64url, or `0` for [`Position::START`].
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Position::START {
            return f.write_str("0");
        }
        let version = URL_SAFE_NO_PAD.encode(self.version.to_bytes());
        write!(f, "{}.{version}", self.sequence)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Position, InvalidPosition> {
        if text == "0" {
            return Ok(Position::START);
        }
        let (sequence, version) = text.split_once('.').ok_or(InvalidPosition)?;
        if sequence.starts_with(['0', '+']) {
            return Err(InvalidPosition);
        }
        let sequence = sequence.parse().map_err(|_| InvalidPosition)?;
        let version: [u8; 16] = URL_SAFE_NO_PAD
            .decode(version)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(InvalidPosition)?;
        Ok(Position::new(sequence, Version::from_bytes(version)))
    }
}

/// The text is not a [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a position in a log: send one that was given out, or none to start over")]
pub struct InvalidPosition;

/// What a log holds after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRead {
    /// The entries that follow, oldest first, each with its own position; empty at the head.
    Entries(Vec<(Position, Bytes)>),
    /// The position is not in this log: the entries were trimmed, or the store went back in time. The reader
    /// starts over.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text() {
        let position = Position::new(42, Version::mint());
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!(Position::START.to_string(), "0");
        assert_eq!("0".parse(), Ok(Position::START));
    }

    #[test]
    fn odd_positions_are_refused() {
        let version = "AAAAAAAAAAAAAAAAAAAAAA";
        for text in ["", "1", ".", "1.", "-1.x", "1.AAAA", "x.y"] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text:?}");
        }
        for sequence in ["0", "01", "+1", "99999999999999999999999"] {
            let text = format!("{sequence}.{version}");
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text:?}");
        }
    }
}
