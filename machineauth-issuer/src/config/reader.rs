//! Reading variables one by one, remembering everything that is wrong. What each section of the configuration holds is in a
//! file of its own beside this one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use super::variables::{self, InForce};
use super::{Config, ConfigError, Environment};
use crate::server::DEFAULT_CONNECTIONS;

/// Takes variables one by one and remembers what was wrong.
pub(super) struct Reader {
    variables: BTreeMap<String, OsString>,
    in_force: Vec<InForce>,
    problems: Vec<String>,
    pub(super) warnings: Vec<String>,
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

    fn max_connections(&mut self) -> usize {
        self.within("MAX_CONNECTIONS", 1..=1_000_000, DEFAULT_CONNECTIONS)
    }

    fn max_connections_per_address(&mut self) -> Option<NonZero<usize>> {
        NonZero::new(self.within("MAX_CONNECTIONS_PER_ADDRESS", 0..=1_000_000, 0))
    }

    pub(super) fn within<T>(&mut self, name: &str, range: RangeInclusive<T>, default: T) -> T
    where
        T: Display + FromStr + PartialOrd,
    {
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        self.parsed(name, &allowed, default, |text| {
            text.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// Values separated by commas.
    pub(super) fn list<T>(
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

    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
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
