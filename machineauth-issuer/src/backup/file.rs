//! The file: a line that says what it is, a header, the pieces, and a digest over all of it.

use std::io::{self, Read, Write};

use bytes::{BufMut as _, Bytes, BytesMut};
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::{Sha256, constant_time_eq};
use serde::{Deserialize, Serialize};

use crate::store::{PARTITIONS, Partition, Piece, StoreError};

const MAGIC: &[u8] = b"machineauth backup\n";
/// The newest layout of the file that this program knows.
const FORMAT: u32 = 1;
/// The newest layout of stored records that this program knows: of the store, as a whole.
const SCHEMA: u32 = 1;
/// A header is short.
const MAX_HEADER: usize = 4096;
/// No piece is larger, in bytes: a damaged file must not ask for all memory.
const MAX_PIECE: usize = 64 << 20;
const DIGEST: usize = 32;

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The layout of the file.
    pub format: u32,
    /// The layout of what is stored.
    pub schema: u32,
    /// How many data partitions the store has.
    pub partitions: u8,
    /// When it was made.
    pub made_at: Timestamp,
    /// By which version of the program.
    pub made_by: String,
}

/// Why a file is no backup that can be restored.
#[derive(Debug, thiserror::Error)]
pub enum NotABackup {
    /// It begins like something else.
    #[error("it is no backup of machineauth")]
    Foreign,
    /// A newer program wrote it.
    #[error("it was made by version {0}, which writes in a form that this one does not know")]
    Newer(String),
    /// It was made of a store with another number of partitions.
    #[error("it was made of a store with {0} partitions, and this program uses {PARTITIONS}")]
    Partitions(u8),
    /// It is cut off, or was changed.
    #[error("it is damaged: it is cut off, or was changed after it was made")]
    Damaged,
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

impl Header {
    pub(super) fn new(made_at: Timestamp) -> Self {
        Self {
            format: FORMAT,
            schema: SCHEMA,
            partitions: PARTITIONS,
            made_at,
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn check(&self) -> Result<(), NotABackup> {
        if self.format > FORMAT || self.schema > SCHEMA {
            Err(NotABackup::Newer(self.made_by.clone()))
        } else if self.partitions != PARTITIONS {
            Err(NotABackup::Partitions(self.partitions))
        } else {
            Ok(())
        }
    }
}

/// Writes a backup.
pub(super) struct Writer<W: Write> {
    out: W,
    digest: Sha256,
    pieces: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self {
            out,
            digest: Sha256::new(),
            pieces: 0,
        };
        writer.write(MAGIC)?;
        let header = serde_json::to_vec(header)?;
        writer.frame(&header)?;
        Ok(writer)
    }

    pub(super) fn piece(&mut self, partition: Partition, piece: &Piece) -> io::Result<()> {
        let piece = piece.encode();
        let mut frame = BytesMut::with_capacity(1 + piece.len());
        frame.put_u8(partition.number());
        frame.put_slice(&piece);
        self.pieces += 1;
        self.frame(&frame)
    }

    /// Ends the file; says how many pieces are in it.
    pub(super) fn end(mut self) -> io::Result<u64> {
        self.frame(&[])?;
        self.write(&self.pieces.to_be_bytes())?;
        let digest = std::mem::replace(&mut self.digest, Sha256::new()).finish();
        self.out.write_all(&digest)?;
        self.out.flush()?;
        Ok(self.pieces)
    }

    fn frame(&mut self, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len())
            .ok()
            .filter(|_| content.len() <= MAX_PIECE)
            .ok_or_else(|| io::Error::other("a record is larger than a backup can hold"))?;
        self.write(&length.to_be_bytes())?;
        self.write(content)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a backup, piece by piece. What it has read is good only once [`Reader::next`] has said that there is no more.
pub(super) struct Reader<R: Read> {
    input: R,
    digest: Sha256,
    pieces: u64,
    header: Header,
}

impl<R: Read> Reader<R> {
    /// Reads what the backup says about itself.
    ///
    /// # Errors
    /// [`NotABackup`]
    pub(super) fn open(input: R) -> Result<Self, NotABackup> {
        let mut reader = Self {
            input,
            digest: Sha256::new(),
            pieces: 0,
            header: Header::new(Timestamp::default()),
        };
        let mut magic = [0; MAGIC.len()];
        match reader.read(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Ok(()) | Err(NotABackup::Damaged) => return Err(NotABackup::Foreign),
            Err(error) => return Err(error),
        }
        let header = reader.frame(MAX_HEADER)?;
        reader.header = serde_json::from_slice(&header).map_err(|_| NotABackup::Damaged)?;
        reader.header.check()?;
        Ok(reader)
    }

    /// What the backup says about itself.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The next piece. `None` when all are read, and the file is whole.
    ///
    /// # Errors
    /// [`NotABackup`]
    pub(super) fn next(&mut self) -> Result<Option<(Partition, Piece)>, NotABackup> {
        let mut frame = self.frame(MAX_PIECE)?;
        if frame.is_empty() {
            self.check_end()?;
            return Ok(None);
        }
        let partition = Partition::numbered(frame.split_to(1)[0]).ok_or(NotABackup::Damaged)?;
        let piece = Piece::decode(frame).map_err(|_: StoreError| NotABackup::Damaged)?;
        self.pieces += 1;
        Ok(Some((partition, piece)))
    }

    fn check_end(&mut self) -> Result<(), NotABackup> {
        let mut pieces = [0; 8];
        self.read(&mut pieces)?;
        let computed = std::mem::replace(&mut self.digest, Sha256::new()).finish();
        let mut stored = [0; DIGEST];
        self.read(&mut stored)?;
        let is_the_end = matches!(self.input.read(&mut [0]), Ok(0));
        let is_whole = u64::from_be_bytes(pieces) == self.pieces
            && constant_time_eq(&stored, &computed)
            && is_the_end;
        if is_whole {
            Ok(())
        } else {
            Err(NotABackup::Damaged)
        }
    }

    fn frame(&mut self, longest: usize) -> Result<Bytes, NotABackup> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > longest {
            return Err(NotABackup::Damaged);
        }
        // Grows with what is really there: a damaged length asks for nothing.
        let mut content = Vec::new();
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        let read = (&mut self.input)
            .take(limit)
            .read_to_end(&mut content)
            .map_err(NotABackup::Read)?;
        if read < length {
            return Err(NotABackup::Damaged);
        }
        self.digest.update(&content);
        Ok(content.into())
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), NotABackup> {
        self.input
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => NotABackup::Damaged,
                _ => NotABackup::Read(error),
            })?;
        self.digest.update(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Partition;

    fn file(counts: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes, &Header::new(Timestamp::from_secs(1))).unwrap();
        for count in counts {
            let piece = Piece::Counter {
                path: "a/b".into(),
                count: *count,
            };
            writer.piece(Partition::of(count), &piece).unwrap();
        }
        assert_eq!(writer.end().unwrap(), counts.len() as u64);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Partition, Piece)>, NotABackup> {
        let mut reader = Reader::open(bytes)?;
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let pieces = read(&file(&[1, -2, 3])).unwrap();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1].0, Partition::of(-2));
    }

    #[test]
    fn a_file_that_is_cut_off_or_longer_is_damaged() {
        let whole = file(&[1, 2]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        assert!(matches!(
            read(&[&whole[..], b"x"].concat()),
            Err(NotABackup::Damaged)
        ));
    }

    #[test]
    fn other_files_and_newer_ones_say_so() {
        assert!(matches!(read(b""), Err(NotABackup::Foreign)));
        assert!(matches!(read(b"{\"agents\":[]}"), Err(NotABackup::Foreign)));
        let newer = |header: Header| {
            let mut bytes = Vec::new();
            Writer::begin(&mut bytes, &header).unwrap().end().unwrap();
            read(&bytes).unwrap_err()
        };
        let header = Header::new(Timestamp::default());
        let format = FORMAT + 1;
        assert!(matches!(
            newer(Header {
                format,
                ..header.clone()
            }),
            NotABackup::Newer(_)
        ));
        assert!(matches!(
            newer(Header {
                partitions: 64,
                ..header
            }),
            NotABackup::Partitions(64)
        ));
    }

    proptest! {
        /// A single changed byte is noticed, wherever it is.
        #[test]
        fn a_changed_file_is_refused(counts: Vec<i64>, at: prop::sample::Index, bits in 1_u8..) {
            let mut bytes = file(&counts);
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read(&[MAGIC, &bytes].concat());
        }
    }
}
