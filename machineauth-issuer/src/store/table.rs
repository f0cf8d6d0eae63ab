//! Rows with a type.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use machineauth_core::clock::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Incompatibility;
use super::{Batch, Entry, Key, Partition, Store, StoreError, Version};

/// The rows of one kind: where they are, how they are written, and which schema this program knows.
///
/// A value is stored as one byte of schema and then JSON. A newer program reads older records, by serde's defaults;
/// an older one refuses newer records instead of misreading them.
pub struct Table<T> {
    kind: &'static str,
    schema: u8,
    record: PhantomData<fn() -> T>,
}

/// How many rows are asked for at once when many are wanted.
const SCAN_PAGE: usize = 500;

/// A record and the version to judge it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// What [`Batch::at_version`] demands to change it.
    pub version: Version,
}

impl<T> Table<T> {
    /// Rows whose keys begin with `kind`, written with `schema`.
    pub const fn new(kind: &'static str, schema: u8) -> Table<T> {
        Table {
            kind,
            schema,
            record: PhantomData,
        }
    }

    /// The key above all rows of this table in a partition.
    pub fn key(&self, partition: Partition) -> Key {
        partition.key(self.kind)
    }
}

impl<T: Serialize> Table<T> {
    /// The bytes of a record.
    ///
    /// # Panics
    /// When the record does not serialise to JSON, which is a programming error in its type.
    pub fn encode(&self, value: &T) -> Bytes {
        let mut bytes = vec![self.schema];
        serde_json::to_writer(&mut bytes, value)
            .expect("records have string keys and no failing serialisers");
        bytes.into()
    }

    /// Adds a record to a batch: [`Batch::put`].
    pub fn put(&self, batch: Batch, key: &Key, value: &T) -> Batch {
        batch.put(key, self.encode(value))
    }

    /// Adds a record that expires to a batch: [`Batch::put_until`].
    pub fn put_until(&self, batch: Batch, key: &Key, value: &T, expires_at: Timestamp) -> Batch {
        batch.put_until(key, self.encode(value), expires_at)
    }
}

impl<T: DeserializeOwned> Table<T> {
    /// The record at `key`.
    ///
    /// # Errors
    /// As [`Store::get`]; [`StoreError::Incompatible`] for a newer schema, [`StoreError::Corrupt`] for bytes that
    /// are no such record.
    pub async fn get(
        &self,
        store: &dyn Store,
        key: &Key,
    ) -> Result<Option<Versioned<T>>, StoreError> {
        let entry = store.get(key).await?;
        entry.map(|entry| self.versioned(&entry)).transpose()
    }

    /// The records under `prefix`, in the order of their keys: [`Store::scan`].
    ///
    /// # Errors
    /// As [`Table::get`].
    pub async fn scan(
        &self,
        store: &dyn Store,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned<T>)>, StoreError> {
        let rows = store.scan(prefix, after, limit).await?;
        rows.into_iter()
            .map(|(key, entry)| Ok((key, self.versioned(&entry)?)))
            .collect()
    }

    /// Up to `limit` records of all data partitions after the row `after`, partition by partition.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub async fn scan_all(
        &self,
        store: &dyn Store,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Versioned<T>>, StoreError> {
        let mut found: Vec<Versioned<T>> = Vec::new();
        let first = after.map(Key::partition);
        let mut after = after.cloned();
        for partition in
            Partition::data().skip_while(|partition| first.is_some_and(|first| *partition != first))
        {
            let prefix = self.key(partition);
            while found.len() < limit {
                let page = (limit - found.len()).min(SCAN_PAGE);
                let rows = self.scan(store, &prefix, after.as_ref(), page).await?;
                let exhausted = rows.len() < page;
                after = rows.last().map(|(key, _)| key.clone());
                found.extend(rows.into_iter().map(|(_, row)| row));
                if exhausted {
                    break;
                }
            }
            after = None;
        }
        Ok(found)
    }

    /// The record in `bytes`, as [`Table::encode`] wrote it.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] for a newer schema, [`StoreError::Corrupt`] for bytes that are no such record.
    pub fn decode(&self, bytes: &[u8]) -> Result<T, StoreError> {
        let (schema, json) = bytes.split_first().ok_or(StoreError::Corrupt {
            what: "an empty record",
        })?;
        if *schema > self.schema {
            return Err(StoreError::Incompatible {
                why: Incompatibility::Schema {
                    kind: self.kind,
                    found: *schema,
                    known: self.schema,
                },
            });
        }
        // serde's error may quote the value, which may be a secret's hash, so it goes no further.
        serde_json::from_slice(json).map_err(|_| StoreError::Corrupt {
            what: "a record that is not of its kind",
        })
    }

    /// The record in a row that was read otherwise.
    ///
    /// # Errors
    /// As [`Table::decode`].
    pub fn versioned(&self, entry: &Entry) -> Result<Versioned<T>, StoreError> {
        Ok(Versioned {
            value: self.decode(&entry.value)?,
            version: entry.version,
        })
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({}, schema {})", self.kind, self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Cat {
        name: String,
        #[serde(default)]
        lives: u8,
    }

    const CATS: Table<Cat> = Table::new("cat", 2);

    #[test]
    fn a_record_survives_its_bytes() {
        let tom = Cat {
            name: "Tom".into(),
            lives: 9,
        };
        assert_eq!(CATS.decode(&CATS.encode(&tom)).unwrap(), tom);
    }

    #[test]
    fn an_older_record_is_read() {
        let old = b"\x01{\"name\":\"Tom\"}";
        assert_eq!(CATS.decode(old).unwrap().lives, 0);
    }

    #[test]
    fn a_newer_record_is_refused_with_advice() {
        let error = CATS.decode(b"\x03{\"name\":\"Tom\"}").unwrap_err();
        assert!(matches!(
            error,
            StoreError::Incompatible {
                why: Incompatibility::Schema { found: 3, .. }
            }
        ));
        assert!(error.to_string().contains("`cat` has schema 3"), "{error}");
    }

    #[test]
    fn other_bytes_are_corrupt() {
        for bytes in [&b""[..], b"\x02", b"\x02[]", b"\x02{\"name\":1}"] {
            assert!(matches!(
                CATS.decode(bytes),
                Err(StoreError::Corrupt { .. })
            ));
        }
    }
}
