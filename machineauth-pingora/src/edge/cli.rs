//! The command line of `machineauth-edge`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::explain::explain;
use super::server::{self, Assembled};

/// A proxy that lets only verified agents through to its upstreams.
#[derive(Debug, Parser)]
#[command(
    name = "machineauth-edge",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// The configuration.
    #[arg(long, default_value = "edge.toml")]
    config: PathBuf,
    /// Takes over the listeners of the process that runs, over its `upgrade_socket`; send that one SIGQUIT then.
    #[arg(long)]
    upgrade: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says whether a configuration can be put in force, and if not, which line is wrong.
    Check {
        /// The configuration.
        #[arg(default_value = "edge.toml")]
        config: PathBuf,
    },
    /// Says what would become of a request: its route, its rule, the decision and why. Exits with 0 when it is let
    /// through, with 1 when it is refused.
    Explain {
        /// The method, as `GET`.
        method: String,
        /// The URL as a client calls it, or a path.
        url: String,
        /// The access token; `-` reads it from the standard input, where the shell's history does not see it.
        #[arg(long)]
        token: Option<String>,
        /// The configuration.
        #[arg(long, default_value = "edge.toml")]
        config: PathBuf,
    },
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            None => server::run(&self.config, self.upgrade).map(|()| ExitCode::SUCCESS),
            Some(Command::Check { config }) => check(&config),
            Some(Command::Explain {
                method,
                url,
                token,
                config,
            }) => explained(&config, &method, &url, token),
        };
        done.unwrap_or_else(|error| {
            eprintln!("machineauth-edge: {error}");
            ExitCode::from(2)
        })
    }
}

fn check(path: &Path) -> Result<ExitCode, String> {
    let Assembled {
        fixed, snapshot, ..
    } = Assembled::from_file(path)?;
    println!("{} is good", path.display());
    for (listener, tls) in fixed.listeners.iter().zip(&fixed.tls) {
        let tls = if tls.is_some() { " with TLS" } else { "" };
        println!("listens on {}{tls}", listener.address.0);
    }
    for issuer in &snapshot.issuers {
        println!("trusts {}", issuer.url());
    }
    for route in snapshot.routes.iter() {
        let dry_run = if route.dry_run { ", dry run" } else { "" };
        println!("route {} to {}{dry_run}", route.name, route.pool.name());
    }
    Ok(ExitCode::SUCCESS)
}

fn explained(
    path: &Path,
    method: &str,
    url: &str,
    token: Option<String>,
) -> Result<ExitCode, String> {
    let token = match token.as_deref() {
        Some("-") => Some(standard_input()?),
        _ => token,
    };
    let assembled = Assembled::from_file(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let explanation = runtime.block_on(explain(&assembled, method, url, token.as_deref()))?;
    print!("{}", explanation.text);
    Ok(match explanation.allowed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn standard_input() -> Result<String, String> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| format!("the token cannot be read: {error}"))?;
    Ok(text.trim().to_owned())
}
