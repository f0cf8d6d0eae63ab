//! The file: opened for one process, readable by its owner only, opened again after the disk failed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Builder, Database, DatabaseError};

use super::tables;
use crate::store::StoreError;

/// How much of the file is kept in memory, in bytes.
const CACHE: usize = 32 << 20;

/// By how many bytes at its beginning a file is known as a database.
const MAGIC: usize = 9;

/// A way to open the database at a path.
type Open = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// The database, and how to get it back.
///
/// After an I/O error the database library refuses to go on until the file was closed and opened again, which also
/// repairs what a failed commit left behind. Everybody shares the lock; only that repair takes it alone.
pub(super) struct DatabaseFile {
    path: PathBuf,
    open: Open,
    database: RwLock<Option<Database>>,
}

impl DatabaseFile {
    /// Opens the file, creating it when there is none, and makes sure that it is a store for this program.
    pub(super) fn open(path: &Path) -> Result<DatabaseFile, StoreError> {
        Self::open_with(path, |path| {
            Builder::new().set_cache_size(CACHE).create(path)
        })
    }

    /// As [`DatabaseFile::open`], with another way to open the database.
    pub(super) fn open_with(
        path: &Path,
        open: impl Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<DatabaseFile, StoreError> {
        create_private(path).map_err(|error| file_error(path, error))?;
        empty_unfinished(path).map_err(|error| file_error(path, error))?;
        let file = DatabaseFile {
            path: path.to_owned(),
            open: Box::new(open),
            database: RwLock::new(None),
        };
        file.reopen()?;
        Ok(file)
    }

    /// Works with the database, next to others who do.
    pub(super) fn with<R>(
        &self,
        work: impl FnOnce(&Database) -> Result<R, redb::Error>,
    ) -> Result<R, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database
            .as_ref()
            .ok_or_else(|| StoreError::unavailable("the store's file is closed"))?;
        work(database).map_err(store_error)
    }

    pub(super) fn is_open(&self) -> bool {
        let database = self.database.read();
        database.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Closes the file, when it is open, and opens it.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The old one goes first: it holds the lock on the file.
        *database = None;
        let opened = (self.open)(&self.path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                StoreError::Busy {
                    path: self.path.clone(),
                }
            }
            error => file_error(&self.path, error),
        })?;
        tables::check_format(&opened)?;
        *database = Some(opened);
        Ok(())
    }

    /// Waits for those who work with the database, and closes it.
    pub(super) fn close(&self) {
        *self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for DatabaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseFile({})", self.path.display())
    }
}

/// What an error of the database says to a caller of the store.
pub(super) fn store_error(error: redb::Error) -> StoreError {
    match error {
        redb::Error::Corrupted(_) => StoreError::Corrupt {
            what: "a damaged page",
        },
        error => StoreError::unavailable(error),
    }
}

fn file_error(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::File {
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Makes sure that there is a file which only its owner can read: it holds hashed secrets and sealed keys.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => restrict(path),
        Err(error) => Err(error),
    }
}

/// Empties a file whose making was cut off, so that it is made anew: the database library writes the beginning of a file last,
/// and before it nothing could be committed.
fn empty_unfinished(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    // Whoever makes it, or has it open, holds this lock.
    if file.try_lock().is_err() {
        return Ok(());
    }
    let mut beginning = Vec::with_capacity(MAGIC);
    Read::by_ref(&mut file)
        .take(MAGIC as u64)
        .read_to_end(&mut beginning)?;
    match !beginning.is_empty() && beginning.iter().all(|byte| *byte == 0) {
        true => file.set_len(0),
        false => Ok(()),
    }
}

/// Without this a power failure could take the new file's name away, with all that was acknowledged in it.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(unix)]
fn restrict(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> io::Result<()> {
    Ok(())
}
