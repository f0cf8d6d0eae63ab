//! `machineauth-issuer key`

use clap::{Args, Subcommand, ValueHint};

use super::arguments::{Body, Id};
use super::client::with_query;
use super::connection::{Action, Session};
use super::example;
use super::failure::Failure;
use super::input::{Consent, Source};
use super::output::{Noun, print};

const KEYS: &str = "/api/keys";
const KEY: Noun = Noun {
    one: Some("key"),
    many: "keys",
    id: "kid",
    columns: &[
        "kid",
        "algorithm",
        "state",
        "created_at",
        "signs_from",
        "retires_at",
    ],
};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List the signing keys
    #[command(after_help = example!("key list"))]
    List(Owner),
    /// Make a new signing key, which signs once every cache can know it
    #[command(after_help = example!("key rotate"))]
    Rotate(Rotate),
    /// Import a private key in PEM, to sign with it
    #[command(after_help = example!("key import signing.pem --kid key-7"))]
    Import(Import),
    /// Let a key that does not sign leave the key set when its last token can be good
    #[command(after_help = example!("key retire key-1"))]
    Retire(OneKey),
    /// Revoke a key: all of its tokens are refused from now on
    #[command(after_help = example!("key revoke key-1 --yes"))]
    Revoke(Revoke),
    /// Print the public half of a key in PEM, for verifiers that know no key sets
    #[command(after_help = example!("key export-pem key-1 > key-1.pem"))]
    ExportPem(OneKey),
}

/// Whose keys are meant.
#[derive(Debug, Args)]
pub(super) struct Owner {
    /// Those of this organization, which issues under its own name; without it, the server's
    #[arg(long, value_name = "ID")]
    org: Option<Id>,
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Sign with it at once, for when the present key is not to be trusted; verifiers that cache may refuse its tokens at first
    #[arg(long)]
    immediately: bool,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file that holds an unencrypted PKCS #8 key, - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: Source,
    /// RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA; without it, the usual one of the key's kind
    #[arg(long)]
    algorithm: Option<String>,
    /// How it is called
    #[arg(long)]
    kid: Option<Id>,
    /// Sign with it at once; verifiers that cache may refuse its tokens at first
    #[arg(long)]
    immediately: bool,
    #[command(flatten)]
    owner: Owner,
}

/// Names a key.
#[derive(Debug, Args)]
pub(super) struct OneKey {
    /// The key's kid
    kid: Id,
    #[command(flatten)]
    owner: Owner,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    key: OneKey,
    #[command(flatten)]
    consent: Consent,
}

impl Owner {
    fn of(&self, path: &str) -> String {
        let id = self.org.as_ref().map(Id::to_string);
        with_query(path, &[("organization_id", id.as_deref())])
    }
}

impl OneKey {
    fn path(&self, action: &str) -> String {
        self.owner.of(&format!("{KEYS}/{}{action}", self.kid))
    }
}

impl Action for KeyCommand {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Session { client, output } = session;
        match self {
            Self::List(owner) => output.list(&KEY, &client.get(&owner.of(KEYS)).await?),
            Self::Rotate(Rotate { immediately, owner }) => {
                let body = Body::default()
                    .with("immediately", Some(immediately))
                    .with("organization_id", owner.org);
                let answer = client.post(&format!("{KEYS}/rotate"), body).await?;
                output.one(&KEY, &answer)
            }
            Self::Import(import) => {
                let body = Body::default()
                    .with("pem", Some(import.file.read()?))
                    .with("algorithm", import.algorithm)
                    .with("kid", import.kid)
                    .with("immediately", Some(import.immediately))
                    .with("organization_id", import.owner.org);
                let answer = client.post(&format!("{KEYS}/import"), body).await?;
                output.one(&KEY, &answer)
            }
            Self::Retire(key) => {
                let answer = client.post(&key.path("/retire"), Body::default()).await?;
                output.done(&answer, "It retires: `key list` shows when.")
            }
            Self::Revoke(Revoke { key, consent }) => {
                consent.to(&format!("revoke the key {} and all of its tokens", key.kid))?;
                output.done(&client.delete(&key.path("")).await?, "Revoked.")
            }
            Self::ExportPem(key) => print(client.get(&key.path("/pem")).await?.text.trim_end()),
        }
    }
}
