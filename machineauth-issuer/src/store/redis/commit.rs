//! A batch as the arguments of the commit script.

use machineauth_core::clock::Timestamp;
use redis::Cmd;

use super::script::{Names, Scripts, evalsha};
use crate::store::batch::{Check, Write};
use crate::store::row::{StoredRow, encode_log_entry};
use crate::store::{Batch, Log, Version};

/// The command that commits a batch and announces something when that succeeds.
pub(super) fn command(
    scripts: &Scripts,
    names: &Names,
    batch: &Batch,
    now: Timestamp,
    announcement: &str,
) -> Cmd {
    let mut command = evalsha(&scripts.commit, &names.of_commit());
    let letters: Vec<u8> = batch
        .checks()
        .iter()
        .map(check_letter)
        .chain(batch.writes().iter().map(write_letter))
        .collect();
    command
        .arg(now.as_millis())
        .arg(&batch.version().to_bytes()[..])
        .arg(announcement)
        .arg(letters);
    for check in batch.checks() {
        command.arg(check.key().path());
        if let Check::AtVersion(_, version) = check {
            command.arg(&version.to_bytes()[..]);
        }
    }
    for write in batch.writes() {
        write_arguments(&mut command, write, batch.version());
    }
    command
}

fn check_letter(check: &Check) -> u8 {
    match check {
        Check::Absent(_) => b'a',
        Check::AtVersion(..) => b'v',
    }
}

fn write_letter(write: &Write) -> u8 {
    match write {
        Write::Put(_, _, None) => b'p',
        Write::Put(_, _, Some(_)) => b'u',
        Write::Delete(_) => b'd',
        Write::Add(..) => b'+',
        Write::Max(..) => b'm',
        Write::Append(Log::Audit, _) => b'A',
        Write::Append(Log::Revocations, _) => b'R',
    }
}

fn write_arguments(command: &mut Cmd, write: &Write, version: Version) {
    match write {
        Write::Put(key, value, expires_at) => {
            let row = StoredRow::encode(version, *expires_at, value);
            command.arg(key.path()).arg(&row[..]);
            if let Some(expires_at) = expires_at {
                command.arg(expires_at.as_millis());
            }
        }
        Write::Delete(key) => {
            command.arg(key.path());
        }
        Write::Add(key, number) | Write::Max(key, number) => {
            command.arg(key.path()).arg(*number);
        }
        Write::Append(_, entry) => {
            command.arg(&encode_log_entry(version, entry)[..]);
        }
    }
}
