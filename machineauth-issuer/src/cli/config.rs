//! `machineauth-issuer config`: what is in force, and the reference of all variables.

use std::error::Error;
use std::io::{self, Write as _};

use crate::config::{Config, variables};

/// Prints the configuration in force, or the reference of all variables.
///
/// # Errors
/// When the configuration cannot work, or nothing can be printed.
pub(super) fn print(json: bool, reference: bool) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    if reference {
        write!(out, "{}", variables::reference())?;
        return Ok(());
    }
    let config = Config::from_environment()?;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    if json {
        let settings = config.in_force.iter().map(|setting| {
            let value = serde_json::json!({
                "value": setting.value,
                "source": setting.source.as_str(),
            });
            (setting.variable.name.to_owned(), value)
        });
        let settings: serde_json::Map<_, _> = settings.collect();
        writeln!(out, "{}", serde_json::Value::Object(settings))?;
        return Ok(());
    }
    for setting in &config.in_force {
        let (name, source) = (setting.variable.name, setting.source.as_str());
        writeln!(out, "{name} = {} ({source})", setting.value)?;
    }
    Ok(())
}
