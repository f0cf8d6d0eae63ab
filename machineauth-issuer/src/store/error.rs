//! Why a store could not answer.

use std::error::Error;
use std::path::PathBuf;

use super::{FORMAT, PARTITIONS};

/// Why a store could not answer. None of these says anything about the data: the caller fails closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, or cannot write, right now. It heals by itself; ask again later.
    #[error("the store is unavailable at the moment; try again shortly")]
    Unavailable {
        /// What the backend said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// What is stored is not what this program writes: restore a backup.
    #[error("the store holds {what}; restore it from a backup")]
    Corrupt {
        /// What was found.
        what: &'static str,
    },
    /// The store was made by a program that this one does not understand.
    #[error("{why}")]
    Incompatible {
        /// What does not fit, and what to do.
        why: Incompatibility,
    },
    /// Another process has the file open.
    #[error(
        "{} is in use by another process; stop it first, or give this one a file of its own",
        path.display()
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened, or is not a store.
    #[error("the store's file {} cannot be opened", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store's address or its options cannot be used.
    #[error("{why}")]
    Address {
        /// What is wrong with it; never the address itself, which may hold a password.
        why: InvalidAddress,
    },
}

impl StoreError {
    pub(super) fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Unavailable {
            source: source.into(),
        }
    }

    /// Whether the same call may succeed later, without anybody changing anything.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }
}

/// How a store and this program fail to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incompatibility {
    /// The store was created with another number of partitions.
    #[error(
        "the store was created with {found} partitions and this program uses {}; \
         run the version that created it, or start with an empty store",
        PARTITIONS
    )]
    Partitions {
        /// What the store says.
        found: u64,
    },
    /// The store's layout is newer.
    #[error(
        "the store has format {found} and this program reads up to {known}; \
         run the version that wrote it, or a newer one"
    )]
    Format {
        /// What the store says.
        found: u64,
        /// The newest layout that this program knows.
        known: u64,
    },
    /// The server that keeps the store lacks what this program needs.
    #[error("Redis is older than 6.2: this program needs a newer one, or Valkey")]
    Server,
    /// A record is newer.
    #[error(
        "a record of kind `{kind}` has schema {found} and this program reads up to {known}; \
         run the version that wrote it, or a newer one"
    )]
    Schema {
        /// The first part of the record's key.
        kind: &'static str,
        /// What the record says.
        found: u8,
        /// The newest schema that this program knows.
        known: u8,
    },
}

impl Incompatibility {
    /// Whether a store that says this about itself is one for this program.
    pub(super) fn check(format: u64, partitions: u64) -> Result<(), Incompatibility> {
        if format > FORMAT {
            return Err(Incompatibility::Format {
                found: format,
                known: FORMAT,
            });
        }
        if partitions != u64::from(PARTITIONS) {
            return Err(Incompatibility::Partitions { found: partitions });
        }
        Ok(())
    }
}

/// What is wrong with a store's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// It is not a Redis URL.
    #[error(
        "the store's address is not a Redis URL; write redis://[user:password@]host[:port][/database], \
         redis+sentinel://host,host/master-name or redis+cluster://host,host, or the same with rediss for TLS"
    )]
    Url,
    /// The file with certificate authorities cannot be read, or holds none.
    #[error("the file of certificate authorities for the store holds no readable PEM certificate")]
    CertificateAuthorities,
}
