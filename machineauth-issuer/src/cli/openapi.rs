//! `machineauth-issuer openapi`: the description of the HTTP API.

use std::error::Error;
use std::io::{self, Write as _};

use crate::routes;

/// Prints the description, as `docs/openapi.json` has it.
///
/// # Errors
/// When nothing can be printed.
pub(super) fn print() -> Result<(), Box<dyn Error>> {
    let description = routes::description().to_pretty_json()?;
    writeln!(io::stdout().lock(), "{description}")?;
    Ok(())
}
