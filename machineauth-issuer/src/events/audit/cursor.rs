//! Where a list of the trail goes on: how far each partition's log has been read, downwards.

use std::fmt;
use std::str::FromStr;

use machineauth_core::base64url;

use crate::store::Partition;

/// The form of cursors that this version gives out.
const FORM: u8 = 1;

/// How far each partition's log has been read: the number of the next entry downwards, 0 where none is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Vec<u64>);

/// A text that is no cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor that was given out")]
pub struct InvalidCursor;

/// The partitions that have an audit log, in the order of a cursor's numbers.
pub(super) fn partitions() -> impl Iterator<Item = Partition> {
    Partition::all()
}

impl Cursor {
    /// From a number for each of [`partitions`].
    pub(super) fn new(next: impl IntoIterator<Item = u64>) -> Self {
        Self(next.into_iter().collect())
    }

    /// The numbers, in the order of [`partitions`].
    pub(super) fn next(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().copied()
    }
}

/// Base64url of the form and the numbers, seven bits to a byte.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![FORM];
        for mut number in self.next() {
            while number >= 0x80 {
                bytes.push(number.to_le_bytes()[0] | 0x80);
                number >>= 7;
            }
            bytes.push(number.to_le_bytes()[0]);
        }
        f.write_str(&base64url::encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = base64url::decode(text).ok_or(InvalidCursor)?;
        let (FORM, mut rest) = bytes
            .split_first()
            .map(|(form, rest)| (*form, rest))
            .ok_or(InvalidCursor)?
        else {
            return Err(InvalidCursor);
        };
        let mut numbers = Vec::new();
        while !rest.is_empty() {
            let mut number = 0_u64;
            let mut shift = 0;
            loop {
                let (byte, after) = rest.split_first().ok_or(InvalidCursor)?;
                rest = after;
                let digits = u64::from(byte & 0x7f);
                let shifted = digits.checked_shl(shift).ok_or(InvalidCursor)?;
                if shifted >> shift != digits {
                    return Err(InvalidCursor);
                }
                number |= shifted;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
            }
            numbers.push(number);
        }
        match numbers.len() == partitions().count() {
            true => Ok(Self(numbers)),
            false => Err(InvalidCursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(numbers in prop::collection::vec(any::<u64>(), 33)) {
            let cursor = Cursor::new(numbers);
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        /// I22
        #[test]
        fn no_text_makes_the_reader_panic(bytes: Vec<u8>) {
            let mut bytes = bytes;
            bytes.insert(0, FORM);
            let _ = base64url::encode(bytes).parse::<Cursor>();
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "AA", "!", "AQ", "Af________________8"] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
