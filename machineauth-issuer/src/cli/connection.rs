//! Where the server is and who asks it: from the command line, else from the environment.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use reqwest::Url;

use super::arguments::Id;
use super::client::{Client, Credential};
use super::failure::Failure;
use super::input::{Source, secret};
use super::output::{Format, Output};
use crate::config::{CommandVariables, DEFAULT_ADMIN_EMAIL, DEFAULT_ADMIN_PASSWORD};
use crate::domain::secret::SecretText;

const CONNECTION: &str = "Connection";
/// The part of the help about how answers are printed.
pub(super) const OUTPUT: &str = "Output";
const CREDENTIALS: &str = "Credentials";

/// Where the server is, and how its answers are printed.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Where the server is [env: MACHINEAUTH_URL] [default: on this machine, at PORT]
    #[arg(long, global = true, value_name = "URL", help_heading = CONNECTION, hide_short_help = true)]
    #[arg(value_hint = ValueHint::Url)]
    url: Option<String>,
    /// Trust the certificate authorities in this PEM file, and no others
    #[arg(long, global = true, value_name = "FILE", help_heading = CONNECTION, hide_short_help = true)]
    #[arg(value_hint = ValueHint::FilePath)]
    cacert: Option<PathBuf>,
    /// Give up after this many seconds
    #[arg(long, global = true, value_name = "SECONDS", help_heading = CONNECTION, hide_short_help = true)]
    #[arg(default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Print what the server answered, as JSON, for programs
    #[arg(long, global = true, help_heading = OUTPUT)]
    json: bool,
    /// Print only the identifier, or the new secret
    #[arg(short, long, global = true, help_heading = OUTPUT)]
    quiet: bool,
}

/// An API key on the command line. It is seen by everybody who can list processes, and by the shell's history.
#[derive(Debug, Args)]
pub(super) struct ApiKeyArguments {
    /// An organization's API key; better in MACHINEAUTH_API_KEY or a file, since others see the command lines of processes
    #[arg(long, global = true, value_name = "KEY", help_heading = CREDENTIALS, hide_short_help = true)]
    api_key: Option<SecretText>,
    /// The file that holds the API key, - for standard input
    #[arg(long, global = true, value_name = "FILE", help_heading = CREDENTIALS, hide_short_help = true)]
    #[arg(value_hint = ValueHint::FilePath)]
    api_key_file: Option<Source>,
}

/// Who administers: a key, a token, or the administrator's password.
#[derive(Debug, Args)]
pub(super) struct AdministratorArguments {
    #[command(flatten)]
    api_key: ApiKeyArguments,
    /// A bearer token: of a login, or of an agent; better in MACHINEAUTH_TOKEN or a file
    #[arg(long, global = true, value_name = "TOKEN", help_heading = CREDENTIALS, hide_short_help = true)]
    token: Option<SecretText>,
    /// The file that holds the token, - for standard input
    #[arg(long, global = true, value_name = "FILE", help_heading = CREDENTIALS, hide_short_help = true)]
    #[arg(value_hint = ValueHint::FilePath)]
    token_file: Option<Source>,
    /// The administrator's address [env: ADMIN_EMAIL]
    #[arg(long, global = true, value_name = "ADDRESS", help_heading = CREDENTIALS, hide_short_help = true)]
    email: Option<String>,
    /// The administrator's password; better in ADMIN_PASSWORD or a file
    #[arg(long, global = true, value_name = "PASSWORD", help_heading = CREDENTIALS, hide_short_help = true)]
    password: Option<SecretText>,
    /// The file that holds the password, - for standard input
    #[arg(long, global = true, value_name = "FILE", help_heading = CREDENTIALS, hide_short_help = true)]
    #[arg(value_hint = ValueHint::FilePath)]
    password_file: Option<Source>,
}

