//! The command line.

mod admin;
mod agent;
mod api_key;
mod arguments;
mod audit;
mod backup;
mod client;
mod config;
mod connection;
mod descriptors;
mod destination;
mod export;
mod failure;
mod import;
mod input;
mod key;
mod machine_client;
mod offline;
mod openapi;
mod org;
mod output;
mod paging;
mod serve;
mod service;
mod store;
mod team;
mod token;
mod whole_file;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use self::agent::AgentCommand;
use self::api_key::ApiKeyCommand;
use self::audit::AuditCommand;
use self::connection::Administration;
use self::failure::EXIT_CODES;
pub use self::failure::exit_code;
use self::key::KeyCommand;
use self::machine_client::MachineClientCommand;
use self::org::OrgCommand;
use self::service::{Health, Stats};
use self::team::TeamCommand;
use self::token::Tokens;
use crate::config::variables;

/// The end of a command's help: a line to try.
macro_rules! example {
    ($line:literal) => {
        concat!("Example:\n  machineauth-issuer ", $line)
    };
}
use example;

/// The OAuth 2.0 token service for machines.
#[derive(Debug, Parser)]
#[command(version, after_help = format!("{EXIT_CODES}\n\n{}", variables::help()))]
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
    /// Take over what another server has; opens the store itself
    Import {
        #[command(subcommand)]
        source: ImportSource,
    },
    /// Write everything that administrators made, without secrets; opens the store itself
    Export {
        /// The file to write, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the description of the HTTP API (OpenAPI 3.1)
    Openapi,
    /// The audit trail, in the store itself: its seals, and whether they hold
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Copy the whole store into one file; opens the store itself
    Backup {
        /// The file to write, or - for standard output
        file: PathBuf,
    },
    /// Put what `backup` wrote into the store, and revoke all that was issued before; opens the store itself
    Restore {
        /// The file that `backup` wrote
        file: PathBuf,
        /// Delete what is in the store
        #[arg(long)]
        replace: bool,
        /// Revoke nothing: for a move to another store, with no server in between
        #[arg(long)]
        keep_tokens: bool,
    },
    /// The administrator's own password; opens the store itself
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Print what a shell completes commands with
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Agents: what gets tokens
    #[command(after_help = EXIT_CODES)]
    Agent(Administration<AgentCommand>),
    /// Organizations: tenants
    #[command(after_help = EXIT_CODES)]
    Org(Administration<OrgCommand>),
    /// Teams of an organization
    #[command(after_help = EXIT_CODES)]
    Team(Administration<TeamCommand>),
    /// API keys, by which an organization administers itself
    #[command(after_help = EXIT_CODES)]
    ApiKey(Administration<ApiKeyCommand>),
    /// Machine clients of an organization, in Docyard's form
    #[command(after_help = EXIT_CODES)]
    MachineClient(Administration<MachineClientCommand>),
    /// Signing keys
    #[command(after_help = EXIT_CODES)]
    Key(Administration<KeyCommand>),
    /// Tokens: get them, look at them, end them
    #[command(after_help = EXIT_CODES)]
    Token(Tokens),
    /// Print what the server has done
    #[command(after_help = example!("stats --json"))]
    Stats(Stats),
    /// Succeed when the server is ready, for scripts and health checks of containers
    #[command(after_help = example!("health -q --timeout 3"))]
    Health(Health),
}

/// What is imported.
#[derive(Debug, Subcommand)]
enum ImportSource {
    /// The JSON file in which the Go service keeps its state, or what `export` wrote
    MachineauthJson {
        /// The file
        file: PathBuf,
        /// Judge everything and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Report as JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

/// What is done about the administrator.
#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Set a new password, which is used instead of ADMIN_PASSWORD, and end all sessions
    ResetPassword {
        /// Read the password from standard input, instead of making one and printing it
        #[arg(long)]
        stdin: bool,
        /// Return to ADMIN_PASSWORD
        #[arg(long, conflicts_with = "stdin")]
        forget: bool,
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
            Command::Audit(command) => command.run().await,
            Command::Config { json, reference } => config::print(json, reference),
            Command::Openapi => openapi::print(),
            Command::Completions { shell } => Ok(print_completions(shell)?),
            Command::Agent(command) => Ok(command.run().await?),
            Command::Org(command) => Ok(command.run().await?),
            Command::Team(command) => Ok(command.run().await?),
            Command::ApiKey(command) => Ok(command.run().await?),
            Command::MachineClient(command) => Ok(command.run().await?),
            Command::Key(command) => Ok(command.run().await?),
            Command::Token(command) => Ok(command.run().await?),
            Command::Stats(command) => Ok(command.run().await?),
            Command::Health(command) => Ok(command.run().await?),
            Command::Import {
                source:
                    ImportSource::MachineauthJson {
                        file,
                        dry_run,
                        json,
                    },
            } => import::machineauth_json(&file, dry_run, json).await,
            Command::Admin(AdminCommand::ResetPassword { forget: true, .. }) => {
                admin::forget_password().await
            }
            Command::Admin(AdminCommand::ResetPassword { stdin, .. }) => {
                admin::reset_password(stdin).await
            }
            Command::Backup { file } => backup::backup(&file).await,
            Command::Restore {
                file,
                replace,
                keep_tokens,
            } => {
                let how = backup::How {
                    replace,
                    keep_tokens,
                };
                backup::restore(&file, how).await
            }
            Command::Export { out } => export::run(out.as_deref()).await,
        }
    }
}

fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(shell, &mut command, "machineauth-issuer", &mut script);
    io::stdout().write_all(&script)
}
