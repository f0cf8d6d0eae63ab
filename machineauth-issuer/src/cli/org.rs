//! `machineauth-issuer org`

use clap::{Args, Subcommand};

use super::arguments::{Body, Id, OrNone, Seconds, words};
use super::connection::{Action, Session};
use super::example;
use super::failure::Failure;
use super::input::Consent;
use super::output::Noun;
use super::paging::{Paging, Part, list};

const ORGANIZATIONS: &str = "/api/organizations";
const ORGANIZATION: Noun = Noun {
    one: None,
    many: "organizations",
    id: "id",
    columns: &[
        "id",
        "name",
        "slug",
        "owner_email",
        "jwt_issuer",
        "plan",
        "created_at",
    ],
};

#[derive(Debug, Subcommand)]
pub(super) enum OrgCommand {
    /// Create an organization
    #[command(after_help = example!("org create Acme --slug acme"))]
    Create(Create),
    /// List organizations
    #[command(after_help = example!("org list"))]
    List(List),
    /// Print an organization
    #[command(after_help = example!("org get 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d"))]
    Get(OneOrganization),
    /// Change an organization; what is not said stays as it is
    #[command(after_help = example!("org update 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d --token-lifetime 1h"))]
    Update(Box<Update>),
    /// Delete an organization with its agents, teams and keys; its tokens are refused from now on
    #[command(after_help = example!("org delete 7d9f0c2e-5b1a-4a55-8a58-0f8a3f1f5e9d --yes"))]
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call it
    name: String,
    /// Its name in URLs
    #[arg(long)]
    slug: String,
    /// Whom to write to
    #[arg(long, value_name = "ADDRESS")]
    owner_email: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    part: Part,
}

/// Names an organization.
#[derive(Debug, Args)]
pub(super) struct OneOrganization {
    /// The organization's identifier; without it, that of the API key or token
    id: Option<Id>,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    organization: OneOrganization,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// Its name in URLs
    #[arg(long)]
    slug: Option<String>,
    /// Whom to write to
    #[arg(long, value_name = "ADDRESS")]
    owner_email: Option<String>,
    /// The URL that its tokens are issued as, with keys of its own; an empty text for the server's
    #[arg(long, value_name = "URL")]
    jwt_issuer: Option<String>,
    /// How long its access tokens live, as 90s, 15m, 12h or 30d; none for as long as the server's
    #[arg(long, value_name = "DURATION")]
    token_lifetime: Option<OrNone<Seconds>>,
    /// Origins of pages that may call the API for it, separated by commas; an empty text for none
    #[arg(long = "allowed-origin", value_name = "ORIGINS", value_delimiter = ',')]
    allowed_origins: Option<Vec<String>>,
    /// Which quotas it has
    #[arg(long)]
    plan: Option<String>,
    /// Only if it is still at the version that `get` showed
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The organization's identifier
    id: Id,
    #[command(flatten)]
    consent: Consent,
}

/// The path of an organization.
pub(super) fn path(id: &Id) -> String {
    format!("{ORGANIZATIONS}/{id}")
}

impl Action for OrgCommand {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::Create(create) => {
                let body = Body::default()
                    .with("name", Some(create.name))
                    .with("slug", Some(create.slug))
                    .with("owner_email", create.owner_email);
                output.one(&ORGANIZATION, &client.post(ORGANIZATIONS, body).await?)
            }
            Self::List(List { part }) => {
                list(
                    session,
                    &ORGANIZATION,
                    Paging::Cursor,
                    ORGANIZATIONS,
                    &[],
                    &part,
                )
                .await
            }
            Self::Get(OneOrganization { id }) => {
                let id = session.organization(id).await?;
                output.one(&ORGANIZATION, &client.get(&path(&id)).await?)
            }
            Self::Update(update) => update.run(session).await,
            Self::Delete(Delete { id, consent }) => {
                consent.to(&format!(
                    "delete the organization {id} with all that belongs to it"
                ))?;
                output.done(&client.delete(&path(&id)).await?, "Deleted.")
            }
        }
    }
}

impl Update {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        // The API has a number here, and 0 for none.
        let lifetime = self.token_lifetime.map(|lifetime| match lifetime {
            OrNone::None => Seconds::ZERO,
            OrNone::Some(seconds) => seconds,
        });
        let body = Body::default()
            .with("name", self.name)
            .with("slug", self.slug)
            .with("owner_email", self.owner_email)
            .with("jwt_issuer", self.jwt_issuer)
            .with("jwt_expiry_secs", lifetime)
            .with("allowed_origins", words(self.allowed_origins.as_ref()))
            .with("plan", self.plan)
            .change()?;
        let path = path(&session.organization(self.organization.id).await?);
        let answer = session.client.patch(&path, &body, self.if_match.as_deref());
        session.output.one(&ORGANIZATION, &answer.await?)
    }
}
