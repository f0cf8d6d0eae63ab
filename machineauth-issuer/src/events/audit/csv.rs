//! The trail as comma-separated values (RFC 4180), harmless to spreadsheets.

use super::view::EntryView;

const COLUMNS: [&str; 19] = [
    "created_at",
    "id",
    "action",
    "outcome",
    "reason",
    "actor_kind",
    "actor_id",
    "agent_id",
    "organization_id",
    "team_id",
    "target_kind",
    "target_id",
    "target_name",
    "ip_address",
    "user_agent",
    "request_id",
    "details",
    "partition",
    "sequence",
];

/// The first line.
pub(super) fn head() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// Adds the line of an event.
pub(super) fn row(text: &mut String, view: &EntryView) {
    let or_empty = |value: Option<String>| value.unwrap_or_default();
    let target = view.target.as_ref();
    let details = match view.details.is_empty() {
        true => String::new(),
        false => serde_json::to_string(&view.details).expect("details are plain data"),
    };
    let cells: [String; COLUMNS.len()] = [
        view.created_at.to_string(),
        view.id.to_string(),
        view.action.clone(),
        view.outcome.as_str().to_owned(),
        or_empty(view.reason.clone()),
        view.actor.kind.to_owned(),
        or_empty(view.actor.id.clone()),
        or_empty(view.agent_id.map(|id| id.to_string())),
        or_empty(view.organization_id.map(|id| id.to_string())),
        or_empty(view.team_id.map(|id| id.to_string())),
        or_empty(target.map(|target| target.kind.clone())),
        or_empty(target.map(|target| target.id.clone())),
        or_empty(target.and_then(|target| target.name.clone())),
        view.ip_address.clone(),
        view.user_agent.clone(),
        or_empty(view.request_id.clone()),
        details,
        view.partition.clone(),
        view.sequence.to_string(),
    ];
    for (column, value) in cells.iter().enumerate() {
        if column > 0 {
            text.push(',');
        }
        cell(text, value);
    }
    text.push_str("\r\n");
}

/// A spreadsheet takes a cell that begins so for a formula, and runs it. With an apostrophe in front it is a text.
fn cell(text: &mut String, value: &str) {
    text.push('"');
    if value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        text.push('\'');
    }
    text.push_str(&value.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_ends_early() {
        for (value, expected) in [
            ("plain", "\"plain\""),
            (
                "=HYPERLINK(\"http://a\")",
                "\"'=HYPERLINK(\"\"http://a\"\")\"",
            ),
            ("@x", "\"'@x\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("\tx", "\"'\tx\""),
            ("a,\"b\"\r\n", "\"a,\"\"b\"\"\r\n\""),
        ] {
            let mut text = String::new();
            cell(&mut text, value);
            assert_eq!(text, expected);
        }
    }
}
