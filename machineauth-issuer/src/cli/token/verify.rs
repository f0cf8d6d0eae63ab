//! `machineauth-issuer token verify`: what a resource server would say about a token.

use clap::Args;
use machineauth_core::{ErrorKind, KeySet, Verifier};
use reqwest::Url;
use serde_json::{Value, json};

use super::inspect::{claims, read};
use super::{Asker, introspect};
use crate::cli::client::Client;
use crate::cli::connection::{Connection, Session};
use crate::cli::failure::Failure;
use crate::cli::input::TokenText;
use crate::cli::output::{Format, Output, print, printable, table_of_fields};
use crate::domain::tokens::said::Said;
use crate::paths::{JWKS, OAUTH_METADATA};

const NOT_ASKED: &str = "Whether it was revoked was not asked: --online asks.";

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    token: TokenText,
    /// Who must have issued it; the server itself without it
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Whom it must be for
    #[arg(long, default_value = "machineauth-api")]
    audience: String,
    /// Ask the server as well, which knows what was revoked
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    asker: Asker,
}

impl Verify {
    /// Verifies the token and prints what it says.
    ///
    /// # Errors
    /// When it is not good, or cannot be judged.
    pub(super) async fn run(self, connection: &Connection) -> Result<(), Failure> {
        let Session { client, output } = self.asker.session(connection)?;
        let token = self.token.read()?;
        let said = read(token.reveal())?;
        let (issuer, keys) = published(&client, self.issuer).await?;
        let verifier = Verifier::builder(issuer.as_str(), self.audience.as_str())
            .keys(keys)
            .build()
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let agent = verifier.check(token.reveal()).map_err(|error| {
            let advice = advice(error.kind(), &said, &issuer);
            Failure::Refused(format!("the token is not good: {error}{advice}"))
        })?;
        let mut introspection = None;
        if self.online {
            let answer = introspect(&client, &token).await?.json()?;
            if answer["active"] != true {
                return Err(Failure::Refused(
                    "the signature is good, but the server says that the token is not active: it was revoked, or these \
                     credentials may not ask about it"
                        .to_owned(),
                ));
            }
            introspection = Some(answer);
        }
        report(output, agent.id(), &said, introspection.as_ref())
    }
}

/// The issuer's name and its keys: of the server, or of an organization that issues under a name of its own.
async fn published(client: &Client, issuer: Option<String>) -> Result<(String, KeySet), Failure> {
    let metadata = client.get(OAUTH_METADATA).await?.json()?;
    let server = metadata["issuer"].as_str().unwrap_or_default().to_owned();
    let issuer = issuer.unwrap_or_else(|| server.clone());
    let document = if issuer == server {
        client.get(JWKS).await?
    } else {
        let url = Url::parse(&format!("{issuer}{JWKS}")).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let invalid = || Failure::Usage("--issuer: expected a URL".to_owned());
        client.get_elsewhere(url.ok_or_else(invalid)?).await?
    };
    let keys = KeySet::parse(document.text.as_bytes()).map_err(|error| {
        Failure::Refused(format!(
            "the keys of {} cannot be used: {error}",
            printable(&issuer)
        ))
    })?;
    Ok((issuer, keys))
}

/// What may help with a token that is not good.
fn advice(kind: ErrorKind, said: &Said, issuer: &str) -> String {
    let named = said.payload.get("iss").and_then(Value::as_str);
    match kind {
        ErrorKind::UnknownKey | ErrorKind::WrongIssuer
            if named.is_some_and(|named| named != issuer) =>
        {
            let named = printable(named.unwrap_or_default());
            format!(
                "; it names the issuer {named}, and --issuer {named} verifies it with the keys published there"
            )
        }
        ErrorKind::WrongAudience => {
            let audience = said.payload.get("aud").unwrap_or(&Value::Null);
            format!(
                "; it is for {}, which --audience says",
                printable(&audience.to_string())
            )
        }
        _ => String::new(),
    }
}

fn report(
    output: Output,
    agent: &str,
    said: &Said,
    introspection: Option<&Value>,
) -> Result<(), Failure> {
    match output.format {
        Format::Json => print(json!({
            "verified": true,
            "header": said.header,
            "payload": said.payload,
            "introspection": introspection,
        })),
        Format::Quiet => print(printable(agent)),
        Format::Table => {
            let asked = match introspection {
                Some(_) => "The server says that it is active.",
                None => NOT_ASKED,
            };
            print(format_args!(
                "{}\n\nThe token is good: signature, issuer, audience and times were verified. {asked}",
                table_of_fields(claims(said))
            ))
        }
    }
}
