//! The trail as a file: everything that is asked for, read while it is sent.

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::{Cursor, Entry, EntryView, Filter, Trail, csv};
use crate::store::StoreError;

/// How many events are read at once.
const READ_AT_ONCE: usize = 500;

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
            let page = trail.page(&filter, cursor, READ_AT_ONCE).await?;
            for entry in page.entries {
                format.write(&mut text, entry);
            }
            let next = page.next.map(|cursor| (String::new(), Some(cursor)));
            Ok(Some((Bytes::from(text), next)))
        }
    })
}
