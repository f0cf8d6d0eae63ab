//! `machineauth-issuer token`

mod inspect;
mod verify;

use clap::{Args, Subcommand};

use self::inspect::inspect;
use self::verify::Verify;
use super::client::{Client, Credential};
use super::connection::{ApiKeyArguments, ClientArguments, Connection, Session};
use super::example;
use super::failure::Failure;
use super::input::TokenText;
use super::output::{NewSecret, Noun, SecretForm};
use crate::domain::secret::SecretText;
use crate::paths::{INTROSPECT, REVOKE, TOKEN};

const GRANTED: Noun = Noun {
    one: None,
    many: "",
    id: "access_token",
    columns: &["token_type", "expires_in", "scope", "issued_at"],
};
const ACCESS_TOKEN: NewSecret = NewSecret {
    member: "access_token",
    variable: "MACHINEAUTH_TOKEN",
};

/// Tokens: ask for them, look at them, end them.
#[derive(Debug, Args)]
pub(super) struct Tokens {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Get an access token with a client's credentials
    ///
    /// With --quiet, only the access token.
    #[command(after_help = example!("token issue --scope read -q"))]
    Issue(Issue),
    /// Print what a token says, without asking anybody whether it is true
    #[command(after_help = example!("token inspect < agent.token"))]
    Inspect(TokenText),
    /// Verify a token here, with the keys that the server publishes; fails when it is not good
    ///
    /// A token that was revoked looks good without --online. With --quiet, only the agent that the token is of.
    #[command(after_help = example!("token verify --audience https://api.example.com < agent.token"))]
    Verify(Verify),
    /// Ask the server about a token
    #[command(after_help = example!("token introspect < agent.token"))]
    Introspect(OneToken),
    /// Revoke a token; it is refused from now on
    #[command(after_help = example!("token revoke < agent.token"))]
    Revoke(OneToken),
    /// Get a new access token for a refresh token, which works only once
    ///
    /// With --quiet, only the access token; the next refresh token is in what is printed without it.
    #[command(after_help = example!("token refresh --json < refresh.token"))]
    Refresh(Refresh),
}

#[derive(Debug, Args)]
struct Issue {
    #[command(flatten)]
    request: Request,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    form: SecretForm,
}

#[derive(Debug, Args)]
struct Refresh {
    #[command(flatten)]
    token: TokenText,
    #[command(flatten)]
    request: Request,
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    form: SecretForm,
}

/// What is asked for.
#[derive(Debug, Args)]
struct Request {
    /// Scopes, separated by commas; all that the client may have without it
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Whom the token is for; the server's own audience without it
    #[arg(long)]
    audience: Option<String>,
}

/// A token, and who asks about it.
#[derive(Debug, Args)]
struct OneToken {
    #[command(flatten)]
    token: TokenText,
    #[command(flatten)]
    asker: Asker,
}

/// Who asks about a token: a client, or an organization's API key, or, where the server allows it, nobody in particular.
#[derive(Debug, Args)]
struct Asker {
    #[command(flatten)]
    client: ClientArguments,
    #[command(flatten)]
    api_key: ApiKeyArguments,
}

impl Tokens {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            TokenCommand::Issue(issue) => issue.run(&connection).await,
            TokenCommand::Inspect(token) => inspect(token.read()?.reveal(), connection.output()?),
            TokenCommand::Verify(verify) => verify.run(&connection).await,
            TokenCommand::Introspect(OneToken { token, asker }) => {
                let session = asker.session(&connection)?;
                let answer = introspect(&session.client, &token.read()?).await?;
                session.output.all(&answer, Some("active"))
            }
            TokenCommand::Revoke(OneToken { token, asker }) => {
                let Session { client, output } = asker.session(&connection)?;
                let token = token.read()?;
                let parameters = [("token", Some(token.reveal()))];
                output.done(&client.form(REVOKE, &parameters).await?, "Revoked.")
            }
            TokenCommand::Refresh(refresh) => refresh.run(&connection).await,
        }
    }
}

impl Issue {
    async fn run(self, connection: &Connection) -> Result<(), Failure> {
        let session = connection.session(|_, variables| {
            let missing = "no client to ask a token for: set MACHINEAUTH_CLIENT_ID and MACHINEAUTH_CLIENT_SECRET";
            let client = self.client.choose(variables)?;
            client.ok_or_else(|| Failure::Usage(missing.to_owned()))
        })?;
        let grant = [("grant_type", Some("client_credentials"))];
        granted(&session, grant.into(), &self.request, &self.form).await
    }
}

impl Refresh {
    async fn run(self, connection: &Connection) -> Result<(), Failure> {
        let session = connection.session(|_, variables| {
            let client = self.client.choose(variables)?;
            Ok(client.unwrap_or(Credential::Nobody))
        })?;
        let token = self.token.read()?;
        let grant = [
            ("grant_type", Some("refresh_token")),
            ("refresh_token", Some(token.reveal())),
        ];
        granted(&session, grant.into(), &self.request, &self.form).await
    }
}

async fn granted(
    session: &Session,
    mut parameters: Vec<(&str, Option<&str>)>,
    request: &Request,
    form: &SecretForm,
) -> Result<(), Failure> {
    let scope = request.scopes.join(" ");
    parameters.extend([
        (
            "scope",
            Some(scope.as_str()).filter(|scope| !scope.is_empty()),
        ),
        ("audience", request.audience.as_deref()),
    ]);
    let answer = session.client.form(TOKEN, &parameters).await?;
    session
        .output
        .secret(&GRANTED, &answer, &[ACCESS_TOKEN], form)
}

async fn introspect(client: &Client, token: &SecretText) -> Result<super::client::Answer, Failure> {
    client
        .form(INTROSPECT, &[("token", Some(token.reveal()))])
        .await
}

impl Asker {
    fn session(self, connection: &Connection) -> Result<Session, Failure> {
        connection.session(|_, variables| {
            let api_key = self.api_key.read()?;
            if let Some(key) = api_key {
                return Ok(Credential::ApiKey(key));
            }
            if let Some(client) = self.client.choose(variables)? {
                return Ok(client);
            }
            let api_key = variables.api_key()?;
            Ok(api_key.map_or(Credential::Nobody, Credential::ApiKey))
        })
    }
}
