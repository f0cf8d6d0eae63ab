//! The reference of the audit trail in `docs/`, made from the actions that there are.

use std::fmt::Write as _;

use super::Action;

const BEGINNING: &str = include_str!("reference.md");

/// `docs/audit.md`
pub fn reference() -> String {
    let mut text = BEGINNING.to_owned();
    text.push_str("| action | outcome | what it says |\n|---|---|---|\n");
    for action in Action::ALL {
        let (name, outcome, what) = (action.as_str(), action.outcome().as_str(), action.what());
        writeln!(text, "| `{name}` | {outcome} | {what} |").expect("writing to a text cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_reference_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == super::reference(),
            "run: cargo run -p machineauth-issuer -- audit reference > docs/audit.md"
        );
    }
}
