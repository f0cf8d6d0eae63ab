//! Pieces of a copy, to and from Redis.

use bytes::Bytes;
use redis::Cmd;

use super::script::{Names, Scripts, evalsha};
use super::{UNEXPECTED, text};
use crate::store::StoreError;
use crate::store::piece::{Piece, Pieces, Place, Section};
use crate::store::row::{StoredRow, encode_log_entry};

/// Asks for rows after a path.
pub(super) fn rows(scripts: &Scripts, names: &Names, after: Option<&str>, limit: usize) -> Cmd {
    let mut command = evalsha(&scripts.dump, &[&names.rows, &names.index]);
    command.arg(after.unwrap_or_default()).arg(limit);
    command
}

/// The pieces in the answer to [`rows`]: path and row in turn.
pub(super) fn read_rows(
    from: &Place,
    answer: &[Option<Bytes>],
    limit: usize,
) -> Result<Pieces, StoreError> {
    let pieces: Result<Vec<_>, _> = answer
        .chunks(2)
        .map(|pair| {
            let [Some(path), Some(row)] = pair else {
                return Err(UNEXPECTED);
            };
            let stored = StoredRow::decode(row)?;
            Ok(Piece::Row {
                path: text(path)?.into(),
                version: stored.version,
                expires_at: stored.dies_at(),
                value: row.slice_ref(stored.value),
            })
        })
        .collect();
    let pieces = pieces?;
    let next = from.after(&pieces, limit);
    Ok((pieces, next))
}

/// Asks for counters from a cursor on. They come in no order, and some may come twice.
pub(super) fn counters(names: &Names, cursor: Option<&str>, limit: usize) -> Cmd {
    let mut command = redis::cmd("HSCAN");
    command
        .arg(&names.counters)
        .arg(cursor.unwrap_or("0"))
        .arg("COUNT")
        .arg(limit);
    command
}

/// The pieces in the answer to [`counters`].
pub(super) fn read_counters(cursor: &str, counters: Vec<(String, i64)>) -> Pieces {
    let pieces = counters.into_iter().map(|(path, count)| Piece::Counter {
        path: path.into(),
        count,
    });
    let next = match cursor {
        "0" => None,
        cursor => Some(Place(Section::Counters(Some(cursor.into())))),
    };
    (pieces.collect(), next)
}

/// Puts pieces back.
pub(super) fn load(scripts: &Scripts, names: &Names, pieces: &[Piece]) -> Cmd {
    let mut command = evalsha(&scripts.load, &names.of_copy());
    let letters: Vec<u8> = pieces.iter().map(letter).collect();
    command.arg(letters);
    for piece in pieces {
        arguments(&mut command, piece);
    }
    command
}

fn letter(piece: &Piece) -> u8 {
    match piece {
        Piece::Row {
            expires_at: None, ..
        } => b'r',
        Piece::Row {
            expires_at: Some(_),
            ..
        } => b'R',
        Piece::Counter { .. } => b'c',
        Piece::Tail { .. } => b't',
        Piece::Entry { .. } => b'e',
    }
}

fn arguments(command: &mut Cmd, piece: &Piece) {
    match piece {
        Piece::Row {
            path,
            version,
            expires_at,
            value,
        } => {
            let row = StoredRow::encode(*version, *expires_at, value);
            command.arg(&**path).arg(&row[..]);
            if let Some(expires_at) = expires_at {
                command.arg(expires_at.as_millis());
            }
        }
        Piece::Counter { path, count } => {
            command.arg(&**path).arg(*count);
        }
        Piece::Tail { log, position } => {
            command
                .arg(log.as_str())
                .arg(position.sequence())
                .arg(&position.version().to_bytes()[..]);
        }
        Piece::Entry {
            log,
            position,
            entry,
        } => {
            command
                .arg(log.as_str())
                .arg(position.sequence())
                .arg(&encode_log_entry(position.version(), entry)[..]);
        }
    }
}
