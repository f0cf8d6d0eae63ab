//! `machineauth-issuer api-key`

use clap::{Args, Subcommand};

use super::arguments::{Body, Id, Seconds, words};
use super::connection::{Action, Owner, Session};
use super::failure::Failure;
use super::input::Consent;
use super::output::{NewSecret, Noun, SecretForm};
use super::{example, org};

const API_KEY: Noun = Noun {
    one: Some("api_key"),
    many: "api_keys",
    id: "id",
    columns: &[
        "id",
        "name",
        "prefix",
        "scopes",
        "team_id",
        "is_active",
        "last_used_at",
        "expires_at",
    ],
};
const TEXT: NewSecret = NewSecret {
    member: "key",
    variable: "MACHINEAUTH_API_KEY",
};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Create an API key of an organization and print it, once
    #[command(after_help = example!("api-key create ci --org 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d --expires-in 90d"))]
    Create(Create),
    /// List the API keys of an organization, never their texts
    #[command(after_help = example!("api-key list --org 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d"))]
    List(Owner),
    /// Revoke an API key; it is refused from now on
    #[command(after_help = example!("api-key revoke 9a7b1d35-0f7e-4e0b-9d1c-6f1e2a3b4c5d --yes"))]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call it
    name: String,
    /// What it is good for, separated by commas: admin, tokens:introspect, …; everything without it
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    /// The only team of the organization that it administers
    #[arg(long, value_name = "ID")]
    team: Option<Id>,
    /// After how long it stops working, as 90s, 15m, 12h or 30d; never without it
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<Seconds>,
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    form: SecretForm,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The key's identifier
    id: Id,
    #[command(flatten)]
    owner: Owner,
    #[command(flatten)]
    consent: Consent,
}

async fn path(owner: Owner, session: &Session) -> Result<String, Failure> {
    Ok(format!("{}/api-keys", org::path(&owner.id(session).await?)))
}

impl Action for ApiKeyCommand {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::Create(create) => {
                let body = Body::default()
                    .with("name", Some(create.name))
                    .with("scopes", words(create.scopes.as_ref()))
                    .with("team_id", create.team)
                    .with("expires_in", create.expires_in);
                let path = path(create.owner, session).await?;
                let answer = client.post(&path, body).await?;
                output.secret(&API_KEY, &answer, &[TEXT], &create.form)
            }
            Self::List(owner) => {
                let path = path(owner, session).await?;
                output.list(&API_KEY, &client.get(&path).await?)
            }
            Self::Revoke(Revoke { id, owner, consent }) => {
                consent.to(&format!("revoke the API key {id}"))?;
                let path = format!("{}/{id}", path(owner, session).await?);
                output.done(&client.delete(&path).await?, "Revoked.")
            }
        }
    }
}
