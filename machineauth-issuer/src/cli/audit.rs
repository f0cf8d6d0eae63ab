//! `machineauth-issuer audit`: the seals of the audit trail, and whether they hold. Reads the store itself.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use machineauth_core::clock::{Clock, SystemClock};

use super::store;
use crate::config::Config;
use crate::domain::event;
use crate::domain::sealing::SealingKey;
use crate::domain::vault::Vault;
use crate::events::audit::{self, Progress, Report, Seal};
use crate::store::DynStore;

/// Seals read at once.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Print what can be in the audit trail, and how to read it, as Markdown
    Reference,
    /// Print all seals of the audit trail, to be kept elsewhere
    Seals,
    /// Verify that every entry of the audit trail is as it was sealed, and fail when one is not
    Verify {
        /// Seals that were printed or exported before: with them, a trail that was cut off is found as well
        #[arg(long, value_name = "FILE")]
        seals: Option<PathBuf>,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

impl AuditCommand {
    /// Does what the command says.
    ///
    /// # Errors
    /// What kept it from reading the store, or that the trail is not intact.
    pub(super) async fn run(self) -> Result<(), Box<dyn Error>> {
        if let Self::Reference = self {
            return Ok(write!(io::stdout(), "{}", event::reference())?);
        }
        let config = Config::from_environment()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = store::open(&config, Arc::clone(&clock)).await?;
        if !Vault::exists_in(&*store).await? {
            return Err(format!("there is no audit trail in the store {}", config.store).into());
        }
        let server_key = store::server_key(&config.server_key, &*store).await?;
        let previous = config.previous_server_key.as_ref();
        let vault = Vault::open(&*store, &server_key, previous, &*clock).await?;
        match self {
            Self::Reference => {}
            Self::Seals => print_seals(&store, &vault, &*clock).await?,
            Self::Verify { seals, json } => {
                let exported = match &seals {
                    Some(file) => read_seals(file)?,
                    None => Vec::new(),
                };
                let progress = Progress::default();
                let report = audit::verify(&*store, &vault, &exported, &progress).await?;
                print_report(&report, json)?;
                if !report.intact {
                    return Err("the audit trail is not as it was sealed".into());
                }
            }
        }
        Ok(store.close().await?)
    }
}

async fn print_seals(
    store: &DynStore,
    vault: &Vault,
    clock: &dyn Clock,
) -> Result<(), Box<dyn Error>> {
    let key = SealingKey::open(&**store, vault, clock.now()).await?;
    let mut out = io::stdout().lock();
    out.write_all(audit::seals_head(&key).as_bytes())?;
    let mut after = None;
    loop {
        let page = audit::scan_seals(&**store, after.as_ref(), PAGE).await?;
        for (_, seal) in &page {
            out.write_all(seal.to_line().as_bytes())?;
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => after = Some(key.clone()),
            _ => return Ok(out.flush()?),
        }
    }
}

fn read_seals(file: &Path) -> Result<Vec<Seal>, Box<dyn Error>> {
    let in_file = |error: &dyn Error| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| in_file(&error))?;
    Ok(audit::parse_seals(&text).map_err(|error| in_file(&error))?)
}

fn print_report(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        return writeln!(out);
    }
    writeln!(
        out,
        "{} entries under {} seals; {} not sealed yet",
        report.entries, report.seals, report.unsealed
    )?;
    for finding in &report.findings {
        writeln!(
            out,
            "log {}, entry {}: {}",
            finding.partition,
            finding.sequence,
            finding.what.as_str()
        )?;
    }
    Ok(())
}
