//! `machineauth-issuer stats` and `machineauth-issuer health`

use clap::Args;

use super::client::Credential;
use super::connection::{AdministratorArguments, Connection, Session};
use super::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    administrator: AdministratorArguments,
}

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Ask only whether the process runs, not whether its store answers
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Stats {
    /// Prints what the server has done.
    ///
    /// # Errors
    /// Whatever kept it from that.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let session = Session::administrator(&self.connection, self.administrator)?;
        let answer = session.client.get("/api/stats").await?;
        session.output.all(&answer, None)
    }
}

impl Health {
    /// Succeeds when the server is well.
    ///
    /// # Errors
    /// When it is not, or cannot be reached.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Session { client, output } = self.connection.session(|_, _| Ok(Credential::Nobody))?;
        let path = match self.live {
            true => "/health",
            false => "/health/ready",
        };
        output.all(&client.get(path).await?, None)
    }
}
