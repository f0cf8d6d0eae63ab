//! What is recorded, and how long it is kept.

use std::time::Duration;

use super::reader::Reader;
use crate::domain::event::{AuditSettings, TokenEvents};

impl Reader {
    pub(super) fn audit(&mut self) -> AuditSettings {
        let words = [
            ("aggregate", TokenEvents::Aggregate),
            ("each", TokenEvents::Each),
        ];
        let days: u64 = self.parsed("AUDIT_KEEP_DAYS", "a number from 0 to 36500", 90, |text| {
            text.parse().ok().filter(|days| *days <= 36_500)
        });
        AuditSettings {
            token_events: self
                .choice("AUDIT_TOKEN_EVENTS", &words)
                .unwrap_or(TokenEvents::Aggregate),
            keep_for: (days > 0).then(|| Duration::from_secs(days * 86_400)),
            keep_entries: self.parsed(
                "AUDIT_KEEP_ENTRIES",
                "a number from 1000 to 100000000",
                50_000,
                |text| {
                    let room = 1_000..=100_000_000;
                    text.parse().ok().filter(|count| room.contains(count))
                },
            ),
        }
    }
}
