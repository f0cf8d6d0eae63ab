//! `machineauth-issuer export`: everything that administrators made, without a secret.

use std::error::Error;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use super::offline::{self, WhenMissing};
use super::whole_file::WholeFile;
use crate::telemetry::Chain;
use crate::transfer::export::export;

/// Writes the document to `out`, or where there is none to standard output.
///
/// # Errors
/// When it could not be written whole.
pub(super) async fn run(out: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let app = offline::open_app(WhenMissing::Refuse).await?;
    let exported = match out {
        Some(path) => {
            let in_file = |error| format!("{}: {error}", path.display());
            let mut file = WholeFile::create(path).map_err(in_file)?;
            match export(&app, &mut file).await {
                Ok(exported) => file.finish().map(|()| exported).map_err(in_file),
                Err(error) => Err(Chain(&error).to_string()),
            }
        }
        None => {
            let mut out = BufWriter::new(io::stdout());
            match export(&app, &mut out).await {
                Ok(exported) => out.flush().map(|()| exported).map_err(|e| e.to_string()),
                Err(error) => Err(Chain(&error).to_string()),
            }
        }
    };
    app.store.close().await?;
    let exported = exported?;
    eprintln!(
        "{} organizations, {} teams, {} agents, {} API keys and {} webhooks, without their secrets: where this is imported, \
         agents and webhooks must be rotated and API keys made anew",
        exported.organizations,
        exported.teams,
        exported.agents,
        exported.api_keys,
        exported.webhooks
    );
    Ok(())
}
