//! Configuration: every environment variable of the issuer, read once, checked whole.
//!
//! A value that cannot work refuses to start, with the variable's name and what is allowed; all mistakes are reported
//! together. Secrets can come from files: `ADMIN_PASSWORD_FILE`, `SERVER_KEY_FILE`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use machineauth_core::crypto::Algorithm;

use crate::domain::grants::{GrantSettings, ScopePolicy};
use crate::domain::revocation::LONGEST_LIFETIME;
use crate::domain::secret::SecretText;
use crate::domain::token::{Profile, TokenSettings};
use crate::domain::vault::ServerKey;
use crate::store::KeyName;

const DEFAULT_ADMIN_EMAIL: &str = "admin@example.com";
const DEFAULT_ADMIN_PASSWORD: &str = "changeme";
const DEFAULT_STORE: &str = "machineauth.redb";
const SHORTEST_PRODUCTION_PASSWORD: usize = 12;
/// The audience that access tokens of this server name, and that its own API accepts.
const AUDIENCE: &str = "machineauth-api";

/// Documented variables that a later version honours. Setting one refuses to start: none is decoration.
const NOT_YET: [&str; 5] = [
    "ALLOWED_ORIGINS",
    "REQUIRE_HTTPS",
    "WEBHOOK_WORKER_COUNT",
    "WEBHOOK_MAX_RETRIES",
    "WEBHOOK_TIMEOUT_SECS",
];

/// The variables, for `--help`.
pub const VARIABLES_HELP: &str = "\
Environment variables (defaults in brackets):
  ENV                      development or production [development]
  HOST, PORT               where to listen [127.0.0.1 while the default password is in force, else 0.0.0.0; 8080]
  DATABASE_URL             embedded:PATH, redis://HOST or rediss://HOST [embedded:machineauth.redb]
  SERVER_KEY               32 bytes in hex or base64url; with Redis and in production required
                           [generated beside the embedded store]
  ADMIN_EMAIL, ADMIN_PASSWORD
                           the administrator [admin@example.com, changeme; refused in production]
  JWT_ISSUER               the URL that clients reach this server at [http://HOST:PORT]
  JWT_SIGNING_ALGORITHM    RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA [RS256]
  JWT_KEY_ID               the kid of the first signing key [key-1]
  JWT_ACCESS_TOKEN_EXPIRY  seconds, at most 604800 [3600; 86400 in development]
  JWT_PROFILE              machineauth or rfc9068 [machineauth]
  SCOPE_POLICY             filter or strict: what to do with scopes beyond the client's own [filter]
  REFRESH_TOKENS           on or off [on]
  REFRESH_CLIENT_AUTH      optional or required [optional; required in production]
  INTROSPECTION_AUTH       open or required, for introspection and revocation [open; required in production]
  REVOCATIONS_AUTH         open or required, for the revocation feed [open; required in production]
  LOG                      a level, or directives as info,machineauth_issuer=debug [info]
SERVER_KEY_FILE and ADMIN_PASSWORD_FILE read the value from a file.";

/// What the issuer runs with.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether this is a production server.
    pub environment: Environment,
    /// Where state is kept.
    pub store: StoreUrl,
    /// Who administers.
    pub admin: Admin,
    /// The key that everything secret in the store depends on.
    pub server_key: ServerKeySource,
    /// What signs access tokens.
    pub signing: Signing,
    /// What access tokens say.
    pub tokens: TokenSettings,
    /// How tokens are granted.
    pub grants: GrantSettings,
    /// Who must authenticate where.
    pub access: Access,
    /// What is logged.
    pub log: String,
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

/// What signs access tokens (`JWT_SIGNING_ALGORITHM`, `JWT_KEY_ID`).
#[derive(Debug)]
pub struct Signing {
    /// The algorithm of new tokens.
    pub algorithm: Algorithm,
    /// The `kid` of the first key.
    pub kid: KeyName,
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
    /// Without the password of a Redis URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "embedded:{}", path.display()),
            Self::Redis(url) => match url.split_once("://") {
                Some((scheme, rest)) => {
                    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
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
            Some(("redis" | "rediss", rest)) if rest.starts_with("//") => {
                Ok(Self::Redis(text.to_owned()))
            }
            Some(("postgres" | "postgresql", _)) => Err(
                "PostgreSQL is not a store of this server: use redis://HOST in production, or embedded:PATH",
            ),
            Some(("json", _)) => Err(
                "the JSON file store loses data at a crash and is not supported: use embedded:PATH or redis://HOST",
            ),
            _ => Err("expected embedded:PATH, redis://HOST or rediss://HOST"),
        }
    }
}

impl Config {
    /// Reads the configuration of this process.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_environment() -> Result<Self, ConfigError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the environment"
        )]
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::from_variables(variables)
    }

    /// Reads the configuration from variables.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_variables(variables: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            variables,
            problems: Vec::new(),
        };
        let config = reader.config();
        match config {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(ConfigError(reader.problems)),
        }
    }
}

