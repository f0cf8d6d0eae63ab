//! A strict reader of server-sent events (WHATWG HTML §9.2.6), fed with bytes in pieces of any size.

use std::mem;

/// The most that one line, or the data of one event, may have.
const MAX_BYTES: usize = 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event that had data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The `event` field; empty when there was none.
    pub(crate) name: String,
    /// The `data` fields, joined by line feeds.
    pub(crate) data: String,
    /// The `id` field of this very event.
    pub(crate) id: Option<String>,
}

/// A line or event over 1 MiB, or bytes that are not UTF-8. What follows cannot be trusted either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Turns bytes into events.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// The last line ended in CR; an LF that follows belongs to it.
    after_cr: bool,
    past_first_line: bool,
}

impl EventReader {
    /// Takes the next piece of the stream and returns the events that it completes.
    ///
    /// # Errors
    /// [`Malformed`]; the reader is of no use after it.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, Malformed> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            if mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
                self.extend_line(bytes)?;
                break;
            };
            self.extend_line(&bytes[..end])?;
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            events.extend(self.end_line()?);
        }
        Ok(events)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.line.len() + bytes.len() > MAX_BYTES {
            return Err(Malformed);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, Malformed> {
        let line = mem::take(&mut self.line);
        let is_first = !mem::replace(&mut self.past_first_line, true);
        let bytes = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if is_first => rest,
            _ => &line,
        };
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
        if text.is_empty() {
            return Ok(self.end_event());
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        self.set_field(field, value)?;
        Ok(None)
    }

    fn set_field(&mut self, field: &str, value: &str) -> Result<(), Malformed> {
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "data" => {
                if self.event.data.len() + value.len() >= MAX_BYTES {
                    return Err(Malformed);
                }
                if mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Comments (an empty field name), `retry`, and what may be invented yet.
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self) -> Option<Event> {
        let event = mem::take(&mut self.event);
        mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Vec<Event> {
        EventReader::default().push(text.as_ref()).unwrap()
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            name: name.into(),
            data: data.into(),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn an_event_has_a_name_data_and_an_id() {
        assert_eq!(
            read("event: live\nid: 7\ndata: {\"at\":1}\n\n"),
            [event("live", "{\"at\":1}", Some("7"))]
        );
    }

    #[test]
    fn an_id_belongs_to_its_own_event_only() {
        assert_eq!(
            read("id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n"),
            [
                event("", "a", Some("7")),
                event("", "b", None),
                event("", "c", Some(""))
            ]
        );
    }

    #[test]
    fn data_lines_are_joined_and_one_leading_space_is_dropped() {
        assert_eq!(
            read("data:a\ndata:  b\ndata\ndata: c:d\n\n"),
            [event("", "a\n b\n\nc:d", None)]
        );
    }

    #[test]
    fn an_event_without_data_is_none_and_leaves_nothing_behind() {
        assert_eq!(
            read("event: live\nid: 7\n\ndata: a\n\n"),
            [event("", "a", None)]
        );
        assert_eq!(read("data\n\n"), [event("", "", None)]);
    }

    #[test]
    fn comments_unknown_fields_and_ids_with_nul_are_ignored() {
        assert_eq!(
            read(": ping\nretry: 5\nfuture: x\n data: y\nid: a\0b\ndata: z\n\n"),
            [event("", "z", None)]
        );
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_very_start() {
        assert_eq!(read("\u{feff}data: a\n\n"), [event("", "a", None)]);
        assert_eq!(read("\n\u{feff}data: a\n\n"), []);
    }

    #[test]
    fn what_is_not_complete_is_not_told() {
        assert_eq!(read("data: a\n"), []);
        assert_eq!(read("data: a"), []);
    }

    #[test]
    fn lines_and_events_over_their_limit_and_bad_utf8_are_malformed() {
        let line = [b"data: ".as_slice(), &vec![b'a'; MAX_BYTES]].concat();
        assert_eq!(EventReader::default().push(&line), Err(Malformed));

        let mut reader = EventReader::default();
        let piece = [b"data: ".as_slice(), &[b'a'; 1000], b"\n"].concat();
        assert!((0..2 * MAX_BYTES / 1000).any(|_| reader.push(&piece).is_err()));

        assert_eq!(EventReader::default().push(b"data: \xff\n"), Err(Malformed));
    }

    fn any_lines() -> impl Strategy<Value = Vec<String>> {
        let line = prop_oneof![
            3 => Just(String::new()),
            3 => "(data|event|id): ?[a-zü{}:\" ]{0,6}",
            1 => "[a-z:ü\u{feff} ]{0,6}",
        ];
        prop::collection::vec(line, 0..20)
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_pieces_are_cut_or_how_lines_end(
            lines in any_lines(),
            ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r", "\r\n"]), 20),
            cuts in prop::collection::vec(1..9_usize, 200),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            // A lone CR before an empty line that ends in LF would read as one CRLF.
            let mut mixed = String::new();
            for (line, end) in lines.iter().zip(&ends) {
                let joins = mixed.ends_with('\r') && line.is_empty() && *end == "\n";
                mixed += line;
                mixed += if joins { "\r\n" } else { end };
            }

            let mut reader = EventReader::default();
            let mut events = Vec::new();
            let mut rest = mixed.as_bytes();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                events.extend(reader.push(piece).unwrap());
                rest = after;
            }
            events.extend(reader.push(rest).unwrap());
            prop_assert_eq!(events, read(text));
        }

        #[test]
        fn any_bytes_are_survived(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let mut reader = EventReader::default();
            for piece in pieces {
                if reader.push(&piece).is_err() {
                    break;
                }
            }
        }
    }
}
