//! What a verification of the trail says.

use serde::Serialize;
use utoipa::ToSchema;

/// What verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Report {
    /// Whether everything is as it was sealed.
    pub intact: bool,
    /// How many entries were verified.
    pub entries: u64,
    /// How many seals were verified.
    pub seals: u64,
    /// How many of the newest entries are not sealed yet.
    pub unsealed: u64,
    /// The first thing wrong in each log.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The report on the trail, of those on its logs.
    pub(super) fn of_all(logs: Vec<Self>) -> Self {
        let mut all = Self::default();
        for log in logs {
            all.entries += log.entries;
            all.seals += log.seals;
            all.unsealed += log.unsealed;
            all.findings.extend(log.findings);
        }
        all.intact = all.findings.is_empty();
        all
    }
}

/// The first thing wrong in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// Whose log it is: `00` to `31`, or `sys`.
    pub partition: String,
    /// The number of the entry, or of the first entry of the seal.
    pub sequence: u64,
    /// What is wrong.
    pub what: Wrong,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// The entry is not the one that was sealed.
    EntryChanged,
    /// The entry is gone, and later ones are there.
    EntryMissing,
    /// The entry stands where another one was sealed.
    EntrySwapped,
    /// The entry is gone, and everything after it.
    TailCut,
    /// The seal was not made by the server.
    SealForged,
    /// A seal is gone before this one.
    SealMissing,
    /// The seal is not the one that was exported.
    SealReplaced,
    /// The exported seal was not made with a key of this store.
    SealForeign,
    /// What is noted of the agents in a segment is not so: lists of what concerns one agent may lack entries.
    IndexChanged,
}

impl Wrong {
    /// In a sentence for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EntryChanged => "the entry is not the one that was sealed",
            Self::EntryMissing => "the entry is gone, and later ones are there",
            Self::EntrySwapped => "the entry stands where another one was sealed",
            Self::TailCut => "the entry is gone, and everything after it",
            Self::SealForged => "the seal was not made by this server",
            Self::SealMissing => "a seal is gone before this one",
            Self::SealReplaced => "the seal is not the one that was exported",
            Self::SealForeign => "the exported seal was not made with a key of this store",
            Self::IndexChanged => "what is noted of the agents in this segment is not so",
        }
    }
}
