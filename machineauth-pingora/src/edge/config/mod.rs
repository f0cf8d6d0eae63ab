//! The configuration: what the file says, and where it says it.

mod issuer;
mod place;
mod tree;
mod upstream;
mod values;

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use machineauth_core::crypto::sha256;
use toml::Spanned;

pub(crate) use issuer::*;
pub(crate) use place::{Endpoint, HostPattern, PathPrefix};
pub(crate) use tree::*;
pub(crate) use upstream::*;
pub(crate) use values::{FileName, Rate};

/// Reads a type from a text by its `parse`.
macro_rules! from_text {
    ($type:ty) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
use from_text;

/// A configuration that was read, and everything that was read for it.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    text: String,
    /// What has been read, to notice when it changes.
    read: RefCell<Contents>,
}

/// Files and what was in them; `None` when one could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents(Vec<(PathBuf, Option<[u8; 32]>)>);

/// What is wrong with a configuration, and where.
#[derive(Debug)]
pub(crate) struct ConfigError {
    file: PathBuf,
    /// Line and column, counted from one.
    place: Option<(usize, usize)>,
    message: String,
    /// What was read until it was noticed.
    read: Contents,
}

impl Source {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or says something that no configuration says.
    pub(crate) fn read(path: &Path) -> Result<(Self, EdgeToml), ConfigError> {
        let mut source = Self {
            path: path.to_owned(),
            text: String::new(),
            read: RefCell::default(),
        };
        let bytes = source.remember(path);
        let bytes =
            bytes.map_err(|error| source.fault(None, format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes);
        source.text = text.map_err(|_| source.fault(None, "is not UTF-8"))?;
        match toml::from_str(&source.text) {
            Ok(tree) => Ok((source, tree)),
            Err(error) => Err(source.fault(error.span(), error.message())),
        }
    }

    /// Something is wrong there.
    pub(crate) fn fault(
        &self,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            file: self.path.clone(),
            place: span.map(|span| place(&self.text, span.start)),
            message: message.into(),
            read: self.contents(),
        }
    }

    /// Something is wrong with `part`.
    pub(crate) fn fault_in<T>(&self, part: &Spanned<T>, message: impl Into<String>) -> ConfigError {
        self.fault(Some(part.span()), message)
    }

    /// What is in a file that the configuration names, for the part at `span`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn file(&self, name: &FileName, span: Range<usize>) -> Result<Vec<u8>, ConfigError> {
        let path = name.beside(&self.path);
        self.remember(&path).map_err(|error| {
            self.fault(
                Some(span),
                format!("{} cannot be read: {error}", path.display()),
            )
        })
    }

    /// As [`Source::file`], for text.
    ///
    /// # Errors
    /// When it cannot be read, or is not UTF-8.
    pub(crate) fn text(&self, name: &FileName, span: Range<usize>) -> Result<String, ConfigError> {
        let bytes = self.file(name, span.clone())?;
        String::from_utf8(bytes).map_err(|_| {
            let path = name.beside(&self.path);
            self.fault(Some(span), format!("{} is not UTF-8", path.display()))
        })
    }

    /// As [`Source::text`], without what ends its last line.
    ///
    /// # Errors
    /// When it cannot be read, or there is nothing in it.
    pub(crate) fn secret(
        &self,
        name: &FileName,
        span: Range<usize>,
    ) -> Result<String, ConfigError> {
        let text = self.text(name, span.clone())?;
        match text.trim_end() {
            "" => Err(self.fault(
                Some(span),
                format!("{} holds no secret", name.beside(&self.path).display()),
            )),
            secret => Ok(secret.to_owned()),
        }
    }

    /// Where a file is that the configuration names.
    pub(crate) fn path_of(&self, name: &FileName) -> PathBuf {
        name.beside(&self.path)
    }

    /// What was read so far.
    pub(crate) fn contents(&self) -> Contents {
        self.read.borrow().clone()
    }

    fn remember(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let bytes = std::fs::read(path);
        let read = bytes.as_ref().ok().map(Vec::as_slice);
        self.read.borrow_mut().0.extend(Contents::of(path, read).0);
        bytes
    }
}

impl Contents {
    /// One file; `None` when it could not be read.
    pub(crate) fn of(path: &Path, bytes: Option<&[u8]>) -> Self {
        Self(vec![(path.to_owned(), bytes.map(sha256))])
    }

    /// What is in the same files now.
    pub(crate) fn read_again(&self) -> Self {
        let read = |(path, _): &(PathBuf, _)| {
            let digest = std::fs::read(path).ok().map(|bytes| sha256(&bytes));
            (path.clone(), digest)
        };
        Self(self.0.iter().map(read).collect())
    }
}

impl ConfigError {
    /// What was read until it was noticed.
    pub(crate) fn contents(&self) -> Contents {
        self.read.clone()
    }
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.place {
            Some((line, column)) => write!(f, "{file}:{line}:{column}: {}", self.message),
            None => write!(f, "{file}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}
