//! `machineauth-issuer machine-client`

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::arguments::{Body, Id, Seconds, Status, words};
use super::connection::{Action, Owner, Session};
use super::example;
use super::failure::Failure;
use super::input::Consent;
use super::output::{NewSecret, Noun, SecretForm};
use super::paging::{Limit, Paging, list};

const MACHINE_CLIENT: Noun = Noun {
    one: None,
    many: "data",
    id: "id",
    columns: &[
        "id",
        "name",
        "clientId",
        "scopes",
        "dockId",
        "tokenFormat",
        "isActive",
        "expiresAt",
    ],
};
const CLIENT_ID: NewSecret = NewSecret {
    member: "clientId",
    variable: "MACHINEAUTH_CLIENT_ID",
};
const CLIENT_SECRET: NewSecret = NewSecret {
    member: "clientSecret",
    variable: "MACHINEAUTH_CLIENT_SECRET",
};

#[derive(Debug, Subcommand)]
pub(super) enum MachineClientCommand {
    /// Create a machine client of an organization and print its credentials, once
    ///
    /// With --quiet, the client and its secret with a colon between them, as `curl -u` takes them.
    #[command(after_help = example!("machine-client create ci --org 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d --dock dock_1"))]
    Create(Box<Create>),
    /// List the machine clients of an organization
    #[command(after_help = example!("machine-client list --org 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d"))]
    List(List),
    /// Print a machine client with its live secrets, never their texts
    #[command(after_help = example!("machine-client get mc_PxwPS2ouQ3WYwbCk8-LRwA"))]
    Get(OneClient),
    /// Change a machine client; what is not said stays as it is
    #[command(after_help = example!("machine-client update mc_PxwPS2ouQ3WYwbCk8-LRwA --status inactive"))]
    Update(Update),
    /// Give a machine client a new secret and print it, once; the one before works for another day
    #[command(after_help = example!("machine-client rotate mc_PxwPS2ouQ3WYwbCk8-LRwA --grace 1h"))]
    Rotate(Rotate),
    /// Cancel a replaced secret before its grace ends
    #[command(after_help = example!("machine-client cancel-secret mc_PxwPS2ouQ3WYwbCk8-LRwA 0b9e2c54-1d5c-4c0e-9d0a-7a1f6f6f3b11 --yes"))]
    CancelSecret(CancelSecret),
    /// Delete a machine client; its tokens are refused from now on
    #[command(after_help = example!("machine-client delete mc_PxwPS2ouQ3WYwbCk8-LRwA --yes"))]
    Delete(Delete),
}

/// In which form a client's tokens are.
#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum TokenFormat {
    /// Only the server can read them
    Opaque,
    /// Everybody can verify them
    Jwt,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call it
    name: String,
    /// What it may do: scopes, separated by commas; the documented ones without it
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    /// The only dock that its tokens are good for
    #[arg(long, value_name = "ID")]
    dock: Option<String>,
    /// Whom its acts are ascribed to
    #[arg(long, value_name = "ID")]
    party: Option<String>,
    /// In which form its tokens are; opaque without it
    #[arg(long, value_name = "FORMAT")]
    token_format: Option<TokenFormat>,
    /// After how long it gets no more tokens, as 90s, 15m, 12h or 30d
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<Seconds>,
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    form: SecretForm,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    limit: Limit,
}

/// Names a machine client.
#[derive(Debug, Args)]
pub(super) struct OneClient {
    /// The client's identifier, or its clientId
    id: Id,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    client: OneClient,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// What it may do: scopes, separated by commas
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    /// Whether it gets tokens at all
    #[arg(long, value_name = "STATUS")]
    status: Option<Status>,
    /// Only if it is still at the version that `get` showed
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    client: OneClient,
    /// How long the secret before goes on working, as 90s, 15m, 12h or 30d; a day without it
    #[arg(long, value_name = "DURATION")]
    grace: Option<Seconds>,
    #[command(flatten)]
    form: SecretForm,
}

#[derive(Debug, Args)]
pub(super) struct CancelSecret {
    #[command(flatten)]
    client: OneClient,
    /// The secret's identifier, as `machine-client get` prints it
    secret: Id,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    client: OneClient,
    #[command(flatten)]
    consent: Consent,
}

async fn path(owner: Owner, session: &Session) -> Result<String, Failure> {
    let id = owner.id(session).await?;
    Ok(format!("/v1/organizations/{id}/machine-clients"))
}

impl OneClient {
    async fn path(self, session: &Session) -> Result<String, Failure> {
        Ok(format!("{}/{}", path(self.owner, session).await?, self.id))
    }
}

impl Action for MachineClientCommand {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(List { owner, limit }) => {
                let path = path(owner, session).await?;
                let part = limit.into();
                list(
                    session,
                    &MACHINE_CLIENT,
                    Paging::Numbered,
                    &path,
                    &[],
                    &part,
                )
                .await
            }
            Self::Get(machine) => {
                let path = machine.path(session).await?;
                output.one(&MACHINE_CLIENT, &client.get(&path).await?)
            }
            Self::Update(update) => update.run(session).await,
            Self::Rotate(rotate) => {
                let body = Body::default().with("gracePeriod", rotate.grace);
                let path = format!("{}/rotate", rotate.client.path(session).await?);
                let answer = client.post(&path, body).await?;
                output.secret(&MACHINE_CLIENT, &answer, &[CLIENT_SECRET], &rotate.form)
            }
            Self::CancelSecret(CancelSecret {
                client: machine,
                secret,
                consent,
            }) => {
                consent.to(&format!("cancel the secret {secret}"))?;
                let path = format!("{}/secrets/{secret}", machine.path(session).await?);
                output.done(&client.delete(&path).await?, "Cancelled.")
            }
            Self::Delete(Delete {
                client: machine,
                consent,
            }) => {
                consent.to(&format!("delete the machine client {}", machine.id))?;
                let path = machine.path(session).await?;
                output.done(&client.delete(&path).await?, "Deleted.")
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let body = Body::default()
            .with("name", Some(self.name))
            .with("scopes", words(self.scopes.as_ref()))
            .with("dockId", self.dock)
            .with("partyId", self.party)
            .with("tokenFormat", self.token_format)
            .with("expiresIn", self.expires_in);
        let path = path(self.owner, session).await?;
        let answer = session.client.post(&path, body).await?;
        let secrets = [CLIENT_ID, CLIENT_SECRET];
        session
            .output
            .secret(&MACHINE_CLIENT, &answer, &secrets, &self.form)
    }
}

impl Update {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let is_active = self.status.map(|status| matches!(status, Status::Active));
        let body = Body::default()
            .with("name", self.name)
            .with("scopes", words(self.scopes.as_ref()))
            .with("isActive", is_active)
            .change()?;
        let path = self.client.path(session).await?;
        let answer = session.client.patch(&path, &body, self.if_match.as_deref());
        session.output.one(&MACHINE_CLIENT, &answer.await?)
    }
}
