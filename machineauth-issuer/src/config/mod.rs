//! Configuration: every environment variable of the issuer, read once, checked whole.
//!
//! A value that cannot work refuses to start, with the variable's name and what is allowed; all mistakes are reported
//! together. Secrets can come from files: `ADMIN_PASSWORD_FILE`, `SERVER_KEY_FILE`.

mod admin;
mod audit;
mod commands;
mod plans;
mod protection;
mod reader;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
pub mod variables;
mod webhooks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

pub use admin::{DEFAULT_ADMIN_EMAIL, DEFAULT_ADMIN_PASSWORD};
pub use commands::CommandVariables;
use reader::Reader;
use variables::InForce;

use crate::domain::event::AuditSettings;
use crate::domain::grants::GrantSettings;
use crate::domain::keys::KeyPolicy;
use crate::domain::password;
use crate::domain::plans::PlanSettings;
use crate::domain::secret::SecretText;
use crate::domain::tokens::access::TokenSettings;
use crate::domain::vault::ServerKey;
use crate::events::webhooks::WebhookSettings;
use crate::protection::ProtectionSettings;
use crate::store::RedisOptions;
use crate::tls::TlsFiles;

/// The shortest password that an administrator can have in production, in characters.
pub const SHORTEST_PRODUCTION_PASSWORD: usize = password::SHORTEST;

/// What the issuer runs with.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What to serve TLS with; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// How many of them are from one address; any number with `None`.
    pub max_connections_per_address: Option<NonZero<usize>>,
    /// Whether this is a production server.
    pub environment: Environment,
    /// Where state is kept.
    pub store: StoreUrl,
    /// How Redis is used, where state is kept there.
    pub redis: RedisOptions,
    /// Who administers.
    pub admin: Admin,
    /// The key that everything secret in the store depends on.
    pub server_key: ServerKeySource,
    /// The key that the store was opened with so far, while it changes.
    pub previous_server_key: Option<ServerKey>,
    /// What signs access tokens.
    pub keys: KeyPolicy,
    /// What access tokens say.
    pub tokens: TokenSettings,
    /// How tokens are granted.
    pub grants: GrantSettings,
    /// Who must authenticate where.
    pub access: Access,
    /// What the plans of organizations allow.
    pub plans: PlanSettings,
    /// How the server is protected.
    pub protection: ProtectionSettings,
    /// What is recorded, and for how long.
    pub audit: AuditSettings,
    /// How webhooks are told.
    pub webhooks: WebhookSettings,
    /// What is logged.
    pub log: String,
    /// What is in force, for people.
    pub in_force: Vec<InForce>,
    /// What is probably a mistake, and does not keep the server from starting.
    pub warnings: Vec<String>,
}

/// Whether convenience or safety decides the defaults (`ENV`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Starts with nothing configured.
    Development,
    /// Refuses unsafe defaults.
    Production,
}

/// Where state is kept (`DATABASE_URL`).
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// One file, for one process.
    Embedded(PathBuf),
    /// A Redis server, for any number of issuers. The URL may hold a password.
    Redis(String),
}

/// The administrator (`ADMIN_EMAIL`, `ADMIN_PASSWORD`).
#[derive(Debug)]
pub struct Admin {
    /// The user name of HTTP Basic.
    pub email: String,
    /// The password of HTTP Basic.
    pub password: SecretText,
    /// Whether the password is the documented default.
    pub is_default: bool,
}

/// Where the server key comes from (`SERVER_KEY`, `SERVER_KEY_FILE`).
#[derive(Debug)]
pub enum ServerKeySource {
    /// Configured.
    Given(ServerKey),
    /// Kept in a file beside the embedded store, made at the first start.
    Generated(PathBuf),
}

/// Which endpoints demand client authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// `/oauth/introspect` and `/oauth/revoke` (`INTROSPECTION_AUTH`).
    pub introspection: ClientAuth,
    /// The refresh grant (`REFRESH_CLIENT_AUTH`).
    pub refresh: ClientAuth,
    /// `/oauth/revocations` (`REVOCATIONS_AUTH`).
    pub revocations: ClientAuth,
}

/// Whether a client must authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// It may; credentials that are there must be right.
    Optional,
    /// It must.
    Required,
}

/// Everything that is wrong with the configuration, a line each.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    /// What is wrong, each with the variable's name.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot work:")?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StoreUrl {
    /// Without user, password and options of a Redis URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "embedded:{}", path.display()),
            Self::Redis(url) => match url.split_once("://") {
                Some((scheme, rest)) => {
                    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                    let host = host.split_once('?').map_or(host, |(host, _)| host);
                    write!(f, "{scheme}://{host}")
                }
                None => f.write_str("redis"),
            },
        }
    }
}

impl FromStr for StoreUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("embedded", path)) if !path.is_empty() => Ok(Self::Embedded(path.into())),
            Some((scheme, rest)) if is_redis(scheme) && rest.starts_with("//") => {
                Ok(Self::Redis(text.to_owned()))
            }
            Some(("postgres" | "postgresql", _)) => Err(
                "PostgreSQL is not a store of this server: use redis://HOST in production, or embedded:PATH",
            ),
            Some(("json", _)) => Err(
                "the JSON file store loses data at a crash and is not supported: use embedded:PATH or redis://HOST",
            ),
            _ => Err(
                "expected embedded:PATH, redis://HOST, redis+sentinel://HOST,HOST/MASTER or redis+cluster://HOST,HOST; \
                 with rediss for TLS",
            ),
        }
    }
}

fn is_redis(scheme: &str) -> bool {
    let (scheme, layout) = scheme.split_once('+').unwrap_or((scheme, "cluster"));
    matches!(scheme, "redis" | "rediss") && matches!(layout, "sentinel" | "cluster")
}

impl Config {
    /// Reads the configuration of this process.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Reader::new(environment()).finish()
    }

    /// Reads the configuration from variables.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, impl Into<OsString>)>,
    ) -> Result<Self, ConfigError> {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name, value.into()));
        Reader::new(variables.collect()).finish()
    }
}

fn environment() -> BTreeMap<String, OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect()
}
