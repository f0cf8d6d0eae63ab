//! Where a command writes what somebody keeps.

use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use super::whole_file::WholeFile;

/// A file that is there whole or not at all, or standard output.
#[derive(Debug)]
pub(super) enum Destination {
    /// The file that gets this name.
    File(PathBuf, WholeFile),
    /// Whoever reads it has to see by the exit code whether it is whole.
    Standard(BufWriter<Stdout>),
}

impl Destination {
    /// The file at `path`; standard output for `-`, and where there is none.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(super) fn of(path: Option<&Path>) -> Result<Self, String> {
        match path {
            Some(path) if path != Path::new("-") => match WholeFile::create(path) {
                Ok(file) => Ok(Self::File(path.to_owned(), file)),
                Err(error) => Err(format!("{}: {error}", path.display())),
            },
            _ => Ok(Self::Standard(BufWriter::new(io::stdout()))),
        }
    }

    /// Says that this is all.
    ///
    /// # Errors
    /// When not all of it is there.
    pub(super) fn finish(self) -> Result<(), String> {
        let name = self.to_string();
        let finished = match self {
            Self::File(_, file) => file.finish(),
            Self::Standard(mut out) => out.flush(),
        };
        finished.map_err(|error| format!("{name}: {error}"))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, _) => path.display().fmt(f),
            Self::Standard(_) => f.write_str("standard output"),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(_, file) => file.write(bytes),
            Self::Standard(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(_, file) => file.flush(),
            Self::Standard(out) => out.flush(),
        }
    }
}