/// Takes variables one by one and remembers what was wrong.
struct Reader {
    variables: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Reader {
    fn config(&mut self) -> Option<Config> {
        for name in NOT_YET {
            if self.variables.contains_key(name) {
                self.problem(name, "this version does not support it yet; unset it");
            }
        }
        let environment = self.environment();
        let production = environment == Environment::Production;
        let admin = self.admin(production);
        let port = self.parsed("PORT", "a port, 1 to 65535", 8080, |text| {
            text.parse().ok().filter(|port| *port > 0u16)
        });
        let address = match admin.is_default {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let host = self.parsed("HOST", "an IP address", address, |text| text.parse().ok());
        let listen = SocketAddr::new(host, port);
        let store = self.store();
        let server_key = self.server_key(production, &store);
        let tokens = self.tokens(production, listen);
        Some(Config {
            listen,
            environment,
            server_key: server_key?,
            store,
            admin,
            signing: self.signing()?,
            tokens,
            grants: self.grants(),
            access: self.access(production),
            log: self.take("LOG").unwrap_or_else(|| "info".to_owned()),
        })
    }

    fn environment(&mut self) -> Environment {
        self.choice(
            "ENV",
            &[
                ("development", Environment::Development),
                ("production", Environment::Production),
            ],
        )
        .unwrap_or(Environment::Development)
    }

    fn admin(&mut self, production: bool) -> Admin {
        let email = self
            .take("ADMIN_EMAIL")
            .unwrap_or_else(|| DEFAULT_ADMIN_EMAIL.to_owned());
        if email.is_empty() || email.contains(':') {
            self.problem(
                "ADMIN_EMAIL",
                "expected an address without a colon, since HTTP Basic splits there",
            );
        }
        let password = self
            .secret("ADMIN_PASSWORD")
            .unwrap_or_else(|| DEFAULT_ADMIN_PASSWORD.to_owned());
        let is_default = password == DEFAULT_ADMIN_PASSWORD;
        if production && is_default {
            self.problem(
                "ADMIN_PASSWORD",
                "the default password is refused in production; set one of your own",
            );
        } else if production && password.chars().count() < SHORTEST_PRODUCTION_PASSWORD {
            self.problem("ADMIN_PASSWORD", "in production at least 12 characters");
        } else if password.is_empty() {
            self.problem("ADMIN_PASSWORD", "an empty password is refused");
        }
        Admin {
            email,
            password: password.into(),
            is_default,
        }
    }

    fn store(&mut self) -> StoreUrl {
        let Some(text) = self.take("DATABASE_URL") else {
            return StoreUrl::Embedded(DEFAULT_STORE.into());
        };
        text.parse().unwrap_or_else(|allowed| {
            self.problem("DATABASE_URL", allowed);
            StoreUrl::Embedded(DEFAULT_STORE.into())
        })
    }

    fn server_key(&mut self, production: bool, store: &StoreUrl) -> Option<ServerKeySource> {
        if let Some(text) = self.secret("SERVER_KEY") {
            return match ServerKey::parse(&text) {
                Ok(key) => Some(ServerKeySource::Given(key)),
                Err(allowed) => {
                    self.problem("SERVER_KEY", &allowed.to_string());
                    None
                }
            };
        }
        match store {
            _ if production => self.problem(
                "SERVER_KEY",
                "required in production, here or in SERVER_KEY_FILE: 32 random bytes, as `openssl rand -hex 32` prints",
            ),
            StoreUrl::Redis(_) => self.problem(
                "SERVER_KEY",
                "required with Redis, here or in SERVER_KEY_FILE, the same for every issuer: 32 random bytes, as \
                 `openssl rand -hex 32` prints",
            ),
            StoreUrl::Embedded(path) => return Some(ServerKeySource::Generated(path.with_extension("key"))),
        }
        None
    }

    fn signing(&mut self) -> Option<Signing> {
        let algorithm = self.parsed(
            "JWT_SIGNING_ALGORITHM",
            "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
            Algorithm::RS256,
            |text| text.parse().ok(),
        );
        let default = KeyName::try_from("key-1").ok()?;
        let kid = self.parsed(
            "JWT_KEY_ID",
            "1 to 128 of A-Z a-z 0-9 _ . -",
            default,
            |text| KeyName::try_from(text).ok(),
        );
        Some(Signing { algorithm, kid })
    }

    fn tokens(&mut self, production: bool, listen: SocketAddr) -> TokenSettings {
        let local = SocketAddr::new(
            if listen.ip().is_unspecified() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                listen.ip()
            },
            listen.port(),
        );
        let issuer = match self.take("JWT_ISSUER") {
            Some(issuer) => {
                if let Err(allowed) = check_issuer(&issuer, production) {
                    self.problem("JWT_ISSUER", allowed);
                }
                issuer
            }
            None => {
                if production {
                    self.problem(
                        "JWT_ISSUER",
                        "required in production: the https URL that clients reach this server at",
                    );
                }
                format!("http://{local}")
            }
        };
        let default_lifetime = if production { 3_600 } else { 86_400 };
        let longest = LONGEST_LIFETIME.as_secs();
        let lifetime = self.parsed(
            "JWT_ACCESS_TOKEN_EXPIRY",
            "1 to 604800 seconds",
            default_lifetime,
            |text| {
                text.parse()
                    .ok()
                    .filter(|seconds| (1..=longest).contains(seconds))
            },
        );
        let profiles = [
            ("machineauth", Profile::Machineauth),
            ("rfc9068", Profile::Rfc9068),
        ];
        TokenSettings {
            issuer,
            audience: AUDIENCE.to_owned(),
            lifetime: Duration::from_secs(lifetime),
            profile: self
                .choice("JWT_PROFILE", &profiles)
                .unwrap_or(Profile::Machineauth),
        }
    }

    fn grants(&mut self) -> GrantSettings {
        let policies = [
            ("filter", ScopePolicy::Filter),
            ("strict", ScopePolicy::Strict),
        ];
        let refresh = self
            .choice("REFRESH_TOKENS", &[("on", true), ("off", false)])
            .unwrap_or(true);
        GrantSettings {
            scope_policy: self
                .choice("SCOPE_POLICY", &policies)
                .unwrap_or(ScopePolicy::Filter),
            refresh_lifetime: refresh.then_some(LONGEST_LIFETIME),
        }
    }

    fn access(&mut self, production: bool) -> Access {
        let default = if production {
            ClientAuth::Required
        } else {
            ClientAuth::Optional
        };
        let open = [
            ("open", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ];
        let optional = [
            ("optional", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ];
        Access {
            introspection: self.choice("INTROSPECTION_AUTH", &open).unwrap_or(default),
            refresh: self
                .choice("REFRESH_CLIENT_AUTH", &optional)
                .unwrap_or(default),
            revocations: self.choice("REVOCATIONS_AUTH", &open).unwrap_or(default),
        }
    }

    fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name}: {what}"));
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.variables.remove(name)
    }

    /// The value of `name`, or of the file that `{name}_FILE` names.
    fn secret(&mut self, name: &str) -> Option<String> {
        let file_variable = format!("{name}_FILE");
        match (self.take(name), self.take(&file_variable)) {
            (Some(_), Some(_)) => {
                self.problem(name, &format!("set either it or {file_variable}, not both"));
                None
            }
            (Some(value), None) => Some(value),
            (None, Some(path)) => match std::fs::read_to_string(Path::new(&path)) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.problem(&file_variable, &format!("cannot read {path}: {error}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        allowed: &str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.take(name) else {
            return default;
        };
        parse(&text).unwrap_or_else(|| {
            self.problem(name, &format!("{text:?} is not {allowed}"));
            default
        })
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.take(name)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(
                name,
                &format!("{text:?} is not one of: {}", words.join(", ")),
            );
        }
        found.map(|(_, choice)| *choice)
    }
}

/// An issuer identifier is an https URL without query and fragment (RFC 8414 §2); http is for development.
fn check_issuer(issuer: &str, production: bool) -> Result<(), &'static str> {
    let uri: http::Uri = issuer
        .parse()
        .map_err(|_| "expected a URL, as https://auth.example.com")?;
    let known_scheme = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => !production,
        _ => false,
    };
    if !known_scheme {
        return Err("expected an https URL (http only in development)");
    }
    if uri.query().is_some() || issuer.contains('#') || issuer.contains('@') {
        return Err("expected a URL without query, fragment and user");
    }
    if issuer.ends_with('/') {
        return Err(
            "expected a URL without a slash at the end: clients compare it character by character",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_variables(variables.collect())
    }

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn nothing_configured_is_a_development_server_on_loopback() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.store, StoreUrl::Embedded("machineauth.redb".into()));
        assert_eq!(config.tokens.issuer, "http://127.0.0.1:8080");
        assert_eq!(config.tokens.lifetime, Duration::from_secs(86_400));
        assert!(
            matches!(config.server_key, ServerKeySource::Generated(path) if path == Path::new("machineauth.key"))
        );
    }

    #[test]
    fn a_password_of_ones_own_opens_all_interfaces() {
        let config = read(&[("ADMIN_PASSWORD", "correct horse")]).unwrap();
        assert!(config.listen.ip().is_unspecified());
        assert_eq!(config.tokens.issuer, "http://127.0.0.1:8080");
    }

    /// I20
    #[test]
    fn production_names_every_default_that_it_refuses() {
        let error = read(&[("ENV", "production")]).unwrap_err().to_string();
        for name in ["ADMIN_PASSWORD", "SERVER_KEY", "JWT_ISSUER"] {
            assert!(
                error.contains(&format!("\n  {name}: ")),
                "{name} is missing in: {error}"
            );
        }
    }

    #[test]
    fn production_starts_when_everything_is_set_and_demands_authentication() {
        let config = read(&[
            ("ENV", "production"),
            ("ADMIN_PASSWORD", "a long enough one"),
            ("SERVER_KEY", KEY),
            ("JWT_ISSUER", "https://auth.example.com"),
            ("DATABASE_URL", "redis://127.0.0.1"),
        ])
        .unwrap();
        assert_eq!(config.tokens.lifetime, Duration::from_secs(3_600));
        assert_eq!(config.access.introspection, ClientAuth::Required);
        assert_eq!(config.access.refresh, ClientAuth::Required);
        assert_eq!(config.access.revocations, ClientAuth::Required);
    }

    #[test]
    fn every_unusable_value_is_named_with_what_is_allowed() {
        for (name, value, expected) in [
            ("PORT", "http", "a port"),
            ("PORT", "0", "a port"),
            ("PORT", "65536", "a port"),
            ("HOST", "localhost", "an IP address"),
            ("ENV", "prod", "development, production"),
            ("JWT_SIGNING_ALGORITHM", "HS256", "RS256"),
            ("JWT_SIGNING_ALGORITHM", "none", "RS256"),
            ("JWT_ACCESS_TOKEN_EXPIRY", "0", "1 to 604800"),
            ("JWT_ACCESS_TOKEN_EXPIRY", "604801", "1 to 604800"),
            ("JWT_KEY_ID", "a/b", "A-Z"),
            ("JWT_ISSUER", "auth.example.com", "https"),
            ("JWT_ISSUER", "https://auth.example.com/", "slash"),
            ("JWT_ISSUER", "https://auth.example.com?x", "query"),
            ("JWT_PROFILE", "rfc", "machineauth, rfc9068"),
            ("SCOPE_POLICY", "", "filter, strict"),
            ("INTROSPECTION_AUTH", "yes", "open, required"),
            ("REFRESH_CLIENT_AUTH", "open", "optional, required"),
            ("SERVER_KEY", "abc", "32 random bytes"),
            ("SERVER_KEY_FILE", "/nonexistent/key", "cannot read"),
            ("ADMIN_EMAIL", "a:b", "colon"),
            ("ADMIN_PASSWORD", "", "empty"),
            ("DATABASE_URL", "postgres://localhost/auth", "redis://"),
            ("DATABASE_URL", "json:machineauth.json", "embedded:"),
            ("DATABASE_URL", "embedded:", "embedded:PATH"),
            ("DATABASE_URL", "mysql://localhost", "embedded:PATH"),
            ("WEBHOOK_WORKER_COUNT", "3", "does not support it yet"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{name}: ")),
                "{name}={value}: {error}"
            );
            assert!(error.contains(expected), "{name}={value}: {error}");
        }
    }

    #[test]
    fn redis_demands_a_server_key() {
        let error = read(&[("DATABASE_URL", "redis://127.0.0.1")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("SERVER_KEY: required with Redis"), "{error}");
        assert!(read(&[("DATABASE_URL", "redis://127.0.0.1"), ("SERVER_KEY", KEY)]).is_ok());
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let error = read(&[("PORT", "x"), ("ENV", "y"), ("HOST", "z")]).unwrap_err();
        assert_eq!(error.0.len(), 3, "{error}");
    }

    /// I21
    #[test]
    fn no_secret_is_printed() {
        let url = "redis://user:hunter2hunter2@127.0.0.1:6379/0";
        let config = read(&[
            ("ADMIN_PASSWORD", "hunter2hunter2"),
            ("SERVER_KEY", KEY),
            ("DATABASE_URL", url),
        ])
        .unwrap();
        let printed = format!("{config:?} {}", config.store);
        assert!(
            !printed.contains("hunter2") && !printed.contains(KEY),
            "{printed}"
        );
        assert!(printed.contains("redis://127.0.0.1:6379/0"));
    }
}
