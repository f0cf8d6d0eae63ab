//! Reading variables one by one, remembering everything that is wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use machineauth_core::crypto::Algorithm;

use super::variables::{self, InForce};
use super::{
    Access, Admin, ClientAuth, Config, ConfigError, Environment, SHORTEST_PRODUCTION_PASSWORD,
    ServerKeySource, StoreUrl,
};
use crate::domain::event::{AuditSettings, TokenEvents};
use crate::domain::grants::{GrantSettings, ScopePolicy};
use crate::domain::keys::KeyPolicy;
use crate::domain::organization::Origin;
use crate::domain::revocation::LONGEST_LIFETIME;
use crate::domain::tokens::access::{Profile, TokenSettings};
use crate::domain::vault::ServerKey;
use crate::domain::webhooks::{self, MAX_RETRIES, WebhookPolicy};
use crate::events::webhooks::WebhookSettings;
use crate::protection::ProtectionSettings;
use crate::server::DEFAULT_CONNECTIONS;
use crate::store::{KeyName, RedisOptions};

/// The administrator's address where none is configured.
pub const DEFAULT_ADMIN_EMAIL: &str = "admin@example.com";
/// The administrator's password where none is configured, in development.
pub const DEFAULT_ADMIN_PASSWORD: &str = "changeme";
const DEFAULT_STORE: &str = "machineauth.redb";
const DEFAULT_ORIGIN: &str = "http://localhost:3000";
const LOOPBACK: &str = "127.0.0.0/8,::1";
const DEFAULT_AUDIENCE: &str = "machineauth-api";

