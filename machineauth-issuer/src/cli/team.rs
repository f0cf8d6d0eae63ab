//! `machineauth-issuer team`

use clap::{Args, Subcommand};

use super::arguments::{Body, Id};
use super::connection::{Action, Owner, Session};
use super::failure::Failure;
use super::input::Consent;
use super::output::Noun;
use super::{example, org};

const TEAM: Noun = Noun {
    one: None,
    many: "teams",
    id: "id",
    columns: &["id", "name", "description", "created_at"],
};

#[derive(Debug, Subcommand)]
pub(super) enum TeamCommand {
    /// Create a team in an organization
    #[command(after_help = example!("team create builders --org 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d"))]
    Create(Create),
    /// List the teams of an organization
    #[command(after_help = example!("team list --org 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d"))]
    List(Owner),
    /// Print a team
    #[command(after_help = example!("team get 5b2f9a10-7c3d-4f1e-a0a8-52a2c7d3e6b4 --org 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d"))]
    Get(OneTeam),
    /// Change a team; what is not said stays as it is
    #[command(after_help = example!("team update 5b2f9a10-7c3d-4f1e-a0a8-52a2c7d3e6b4 --name makers"))]
    Update(Update),
    /// Delete a team that no agent belongs to
    #[command(after_help = example!("team delete 5b2f9a10-7c3d-4f1e-a0a8-52a2c7d3e6b4 --yes"))]
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call it
    name: String,
    /// What people read about it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    owner: Owner,
}

/// Names a team.
#[derive(Debug, Args)]
pub(super) struct OneTeam {
    /// The team's identifier
    id: Id,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    team: OneTeam,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// What people read about it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only if it is still at the version that `get` showed
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    team: OneTeam,
    #[command(flatten)]
    consent: Consent,
}

async fn path(owner: Owner, session: &Session) -> Result<String, Failure> {
    Ok(format!("{}/teams", org::path(&owner.id(session).await?)))
}

impl OneTeam {
    async fn path(self, session: &Session) -> Result<String, Failure> {
        Ok(format!("{}/{}", path(self.owner, session).await?, self.id))
    }
}

impl Action for TeamCommand {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::Create(create) => {
                let body = Body::default()
                    .with("name", Some(create.name))
                    .with("description", create.description);
                let path = path(create.owner, session).await?;
                output.one(&TEAM, &client.post(&path, body).await?)
            }
            Self::List(owner) => {
                let path = path(owner, session).await?;
                output.list(&TEAM, &client.get(&path).await?)
            }
            Self::Get(team) => {
                let path = team.path(session).await?;
                output.one(&TEAM, &client.get(&path).await?)
            }
            Self::Update(update) => {
                let body = Body::default()
                    .with("name", update.name)
                    .with("description", update.description)
                    .change()?;
                let path = update.team.path(session).await?;
                let answer = client.patch(&path, &body, update.if_match.as_deref());
                output.one(&TEAM, &answer.await?)
            }
            Self::Delete(Delete { team, consent }) => {
                consent.to(&format!("delete the team {}", team.id))?;
                let path = team.path(session).await?;
                output.done(&client.delete(&path).await?, "Deleted.")
            }
        }
    }
}
