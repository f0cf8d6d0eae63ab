//! The trail as a file: everything that is asked for, or all seals, read while it is sent.

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::{Cursor, Entry, EntryView, Filter, LOOKED_AT, Trail, csv, scan_seals, seals_head};
use crate::domain::sealing::SealingKey;
use crate::store::{DynStore, Key, StoreError};

/// How many events or seals are read at once.
const READ_AT_ONCE: usize = 500;
/// What a file of seals is on the wire, and what it is called.
pub const SEALS: (&str, &str) = ("application/x-ndjson", "audit-seals.jsonl");

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// A JSON object on each line.
    JsonLines,
}

impl Format {
    /// The form of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "csv" => Some(Self::Csv),
            "jsonl" => Some(Self::JsonLines),
            _ => None,
        }
    }

    /// What it is on the wire.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/x-ndjson",
        }
    }

    /// What the file is called.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Csv => "audit-logs.csv",
            Self::JsonLines => "audit-logs.jsonl",
        }
    }

    fn head(self) -> String {
        match self {
            Self::Csv => csv::head(),
            Self::JsonLines => String::new(),
        }
    }

    fn write(self, text: &mut String, entry: Entry) {
        let view = EntryView::from(entry);
        match self {
            Self::Csv => csv::row(text, &view),
            Self::JsonLines => {
                text.push_str(&serde_json::to_string(&view).expect("a view is plain data"));
                text.push('\n');
            }
        }
    }
}

/// The text of all events that `filter` takes, newest first, a piece at a time.
pub fn export(
    trail: &Trail,
    filter: Filter,
    format: Format,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + use<> {
    let trail = trail.clone();
    let begin = Some((format.head(), None));
    try_unfold(begin, move |state| {
        let (trail, filter) = (trail.clone(), filter.clone());
        async move {
            let Some((mut text, cursor)) = state else {
                return Ok(None);
            };
            let cursor = Option::<Cursor>::as_ref(&cursor);
            let page = trail.page(&filter, cursor, READ_AT_ONCE, LOOKED_AT).await?;
            for entry in page.entries {
                format.write(&mut text, entry);
            }
            let next = page.next.map(|cursor| (String::new(), Some(cursor)));
            Ok(Some((Bytes::from(text), next)))
        }
    })
}

/// The text of all seals in `store`, a piece at a time: first the key that seals.
pub fn seals(
    store: DynStore,
    key: &SealingKey,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + use<> {
    let begin = Some((seals_head(key), None));
    try_unfold(begin, move |state| {
        let store = DynStore::clone(&store);
        async move {
            let Some((mut text, after)) = state else {
                return Ok(None);
            };
            let read = scan_seals(&*store, Option::<Key>::as_ref(&after), READ_AT_ONCE).await?;
            let is_end = read.len() < READ_AT_ONCE;
            let last = read.last().map(|(key, _)| key.clone());
            for (_, seal) in read {
                text.push_str(&seal.to_line());
            }
            let next = Some((String::new(), last)).filter(|_| !is_end);
            Ok(Some((Bytes::from(text), next)))
        }
    })
}
