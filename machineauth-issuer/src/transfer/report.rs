//! What became of each object of a document.

use std::fmt;

use serde::Serialize;

/// What became of a whole document.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything was only judged.
    pub dry_run: bool,
    /// Each object, in the order of the document.
    pub objects: Vec<ObjectReport>,
    /// What no import takes over.
    pub left_out: Vec<LeftOut>,
}

/// What became of one object.
#[derive(Debug, Serialize)]
pub struct ObjectReport {
    /// What it is.
    pub kind: Kind,
    /// Its identifier here; that of the document where it has none here.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What of it was not kept, or not as it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An organization.
    Organization,
    /// A team.
    Team,
    /// An agent.
    Agent,
    /// An API key.
    ApiKey,
    /// A webhook.
    Webhook,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is here now, whole.
    Imported,
    /// It was here already, the same.
    Unchanged,
    /// It was here already, different, and stayed so.
    Different {
        /// In what.
        fields: Vec<&'static str>,
    },
    /// It is not here.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Things of the document that no import takes over.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What they are called there.
    pub what: String,
    /// How many there are.
    pub count: usize,
    /// Why.
    pub reason: &'static str,
}

impl Kind {
    /// All of them, in the order in which they are imported.
    pub const ALL: [Self; 5] = [
        Self::Organization,
        Self::Team,
        Self::Agent,
        Self::ApiKey,
        Self::Webhook,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organization => "organization",
            Self::Team => "team",
            Self::Agent => "agent",
            Self::ApiKey => "API key",
            Self::Webhook => "webhook",
        })
    }
}

impl Report {
    /// How many objects did not come over as they are.
    pub fn failures(&self) -> usize {
        let failed = |object: &&ObjectReport| {
            matches!(
                object.outcome,
                Outcome::Different { .. } | Outcome::Refused { .. }
            )
        };
        self.objects.iter().filter(failed).count()
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>, kind: Kind) -> fmt::Result {
        let (mut imported, mut unchanged, mut different, mut refused) = (0, 0, 0, 0);
        for object in self.objects.iter().filter(|object| object.kind == kind) {
            *match object.outcome {
                Outcome::Imported => &mut imported,
                Outcome::Unchanged => &mut unchanged,
                Outcome::Different { .. } => &mut different,
                Outcome::Refused { .. } => &mut refused,
            } += 1;
        }
        writeln!(
            f,
            "{:<14} {imported} imported, {unchanged} already here, {different} here and different, {refused} refused",
            format!("{kind}s:"),
        )
    }
}

impl fmt::Display for Report {
    /// A line for each object, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for object in &self.objects {
            // Names come from elsewhere, and may hold what terminals obey.
            let ObjectReport { kind, id, name, .. } = object;
            match &object.outcome {
                Outcome::Imported => writeln!(f, "imported   {kind} {id} {name:?}")?,
                Outcome::Unchanged => writeln!(f, "unchanged  {kind} {id} {name:?}")?,
                Outcome::Different { fields } => writeln!(
                    f,
                    "different  {kind} {id} {name:?}: it is here already and stays as it is; different: {}",
                    fields.join(", ")
                )?,
                Outcome::Refused { reason } => {
                    writeln!(f, "refused    {kind} {id:?} {name:?}: {reason}")?;
                }
            }
            for note in &object.notes {
                writeln!(f, "           {note}")?;
            }
        }
        for LeftOut {
            what,
            count,
            reason,
        } in &self.left_out
        {
            writeln!(f, "left out   {count} {what:?}: {reason}")?;
        }
        Kind::ALL
            .into_iter()
            .try_for_each(|kind| self.summary(f, kind))?;
        f.write_str(match self.dry_run {
            true => "Nothing was written: this was a dry run.",
            false => "This is what was written.",
        })
    }
}