/// The client that tokens are asked for.
#[derive(Debug, Args)]
pub(super) struct ClientArguments {
    /// The client [env: MACHINEAUTH_CLIENT_ID]
    #[arg(long, value_name = "CLIENT_ID", help_heading = CREDENTIALS)]
    client_id: Option<String>,
    /// Its secret; better in MACHINEAUTH_CLIENT_SECRET or a file, since others see the command lines of processes
    #[arg(long, value_name = "SECRET", help_heading = CREDENTIALS)]
    client_secret: Option<SecretText>,
    /// The file that holds the secret, - for standard input
    #[arg(long, value_name = "FILE", help_heading = CREDENTIALS, value_hint = ValueHint::FilePath)]
    client_secret_file: Option<Source>,
}

/// The organization that something belongs to.
#[derive(Debug, Args)]
pub(super) struct Owner {
    /// The organization; without it, that of the API key or token
    #[arg(long, value_name = "ID")]
    org: Option<Id>,
}

/// A group of commands for administrators.
#[derive(Debug, Args)]
pub(super) struct Administration<C: Subcommand> {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    administrator: AdministratorArguments,
    #[command(subcommand)]
    command: C,
}

/// What a command does once it is known where the server is and who asks.
pub(super) trait Action {
    /// Does it.
    async fn run(self, session: &Session) -> Result<(), Failure>;
}

/// A server to ask, and a way to print what it answers.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) output: Output,
}

impl<C: Subcommand + Action> Administration<C> {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let session = Session::administrator(&self.connection, self.administrator)?;
        self.command.run(&session).await
    }
}

impl Connection {
    /// How answers are printed.
    ///
    /// # Errors
    /// When two ways are asked for at once.
    pub(super) fn output(&self) -> Result<Output, Failure> {
        let format = match (self.json, self.quiet) {
            (false, false) => Format::Table,
            (true, false) => Format::Json,
            (false, true) => Format::Quiet,
            (true, true) => {
                return Err(Failure::Usage("give either --json or --quiet".to_owned()));
            }
        };
        Ok(Output { format })
    }

