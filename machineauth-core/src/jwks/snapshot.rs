//! The last good keys in a file, so that a server can start while its issuer is away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Who can write this file decides which tokens are good; it is made for its owner only.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFile(pub(super) PathBuf);

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Where the keys came from: a file of another issuer is no use.
    pub(super) source: String,
    /// Unix milliseconds.
    pub(super) fetched_at: Timestamp,
    pub(super) document: String,
}

impl SnapshotFile {
    /// # Errors
    /// Those of the file system, and [`io::ErrorKind::InvalidData`].
    pub(super) fn read(&self) -> io::Result<Snapshot> {
        Ok(serde_json::from_slice(&fs::read(&self.0)?)?)
    }

    /// Replaces the file in one step: a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        let mut beside = self.0.clone().into_os_string();
        beside.push(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside)?;
        file.write_all(&serde_json::to_vec(snapshot)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.0)
    }
}