/// Takes variables one by one and remembers what was wrong.
pub(super) struct Reader {
    variables: BTreeMap<String, OsString>,
    in_force: Vec<InForce>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(variables: BTreeMap<String, OsString>) -> Self {
        let (variables, problems, warnings) = variables::named(variables);
        Self {
            in_force: variables::in_force(&variables),
            variables,
            problems,
            warnings,
        }
    }

    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        match self.config() {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(ConfigError(self.problems)),
        }
    }

    /// Only what is wrong with the variable `name`, or with the one that names its file.
    pub(super) fn problems_of(&self, name: &str) -> Result<(), ConfigError> {
        let is_about = |problem: &&String| {
            let rest = problem.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(": ") || rest.starts_with("_FILE: "))
        };
        let problems: Vec<_> = self.problems.iter().filter(is_about).cloned().collect();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ConfigError(problems)),
        }
    }

    fn config(&mut self) -> Option<Config> {
        let environment = self.environment();
        let production = environment == Environment::Production;
        let admin = self.admin(production);
        let port = self.port();
        let address = match admin.is_default {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let host = self.host(address);
        if admin.is_default && !host.is_loopback() {
            self.problem(
                "HOST",
                "only loopback while ADMIN_PASSWORD is the default: set a password first",
            );
        }
        let listen = SocketAddr::new(host, port);
        let store = self.store();
        let server_key = self.server_key(production, &store);
        let webhooks = self.webhooks(production, &store);
        let tls = self.tls();
        let tokens = self.tokens(production, listen, tls.is_some());
        Some(Config {
            listen,
            tls,
            max_connections: self.max_connections(),
            max_connections_per_address: self.max_connections_per_address(),
            environment,
            server_key: server_key?,
            store,
            redis: self.redis(),
            admin,
            keys: self.keys(production)?,
            previous_server_key: self.previous_server_key(),
            tokens,
            grants: self.grants(),
            access: self.access(production),
            plans: self.plans(),
            protection: self.protection(production),
            audit: self.audit(),
            webhooks,
            log: self.take("LOG").unwrap_or_else(|| "info".to_owned()),
            in_force: std::mem::take(&mut self.in_force),
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    pub(super) fn port(&mut self) -> u16 {
        self.parsed("PORT", "a port, 1 to 65535", 8080, |text| {
            text.parse().ok().filter(|port| *port > 0)
        })
    }

    pub(super) fn host(&mut self, default: IpAddr) -> IpAddr {
        self.parsed("HOST", "an IP address", default, |text| text.parse().ok())
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

    fn redis(&mut self) -> RedisOptions {
        let options =
            RedisOptions::default().with_replicas(self.within("REDIS_REPLICAS", 0..=16, 0));
        match self.take("REDIS_CA_FILE") {
            Some(path) => options.with_ca_file(path),
            None => options,
        }
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
            StoreUrl::Embedded(path) => {
                let mut beside = path.clone().into_os_string();
                beside.push(".key");
                return Some(ServerKeySource::Generated(beside.into()));
            }
        }
        None
    }

    fn previous_server_key(&mut self) -> Option<ServerKey> {
        let text = self.secret("SERVER_KEY_PREVIOUS")?;
        let key = ServerKey::parse(&text);
        if let Err(allowed) = &key {
            self.problem("SERVER_KEY_PREVIOUS", &allowed.to_string());
        }
        key.ok()
    }

    fn keys(&mut self, production: bool) -> Option<KeyPolicy> {
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
        let rsa_bits = self.parsed("JWT_RSA_BITS", "2048, 3072 or 4096", 2048, |text| {
            text.parse()
                .ok()
                .filter(|bits| [2048, 3072, 4096].contains(bits))
        });
        let default_days = if production { 90 } else { 0 };
        let days: u64 = self.parsed(
            "JWT_KEY_ROTATION_DAYS",
            "0 to 3650 days",
            default_days,
            |text| text.parse().ok().filter(|days| *days <= 3650),
        );
        Some(KeyPolicy {
            algorithm,
            kid,
            rsa_bits,
            rotate_after: (days > 0).then(|| Duration::from_secs(days * 86_400)),
        })
    }

    fn tokens(&mut self, production: bool, listen: SocketAddr, tls: bool) -> TokenSettings {
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
                } else if tls && issuer.starts_with("http:") {
                    self.warnings.push(
                        "JWT_ISSUER says http, and the server speaks TLS: clients will not find it there".to_owned(),
                    );
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
                format!("{}://{local}", if tls { "https" } else { "http" })
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
            audience: self.audience(),
            lifetime: Duration::from_secs(lifetime),
            profile: self
                .choice("JWT_PROFILE", &profiles)
                .unwrap_or(Profile::Machineauth),
        }
    }

    fn audience(&mut self) -> String {
        self.parsed(
            "JWT_AUDIENCE",
            "1 to 256 characters without spaces",
            DEFAULT_AUDIENCE.to_owned(),
            |text| {
                let fits = (1..=256).contains(&text.len()) && !text.contains(char::is_whitespace);
                fits.then(|| text.to_owned())
            },
        )
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

    fn protection(&mut self, production: bool) -> ProtectionSettings {
        let origins = if production { "" } else { DEFAULT_ORIGIN };
        ProtectionSettings {
            trusted_proxies: self.list("TRUSTED_PROXIES", "", "an address or a network", network),
            rate_per_address: self
                .count("RATE_LIMIT_PER_ADDRESS", if production { 1000 } else { 0 }),
            rate_per_client: self.count("RATE_LIMIT_PER_CLIENT", if production { 100 } else { 0 }),
            failure_limit: self.count("FAILURE_LIMIT", 20),
            require_https: self
                .choice("REQUIRE_HTTPS", &[("true", true), ("false", false)])
                .unwrap_or(false),
            allowed_origins: self.list(
                "ALLOWED_ORIGINS",
                origins,
                "an origin as https://app.example.com",
                |text| {
                    Origin::try_from(text.to_owned())
                        .ok()
                        .map(|_| text.to_owned())
                },
            ),
        }
    }

    fn max_connections(&mut self) -> usize {
        self.within("MAX_CONNECTIONS", 1..=1_000_000, DEFAULT_CONNECTIONS)
    }

    fn max_connections_per_address(&mut self) -> Option<NonZero<usize>> {
        NonZero::new(self.within("MAX_CONNECTIONS_PER_ADDRESS", 0..=1_000_000, 0))
    }

    fn workers(&mut self, store: &StoreUrl) -> usize {
        let workers = self.within("WEBHOOK_WORKER_COUNT", 0..=64, 3);
        if workers == 0 && matches!(store, StoreUrl::Embedded(_)) {
            self.problem(
                "WEBHOOK_WORKER_COUNT",
                "0 is for issuers on one Redis, where another one delivers; nobody would here",
            );
        }
        workers
    }

    fn webhooks(&mut self, production: bool, store: &StoreUrl) -> WebhookSettings {
        let token_events = [
            ("each", webhooks::TokenEvents::Each),
            ("aggregate", webhooks::TokenEvents::Aggregate),
            ("off", webhooks::TokenEvents::Off),
        ];
        // Whoever tries webhooks out has the receiver beside the server.
        let networks = if production { "" } else { LOOPBACK };
        let seconds = self.within("WEBHOOK_TIMEOUT_SECS", 1..=60, 10);
        let days = self.within("WEBHOOK_KEEP_DAYS", 1..=365, 7);
        WebhookSettings {
            policy: WebhookPolicy {
                max_retries: self.within("WEBHOOK_MAX_RETRIES", 0..=MAX_RETRIES, 10),
                token_events: self
                    .choice("WEBHOOK_TOKEN_EVENTS", &token_events)
                    .unwrap_or(webhooks::TokenEvents::Each),
                https_only: production,
                keep: Duration::from_secs(days * 86_400),
                keep_deliveries: self.within("WEBHOOK_KEEP_DELIVERIES", 1..=1_000_000, 10_000),
                max_waiting: self.within("WEBHOOK_MAX_WAITING", 1..=1_000_000, 100_000),
            },
            workers: self.workers(store),
            timeout: Duration::from_secs(seconds),
            allowed_networks: self.list(
                "WEBHOOK_ALLOWED_NETWORKS",
                networks,
                "an address or a network",
                network,
            ),
        }
    }

    fn within<T>(&mut self, name: &str, range: RangeInclusive<T>, default: T) -> T
    where
        T: Display + FromStr + PartialOrd,
    {
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        self.parsed(name, &allowed, default, |text| {
            text.parse().ok().filter(|number| range.contains(number))
        })
    }

    fn audit(&mut self) -> AuditSettings {
        let words = [
            ("aggregate", TokenEvents::Aggregate),
            ("each", TokenEvents::Each),
        ];
        let days: u64 = self.parsed("AUDIT_KEEP_DAYS", "a number from 0 to 36500", 90, |text| {
            text.parse().ok().filter(|days| *days <= 36_500)
        });
        AuditSettings {
            token_events: self
                .choice("AUDIT_TOKEN_EVENTS", &words)
                .unwrap_or(TokenEvents::Aggregate),
            keep_for: (days > 0).then(|| Duration::from_secs(days * 86_400)),
            keep_entries: self.parsed(
                "AUDIT_KEEP_ENTRIES",
                "a number from 1000 to 100000000",
                50_000,
                |text| {
                    let room = 1_000..=100_000_000;
                    text.parse().ok().filter(|count| room.contains(count))
                },
            ),
        }
    }

    fn count(&mut self, name: &str, default: u32) -> u32 {
        self.within(name, 0..=1_000_000, default)
    }

    /// Values separated by commas.
    fn list<T>(
        &mut self,
        name: &str,
        default: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let text = self.take(name).unwrap_or_else(|| default.to_owned());
        let mut values = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match parse(part) {
                Some(value) => values.push(value),
                None => self.problem(name, &format!("{part:?} is not {allowed}")),
            }
        }
        values
    }

    pub(super) fn problem(&mut self, name: &str, what: &str) {
        self.problems.push(format!("{name}: {what}"));
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        match self.variables.remove(name)?.into_string() {
            Ok(value) => Some(value),
            Err(_) => {
                self.problem(name, "is not UTF-8");
                None
            }
        }
    }

    /// The value of `name`, or of the file that `{name}_FILE` names.
    pub(super) fn secret(&mut self, name: &str) -> Option<String> {
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

    pub(super) fn parsed<T>(
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

fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
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
