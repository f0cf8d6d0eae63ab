//! `machineauth-issuer import`: taking over what another server has.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;

use super::offline::{self, WhenMissing};
use crate::telemetry::Chain;
use crate::transfer::Document;
use crate::transfer::import::import;

/// Imports the JSON file of the Go service and reports on every object.
///
/// # Errors
/// When nothing could be imported, or not everything.
pub(super) async fn machineauth_json(
    file: &Path,
    dry_run: bool,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    let in_file = |error: &dyn Error| format!("{}: {}", file.display(), Chain(error));
    let text = std::fs::read(file).map_err(|error| in_file(&error))?;
    let document = Document::parse(&text).map_err(|error| in_file(&error))?;
    let app = offline::open_app(match dry_run {
        true => WhenMissing::Pretend,
        false => WhenMissing::Create,
    })
    .await?;
    let report = import(&app, document, dry_run).await;
    app.store.close().await?;
    let report = report?;
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => writeln!(out, "{report}")?,
    }
    match report.failures() {
        0 => Ok(()),
        failures => Err(format!(
            "{failures} objects were not imported, or are here already and different: the report says why"
        )
        .into()),
    }
}
