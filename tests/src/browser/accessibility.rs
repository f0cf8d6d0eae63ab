//! What keeps people from using a page, as axe-core finds it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Browser;

/// Something that axe-core has found on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule, by the name that <https://dequeuniversity.com/rules/axe/> has it.
    pub rule: String,
    /// `minor`, `moderate`, `serious` or `critical`.
    pub impact: String,
    /// Where: what matches these selectors.
    pub targets: Vec<String>,
}

impl Browser {
    /// What axe-core has to say about the page, as it is shown now.
    ///
    /// # Panics
    /// When axe-core is not installed (`scripts/install`), or fails.
    pub async fn accessibility(&self) -> Vec<Finding> {
        let installed =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(&installed).unwrap_or_else(|error| {
            panic!("{}: {error}; run scripts/install", installed.display())
        });
        self.script(&axe, &[]).await;
        let run = "axe.run().then(arguments[0], error => arguments[0]({ failed: String(error) }))";
        let found = self.script_async(run).await;
        let violations = found["violations"].as_array();
        let violations = violations.unwrap_or_else(|| panic!("axe-core failed: {found}"));
        violations.iter().map(Finding::read).collect()
    }
}

impl Finding {
    fn read(violation: &Value) -> Self {
        let text = |name: &str| violation[name].as_str().unwrap_or_default().to_owned();
        let nodes = violation["nodes"].as_array().into_iter().flatten();
        Self {
            rule: text("id"),
            impact: text("impact"),
            targets: nodes.map(|node| node["target"].to_string()).collect(),
        }
    }

    /// Whether it keeps somebody from using the page.
    pub fn is_serious(&self) -> bool {
        matches!(self.impact.as_str(), "serious" | "critical")
    }
}
