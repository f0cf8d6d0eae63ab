//! `machineauth-issuer agent`

use clap::{Args, Subcommand};
use serde_json::Value;

use super::arguments::{Body, Id, JsonObject, OrNone, Seconds, Status, Switch, words};
use super::connection::{Action, Session};
use super::example;
use super::failure::Failure;
use super::input::Consent;
use super::output::{NewSecret, Noun, SecretForm};
use super::paging::{Paging, Part, list};
use crate::paths::AGENTS;

const AGENT: Noun = Noun {
    one: Some("agent"),
    many: "agents",
    id: "id",
    columns: &[
        "id",
        "name",
        "client_id",
        "scopes",
        "status",
        "organization_id",
        "last_activity_at",
    ],
};

/// One of the live secrets of an agent.
pub(super) const SECRET: Noun = Noun {
    one: None,
    many: "secrets",
    id: "id",
    columns: &["id", "created_at", "expires_at", "last_used_at"],
};

const CLIENT_ID: NewSecret = NewSecret {
    member: "client_id",
    variable: "MACHINEAUTH_CLIENT_ID",
};
const CLIENT_SECRET: NewSecret = NewSecret {
    member: "client_secret",
    variable: "MACHINEAUTH_CLIENT_SECRET",
};

#[derive(Debug, Subcommand)]
pub(super) enum AgentCommand {
    /// Create an agent and print its credentials, once
    ///
    /// With --quiet, the client and its secret with a colon between them, as `curl -u` takes them.
    #[command(after_help = example!("agent create deployer --scope read,write"))]
    Create(Box<Create>),
    /// List agents
    #[command(after_help = example!("agent list --status inactive"))]
    List(List),
    /// Print an agent
    #[command(after_help = example!("agent get 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0"))]
    Get(OneAgent),
    /// Change an agent; what is not said stays as it is
    #[command(after_help = example!("agent update 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0 --scope read --expires-in 30d"))]
    Update(Box<Update>),
    /// Give an agent a new secret and print it, once
    #[command(after_help = example!("agent rotate 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0 --grace 24h"))]
    Rotate(Rotate),
    /// Suspend an agent: it gets no token, and its tokens are refused
    #[command(after_help = example!("agent deactivate 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0"))]
    Deactivate(Deactivate),
    /// End the suspension of an agent
    #[command(after_help = example!("agent reactivate 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0"))]
    Reactivate(OneAgent),
    /// Delete an agent; its tokens are refused from now on
    #[command(after_help = example!("agent delete 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0 --yes"))]
    Delete(Delete),
    /// List the live secrets of an agent, never their texts
    #[command(after_help = example!("agent secrets 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0"))]
    Secrets(OneAgent),
    /// Cancel a replaced secret before its grace ends
    #[command(after_help = example!("agent cancel-secret 3f1c0f4b-6a2e-4375-98c1-b0a4f3e2d1c0 0b9e2c54-1d5c-4c0e-9d0a-7a1f6f6f3b11 --yes"))]
    CancelSecret(CancelSecret),
    /// Print what the agent that --token is of has done, and when its secret was rotated
    #[command(after_help = example!("agent usage --token-file agent.token"))]
    Usage,
}

/// Names an agent.
#[derive(Debug, Args)]
pub(super) struct OneAgent {
    /// The agent's identifier; `me` for the agent that --token is of
    id: Id,
}

/// What an agent is.
#[derive(Debug, Args)]
struct Profile {
    /// What people read about it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What it may do: scopes, separated by commas
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    /// Words to find it by, separated by commas
    #[arg(long = "tag", value_name = "TAGS", value_delimiter = ',')]
    tags: Option<Vec<String>>,
    /// A JSON object that is kept as it is, @FILE for one in a file
    #[arg(long, value_name = "JSON")]
    metadata: Option<JsonObject>,
    /// For whom it can ask tokens, beside the server's own audience; can be repeated
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Option<Vec<String>>,
    /// A JSON object of claims that its tokens carry, @FILE for one in a file
    #[arg(long, value_name = "JSON")]
    claims: Option<JsonObject>,
    /// After how long it gets no more tokens, as 90s, 15m, 12h or 30d
    #[arg(long, value_name = "DURATION", conflicts_with = "expires_at")]
    expires_in: Option<Seconds>,
    /// When it gets no more tokens, as 2030-01-31T12:00:00Z; none for never
    #[arg(long, value_name = "TIME")]
    expires_at: Option<OrNone<String>>,
    /// How long its access tokens live; none for as long as usual
    #[arg(long, value_name = "DURATION")]
    token_lifetime: Option<OrNone<Seconds>>,
    /// Whether it gets refresh tokens, where the server issues them
    #[arg(long, value_name = "SWITCH")]
    refresh_tokens: Option<Switch>,
    /// Whether it gets tokens at all
    #[arg(long, value_name = "STATUS")]
    status: Option<Status>,
}

