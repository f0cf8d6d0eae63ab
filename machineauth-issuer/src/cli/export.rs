//! `machineauth-issuer export`: everything that administrators made, without a secret.

use std::error::Error;
use std::path::Path;

use super::destination::Destination;
use super::offline::{self, WhenMissing};
use crate::telemetry::Chain;
use crate::transfer::export::export;

/// Writes the document to `out`, or where there is none to standard output.
///
/// # Errors
/// When it could not be written whole.
pub(super) async fn run(out: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let app = offline::open_app(WhenMissing::Refuse).await?;
    let mut out = Destination::of(out)?;
    let exported = match export(&app, &mut out).await {
        Ok(exported) => out.finish().map(|()| exported),
        Err(error) => Err(Chain(&error).to_string()),
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