    fn base(&self, variables: &mut CommandVariables) -> Result<Url, Failure> {
        let (name, text) = match &self.url {
            Some(url) => ("--url", url.clone()),
            None => ("MACHINEAUTH_URL", variables.url()?),
        };
        let url = Url::parse(&text).ok().filter(|url| {
            // A password in a URL would be seen wherever the URL is printed.
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.ok_or_else(|| {
            let expected = "expected http or https, a host, and neither user nor query, as https://auth.example.com";
            Failure::Usage(format!("{name}: {expected}"))
        })
    }

    /// A session as whoever `choose` names.
    ///
    /// # Errors
    /// When the command line or the environment cannot be followed.
    pub(super) fn session(
        &self,
        choose: impl FnOnce(&Url, &mut CommandVariables) -> Result<Credential, Failure>,
    ) -> Result<Session, Failure> {
        let output = self.output()?;
        let mut variables = CommandVariables::from_environment();
        let base = self.base(&mut variables)?;
        let credential = choose(&base, &mut variables)?;
        if !matches!(credential, Credential::Nobody)
            && base.scheme() == "http"
            && !is_loopback(&base)
        {
            eprintln!(
                "warning: {base} is not encrypted: whoever is in between can read the credentials"
            );
        }
        let timeout = Duration::from_secs(self.timeout);
        let client = Client::new(base, credential, self.cacert.as_deref(), timeout)?;
        Ok(Session { client, output })
    }
}

impl Session {
    /// A session of whoever administers.
    ///
    /// # Errors
    /// When the command line or the environment cannot be followed.
    pub(super) fn administrator(
        connection: &Connection,
        administrator: AdministratorArguments,
    ) -> Result<Self, Failure> {
        connection.session(|base, variables| administrator.choose(base, variables))
    }

    /// The organization that is meant: the one that was named, or the one that the credentials belong to.
    ///
    /// # Errors
    /// When none was named and the credentials belong to none.
    pub(super) async fn organization(&self, named: Option<Id>) -> Result<Id, Failure> {
        if let Some(named) = named {
            return Ok(named);
        }
        let missing = || {
            Failure::Usage(
                "name the organization: only an API key or an agent's token says which".to_owned(),
            )
        };
        if !self.client.may_be_tenant() {
            return Err(missing());
        }
        let own = self.client.get("/api/verify").await?.json()?;
        let own = own["organization_id"]
            .as_str()
            .and_then(|id| id.parse().ok());
        own.ok_or_else(missing)
    }
}

impl Owner {
    /// The organization.
    ///
    /// # Errors
    /// When none is named, and the credentials belong to none.
    pub(super) async fn id(self, session: &Session) -> Result<Id, Failure> {
        session.organization(self.org).await
    }
}

impl ApiKeyArguments {
    /// The key that the command line names.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(self) -> Result<Option<SecretText>, Failure> {
        secret("api-key", self.api_key, self.api_key_file.as_ref())
    }
}

impl AdministratorArguments {
    fn choose(self, base: &Url, variables: &mut CommandVariables) -> Result<Credential, Failure> {
        let api_key = self.api_key.read()?;
        let token = secret("token", self.token, self.token_file.as_ref())?;
        let password = secret("password", self.password, self.password_file.as_ref())?;
        let by_password = self.email.is_some() || password.is_some();
        match (api_key, token, by_password) {
            (Some(key), None, false) => return Ok(Credential::ApiKey(key)),
            (None, Some(token), false) => return Ok(Credential::Token(token)),
            (None, None, true) => {}
            (None, None, false) => match (variables.api_key()?, variables.token()?) {
                (Some(key), None) => return Ok(Credential::ApiKey(key)),
                (None, Some(token)) => return Ok(Credential::Token(token)),
                (None, None) => {}
                (Some(_), Some(_)) => {
                    return Err(Failure::Usage(
                        "MACHINEAUTH_API_KEY and MACHINEAUTH_TOKEN are both set: unset one of them"
                            .to_owned(),
                    ));
                }
            },
            _ => {
                return Err(Failure::Usage(
                    "authenticate once: by --api-key, by --token, or by --email and --password"
                        .to_owned(),
                ));
            }
        }
        let email = self
            .email
            .map_or_else(|| variables.admin_email(), |email| Ok(Some(email)));
        let email = email?.unwrap_or_else(|| DEFAULT_ADMIN_EMAIL.to_owned());
        match password.map_or_else(|| variables.admin_password(), |password| Ok(Some(password)))? {
            Some(password) => Ok(Credential::Password { email, password }),
            // The default password is worth a try where the server runs, and is told to nobody else.
            None if is_loopback(base) => Ok(Credential::DefaultPassword {
                email,
                password: DEFAULT_ADMIN_PASSWORD.to_owned().into(),
            }),
            None => Err(Failure::Usage(format!(
                "there are no credentials for {base}: set MACHINEAUTH_API_KEY, MACHINEAUTH_TOKEN, or ADMIN_EMAIL and ADMIN_PASSWORD"
            ))),
        }
    }
}

impl ClientArguments {
    /// The client that the command line or the environment names.
    ///
    /// # Errors
    /// When only half of it is there.
    pub(super) fn choose(
        self,
        variables: &mut CommandVariables,
    ) -> Result<Option<Credential>, Failure> {
        let id = self
            .client_id
            .map_or_else(|| variables.client_id(), |id| Ok(Some(id)))?;
        let given = secret(
            "client-secret",
            self.client_secret,
            self.client_secret_file.as_ref(),
        )?;
        let secret = given.map_or_else(|| variables.client_secret(), |secret| Ok(Some(secret)))?;
        match (id, secret) {
            (Some(id), Some(secret)) => Ok(Some(Credential::Client { id, secret })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Failure::Usage(
                "the client's secret is missing: set MACHINEAUTH_CLIENT_SECRET, or name a --client-secret-file"
                    .to_owned(),
            )),
            (None, Some(_)) => Err(Failure::Usage(
                "the client is missing: set MACHINEAUTH_CLIENT_ID, or give --client-id".to_owned(),
            )),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8080", true),
            ("https://localhost", true),
            ("http://0.0.0.0", false),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
