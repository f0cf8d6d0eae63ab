//! The command line.

mod config;
mod descriptors;
mod serve;
mod store;

use std::error::Error;
use std::io;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::variables;

/// The OAuth 2.0 token service for machines.
#[derive(Debug, Parser)]
#[command(version, after_help = variables::help())]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what happens without a command, too)
    Serve,
    /// Print the configuration in force, secrets redacted
    Config {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
        /// Instead, the reference of all variables, as Markdown
        #[arg(long, conflicts_with = "json")]
        reference: bool,
    },
    /// Print what a shell completes commands with
    Completions {
        /// Which shell
        shell: Shell,
    },
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever ended the command, in a sentence for the operator.
    pub async fn run(self) -> Result<(), Box<dyn Error>> {
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => serve::run().await,
            Command::Config { json, reference } => config::print(json, reference),
            Command::Completions { shell } => {
                let mut command = Self::command();
                clap_complete::generate(
                    shell,
                    &mut command,
                    "machineauth-issuer",
                    &mut io::stdout(),
                );
                Ok(())
            }
        }
    }
}