impl Profile {
    fn body(&self) -> Body {
        Body::default()
            .with("description", self.description.as_ref())
            .with("scopes", words(self.scopes.as_ref()))
            .with("tags", words(self.tags.as_ref()))
            .with("metadata", self.metadata.as_ref())
            .with("audiences", words(self.audiences.as_ref()))
            .with("claims", self.claims.as_ref())
            .with("expires_in", self.expires_in)
            .with("expires_at", self.expires_at.as_ref())
            .with("token_lifetime", self.token_lifetime.as_ref())
            .with("refresh_tokens", self.refresh_tokens)
            .with("status", self.status)
    }
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What people call it
    name: String,
    /// The organization that it belongs to; without it, that of the credentials
    #[arg(long, value_name = "ID")]
    org: Option<Id>,
    /// The team of the organization that it belongs to
    #[arg(long, value_name = "ID")]
    team: Option<Id>,
    #[command(flatten)]
    profile: Profile,
    #[command(flatten)]
    form: SecretForm,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those whose names begin so, whatever their case
    #[arg(long, value_name = "PREFIX")]
    name: Option<String>,
    /// Only those that get tokens, or those that do not
    #[arg(long)]
    status: Option<Status>,
    /// Only those of this organization
    #[arg(long, value_name = "ID")]
    org: Option<Id>,
    /// name, -name, created_at or -created_at, which is the usual
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    part: Part,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    agent: OneAgent,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    profile: Profile,
    /// Only if it is still at the version that `get` showed
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    agent: OneAgent,
    /// How long the secret before goes on working, as 90s, 15m, 12h or 30d; not at all without it
    #[arg(long, value_name = "DURATION")]
    grace: Option<Seconds>,
    /// End all of its tokens for good
    #[arg(long)]
    revoke_tokens: bool,
    #[command(flatten)]
    form: SecretForm,
}

#[derive(Debug, Args)]
pub(super) struct Deactivate {
    #[command(flatten)]
    agent: OneAgent,
    /// End all of its tokens for good, and not only until it is reactivated
    #[arg(long)]
    revoke_tokens: bool,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    agent: OneAgent,
    #[command(flatten)]
    consent: Consent,
}

#[derive(Debug, Args)]
pub(super) struct CancelSecret {
    #[command(flatten)]
    agent: OneAgent,
    /// The secret's identifier, as `agent secrets` prints it
    secret: Id,
    #[command(flatten)]
    consent: Consent,
}

impl OneAgent {
    fn path(&self) -> String {
        format!("{AGENTS}/{}", self.id)
    }
}

impl Action for AgentCommand {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Get(agent) => output.one(&AGENT, &client.get(&agent.path()).await?),
            Self::Update(update) => update.run(session).await,
            Self::Rotate(rotate) => rotate.run(session).await,
            Self::Deactivate(Deactivate {
                agent,
                revoke_tokens,
            }) => {
                let body = Body::default().with("revoke_tokens", Some(revoke_tokens));
                let path = format!("{}/deactivate", agent.path());
                output.done(&client.post(&path, body).await?, "Deactivated.")
            }
            Self::Reactivate(agent) => {
                let path = format!("{}/reactivate", agent.path());
                output.done(&client.post(&path, Body::default()).await?, "Reactivated.")
            }
            Self::Delete(Delete { agent, consent }) => {
                consent.to(&format!("delete the agent {}", agent.id))?;
                output.done(&client.delete(&agent.path()).await?, "Deleted.")
            }
            Self::Secrets(agent) => {
                let path = format!("{}/secrets", agent.path());
                output.list(&SECRET, &client.get(&path).await?)
            }
            Self::CancelSecret(CancelSecret {
                agent,
                secret,
                consent,
            }) => {
                consent.to(&format!("cancel the secret {secret}"))?;
                let path = format!("{}/secrets/{secret}", agent.path());
                output.done(&client.delete(&path).await?, "Cancelled.")
            }
            Self::Usage => output.all(&client.get(&format!("{AGENTS}/me/usage")).await?, None),
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let body = self.profile.body();
        let body = body
            .with("name", Some(&self.name))
            .with("organization_id", self.org.as_ref())
            .with("team_id", self.team.as_ref());
        let answer = session.client.post(AGENTS, body).await?;
        let secrets = [CLIENT_ID, CLIENT_SECRET];
        session.output.secret(&AGENT, &answer, &secrets, &self.form)
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let org = self.org.map(|org| org.to_string());
        let status = self.status.map(Status::as_str);
        let filters = [
            ("q", self.name.as_deref()),
            ("status", status),
            ("org_id", org.as_deref()),
            ("sort", self.sort.as_deref()),
        ];
        list(
            session,
            &AGENT,
            Paging::Cursor,
            AGENTS,
            &filters,
            &self.part,
        )
        .await
    }
}

impl Update {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let body: Value = self
            .profile
            .body()
            .with("name", self.name.as_ref())
            .change()?;
        let client = &session.client;
        let answer = client
            .patch(&self.agent.path(), &body, self.if_match.as_deref())
            .await?;
        session.output.one(&AGENT, &answer)
    }
}

impl Rotate {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let body = Body::default()
            .with("grace", self.grace)
            .with("revoke_tokens", Some(self.revoke_tokens));
        let path = format!("{}/rotate", self.agent.path());
        let answer = session.client.post(&path, body).await?;
        session
            .output
            .secret(&AGENT, &answer, &[CLIENT_SECRET], &self.form)
    }
}
