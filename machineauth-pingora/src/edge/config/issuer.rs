//! What stands in `edge.toml` about issuers.

use serde::Deserialize;

use super::values::{FileName, OneOrMore, Period};

/// One `[[issuer]]`: whose tokens are good, and how it is asked.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerToml {
    /// Its identifier, the tokens' `iss`.
    pub(crate) url: String,
    /// For whom its tokens must be meant: one of these.
    pub(crate) audience: OneOrMore,
    #[serde(default)]
    pub(crate) profile: ProfileToml,
    #[serde(default)]
    pub(crate) token_types: TokenTypesToml,
    /// Where its keys are. Default: as its metadata says.
    pub(crate) jwks: Option<String>,
    /// How much its clock and ours may disagree.
    pub(crate) leeway: Option<Period>,
    /// Keeps the last good keys, for a start while the issuer is away.
    pub(crate) keys_file: Option<FileName>,
    pub(crate) revocations: Option<RevocationsToml>,
    pub(crate) introspection: Option<IntrospectionToml>,
    /// Asks it over plain http, from any host.
    #[serde(default)]
    pub(crate) danger_allow_plain_http: bool,
}

impl IssuerToml {
    /// Whether both get their keys in the same way.
    pub(crate) fn has_keys_of(&self, other: &Self) -> bool {
        let way = |toml: &Self| {
            (
                toml.jwks.clone(),
                toml.keys_file.clone(),
                toml.danger_allow_plain_http,
            )
        };
        self.url == other.url && way(self) == way(other)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProfileToml {
    #[default]
    Standard,
    Auth0,
    Keycloak,
    EntraId,
    Okta,
    Cognito,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
pub(crate) enum TokenTypesToml {
    #[default]
    #[serde(rename = "any")]
    Any,
    #[serde(rename = "at+jwt")]
    Rfc9068,
}

/// How the issuer's revocations are followed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevocationsToml {
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret_file: Option<FileName>,
    pub(crate) api_key_file: Option<FileName>,
    /// What becomes of requests when the revocations are older than `after`.
    #[serde(default)]
    pub(crate) stale: StaleToml,
    #[serde(default = "a_minute")]
    pub(crate) after: Period,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StaleToml {
    /// They go on, and the log and the metrics say so.
    #[default]
    Serve,
    /// The issuer is asked about each token.
    Introspect,
    /// They are refused with 503.
    Refuse,
}

/// How the issuer is asked about tokens that are no JWTs.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntrospectionToml {
    pub(crate) client_id: String,
    pub(crate) client_secret_file: FileName,
    /// Default: as its metadata says.
    pub(crate) endpoint: Option<String>,
    /// How long an answer serves.
    pub(crate) max_age: Option<Period>,
}

fn a_minute() -> Period {
    Period::seconds(60)
}
