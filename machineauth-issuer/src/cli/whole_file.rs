//! A file that is there whole or not at all, and that only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file that is being written. It gets its name when it is finished, and disappears otherwise.
#[derive(Debug)]
pub(super) struct WholeFile {
    path: PathBuf,
    unfinished: PathBuf,
    out: Option<BufWriter<File>>,
}

impl WholeFile {
    /// Begins the file at `path`.
    ///
    /// # Errors
    /// When there is no such directory, nothing can be written there, or what is there is no file, as a device is none.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            let what = "this is no regular file, and is not replaced by one";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        // One that a crash left behind may be readable by others.
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        Ok(Self {
            path: path.to_owned(),
            unfinished,
            out: Some(BufWriter::new(file)),
        })
    }

    /// Gives the file its name, once all of it is on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let Some(out) = self.out.take() else {
            return Ok(());
        };
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&self.unfinished, &self.path)?;
        let directory = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Some(out) => out.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            // What cannot be removed is overwritten the next time.
            let _ = std::fs::remove_file(&self.unfinished);
        }
    }
}
