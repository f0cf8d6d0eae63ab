//! Every variable there is: for reading, for `--help`, for `config`, and for the reference in `docs/`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;

/// Before the name of any variable, so that several programs' variables can be told apart.
pub const PREFIX: &str = "MACHINEAUTH_";
const REDACTED: &str = "(secret)";

/// A variable of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name, which may also have [`PREFIX`] in front.
    pub name: &'static str,
    /// What is in force when it is not set.
    pub default: &'static str,
    /// What it decides, and which values it can have.
    pub what: &'static str,
    /// Whether its value is a secret, which can also come from the file that `{name}_FILE` names.
    pub is_secret: bool,
}

const fn plain(name: &'static str, default: &'static str, what: &'static str) -> Variable {
    Variable {
        name,
        default,
        what,
        is_secret: false,
    }
}

const fn secret(name: &'static str, default: &'static str, what: &'static str) -> Variable {
    Variable {
        name,
        default,
        what,
        is_secret: true,
    }
}

/// All variables, in the order in which people read about them.
pub const VARIABLES: &[Variable] = &[
    plain("ENV", "development", "development or production"),
    plain(
        "HOST",
        "127.0.0.1 while the default password is in force, else 0.0.0.0",
        "the address to listen on",
    ),
    plain("PORT", "8080", "the port to listen on"),
    plain(
        "TLS_CERT_FILE",
        "none: plain HTTP",
        "the certificate to serve TLS with, followed by those that vouch for it, in PEM; read again when it changes",
    ),
    plain(
        "TLS_KEY_FILE",
        "none; required with TLS_CERT_FILE",
        "the certificate's private key, in PEM",
    ),
    plain(
        "MAX_CONNECTIONS",
        "10000, or as many as the system's limit of open files allows",
        "how many connections are open at once; others wait",
    ),
    plain(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "0",
        "how many of them one address may have, but for TRUSTED_PROXIES; others are closed; 0 for any number",
    ),
    plain(
        "DATABASE_URL",
        "embedded:machineauth.redb",
        "where state is kept: embedded:PATH, redis://HOST, redis+sentinel://HOST,HOST/MASTER or redis+cluster://HOST,HOST; \
         with rediss for TLS",
    ),
    plain(
        "REDIS_CA_FILE",
        "the public certificate authorities",
        "a PEM file with those to trust for rediss",
    ),
    plain(
        "REDIS_REPLICAS",
        "0",
        "how many replicas of Redis must have a revocation, a rotation or the redemption of a refresh token before it is \
         answered; with fewer it is refused with 503, and may have happened; 0 to 16",
    ),
    secret(
        "SERVER_KEY",
        "generated beside the embedded store; required with Redis and in production",
        "what everything secret in the store depends on: 32 bytes in hex or base64url, the same for every issuer",
    ),
    secret(
        "SERVER_KEY_PREVIOUS",
        "none",
        "the key that the store was opened with so far, while it changes to SERVER_KEY",
    ),
    plain(
        "ADMIN_EMAIL",
        "admin@example.com",
        "the administrator's address",
    ),
    secret(
        "ADMIN_PASSWORD",
        "changeme; refused in production",
        "the administrator's password, unless `admin reset-password` has set another; in production at least 12 characters",
    ),
    plain(
        "JWT_ISSUER",
        "http://HOST:PORT, https with TLS_CERT_FILE; required in production",
        "the URL that clients reach this server at, https in production",
    ),
    plain(
        "JWT_AUDIENCE",
        "machineauth-api",
        "whom tokens are meant for, unless they ask for another",
    ),
    plain(
        "JWT_SIGNING_ALGORITHM",
        "RS256",
        "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
    ),
    plain(
        "JWT_KEY_ID",
        "key-1",
        "the kid of the first signing key; later ones are derived from it",
    ),
    plain(
        "JWT_RSA_BITS",
        "2048",
        "2048, 3072 or 4096, of new RSA keys",
    ),
    plain(
        "JWT_KEY_ROTATION_DAYS",
        "0; 90 in production",
        "after how many days a signing key is replaced; 0 for never",
    ),
    plain(
        "JWT_ACCESS_TOKEN_EXPIRY",
        "3600; 86400 in development",
        "how long access tokens live, in seconds, at most 604800",
    ),
    plain(
        "JWT_PROFILE",
        "machineauth",
        "machineauth: the documented claims; rfc9068: those of RFC 9068",
    ),
    plain(
        "SCOPE_POLICY",
        "filter",
        "filter or strict: what to do with scopes beyond the client's own",
    ),
    plain(
        "REFRESH_TOKENS",
        "on",
        "on or off: whether refresh tokens are issued",
    ),
    plain(
        "REFRESH_CLIENT_AUTH",
        "optional; required in production",
        "optional or required: whether a client must authenticate to refresh",
    ),
    plain(
        "INTROSPECTION_AUTH",
        "open; required in production",
        "open or required: whether introspection and revocation demand authentication",
    ),
    plain(
        "REVOCATIONS_AUTH",
        "open; required in production",
        "open or required: whether the revocation feed demands authentication",
    ),
    plain(
        "ALLOWED_ORIGINS",
        "http://localhost:3000; none in production",
        "origins of pages that may call the API, separated by commas",
    ),
    plain(
        "REQUIRE_HTTPS",
        "false",
        "true or false: refuse requests that came without TLS",
    ),
    plain(
        "TRUSTED_PROXIES",
        "none",
        "addresses or networks whose X-Forwarded-For, X-Forwarded-Proto and X-Request-Id count, separated by commas",
    ),
    plain(
        "RATE_LIMIT_PER_ADDRESS",
        "0; 1000 in production",
        "requests per second of one address, twice as many at once; 0 for any number",
    ),
    plain(
        "RATE_LIMIT_PER_CLIENT",
        "0; 100 in production",
        "authenticated requests per second of one client, twice as many at once; 0 for any number",
    ),
    plain(
        "FAILURE_LIMIT",
        "20",
        "wrong secrets for one name from one address until it is locked out there, ten times as many for all names; 0 for any number",
    ),
    plain(
        "PLAN_FREE",
        "no limits",
        "what organizations on the free plan may have, as agents=1000,tokens_per_second=50; what is absent or 0 is any number",
    ),
    plain("PLAN_PRO", "no limits", "the same for the pro plan"),
    plain(
        "PLAN_ENTERPRISE",
        "no limits",
        "the same for the enterprise plan",
    ),
    plain(
        "AUDIT_TOKEN_EVENTS",
        "aggregate",
        "aggregate: one event for each agent and minute that tokens were issued or introspected; each: one event each",
    ),
    plain(
        "AUDIT_KEEP_DAYS",
        "90",
        "how many days the audit trail is kept; 0 for as long as there is room",
    ),
    plain(
        "AUDIT_KEEP_ENTRIES",
        "50000",
        "how many of the newest events are kept in each of the store's 33 partitions",
    ),
    plain(
        "LOG",
        "info",
        "what is logged: a level, or directives as info,machineauth_issuer=debug",
    ),
    plain(
        "WEBHOOK_WORKER_COUNT",
        "3",
        "how many deliveries this process sends at the same time, 0 to 64; 0 where another issuer on the same Redis delivers",
    ),
    plain(
        "WEBHOOK_MAX_RETRIES",
        "10",
        "how often a delivery is tried again, unless its webhook says otherwise; 0 to 20",
    ),
    plain(
        "WEBHOOK_TIMEOUT_SECS",
        "10",
        "how long an attempt to deliver may take in all, 1 to 60 seconds",
    ),
    plain(
        "WEBHOOK_KEEP_DAYS",
        "7",
        "how long deliveries that are over are remembered, 1 to 365 days",
    ),
    plain(
        "WEBHOOK_KEEP_DELIVERIES",
        "10000",
        "how many of them are remembered for each webhook, 1 to 1000000",
    ),
    plain(
        "WEBHOOK_MAX_WAITING",
        "100000",
        "how many deliveries wait for one webhook, 1 to 1000000; what comes then is given up at once, and can be replayed",
    ),
    plain(
        "WEBHOOK_TOKEN_EVENTS",
        "each",
        "each, aggregate or off: how webhooks are told of issued and introspected tokens, unless they say otherwise",
    ),
    plain(
        "WEBHOOK_ALLOWED_NETWORKS",
        "127.0.0.0/8,::1; none in production",
        "addresses or networks that deliveries may go to although they are not public, separated by commas",
    ),
];

/// What the commands that talk to a running server read, beside `ADMIN_EMAIL` and `ADMIN_PASSWORD`. Only with [`PREFIX`]:
/// without it the names are so common that others mean something else by them.
pub const COMMAND_VARIABLES: &[Variable] = &[
    plain(
        "MACHINEAUTH_URL",
        "http://HOST:PORT, https://localhost:PORT with TLS_CERT_FILE",
        "where the server is",
    ),
    secret(
        "MACHINEAUTH_API_KEY",
        "none",
        "an organization's API key, to administer it with",
    ),
    secret(
        "MACHINEAUTH_TOKEN",
        "none",
        "a bearer token to administer with: of a login, or of an agent with the scope admin",
    ),
    plain(
        "MACHINEAUTH_CLIENT_ID",
        "none",
        "the client that tokens are asked for",
    ),
    secret("MACHINEAUTH_CLIENT_SECRET", "none", "its secret"),
];

/// Where the value in force comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The variable.
    Variable,
    /// The file that the variable with `_FILE` names.
    File,
}

/// What is in force for one variable. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The variable.
    pub variable: Variable,
    /// Its value, or what stands for it.
    pub value: String,
    /// Where that comes from.
    pub source: Source,
}

impl Source {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Variable => "variable",
            Self::File => "file",
        }
    }
}

/// What is in force, by the variables that are set.
pub(super) fn in_force(set: &BTreeMap<String, OsString>) -> Vec<InForce> {
    let of = |variable: Variable| {
        let file = format!("{}_FILE", variable.name);
        let (value, source) = match set.get(variable.name) {
            _ if variable.is_secret && set.contains_key(&file) => {
                (REDACTED.to_owned(), Source::File)
            }
            Some(_) if variable.is_secret => (REDACTED.to_owned(), Source::Variable),
            Some(value) => (printable(variable.name, value), Source::Variable),
            None => (variable.default.to_owned(), Source::Default),
        };
        InForce {
            variable,
            value,
            source,
        }
    };
    VARIABLES.iter().copied().map(of).collect()
}

/// The URL of a store may hold a password.
fn printable(name: &str, value: &OsString) -> String {
    let text = value.to_string_lossy().into_owned();
    match name {
        "DATABASE_URL" => text
            .parse()
            .map_or(text, |store: super::StoreUrl| store.to_string()),
        _ => text,
    }
}

/// The names without [`PREFIX`], what contradicts itself, and what nobody knows.
pub(super) fn named(
    variables: BTreeMap<String, OsString>,
) -> (BTreeMap<String, OsString>, Vec<String>, Vec<String>) {
    let (prefixed, mut named): (BTreeMap<_, _>, BTreeMap<_, _>) = variables
        .into_iter()
        .partition(|(name, _)| name.starts_with(PREFIX));
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for (name, value) in prefixed {
        let short = &name[PREFIX.len()..];
        if is_among(COMMAND_VARIABLES, &name) {
            named.insert(name, value);
        } else if !is_among(VARIABLES, short) {
            warnings.push(match nearest(short) {
                Some(nearest) => {
                    format!("{name} is no variable of this program; {PREFIX}{nearest} is")
                }
                None => format!("{name} is no variable of this program"),
            });
        } else if named.get(short).is_some_and(|other| *other != value) {
            problems.push(format!(
                "{short}: {name} says something else; set one of them"
            ));
        } else {
            named.insert(short.to_owned(), value);
        }
    }
    (named, problems, warnings)
}

fn is_among(variables: &'static [Variable], name: &str) -> bool {
    names(variables).any(|(known, is_secret)| {
        name == known || is_secret && name.strip_suffix("_FILE") == Some(known)
    })
}

fn names(variables: &'static [Variable]) -> impl Iterator<Item = (&'static str, bool)> {
    variables.iter().flat_map(|variable| {
        variable
            .name
            .split(", ")
            .map(move |name| (name, variable.is_secret))
    })
}

fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(known, name);
    let of_commands = names(COMMAND_VARIABLES).filter_map(|(known, _)| known.strip_prefix(PREFIX));
    let all = names(VARIABLES).map(|(known, _)| known).chain(of_commands);
    let nearest = all.min_by_key(distance)?;
    (distance(&nearest) <= name.len() / 2).then_some(nearest)
}

/// The variables, for `--help`.
pub fn help() -> String {
    let server =
        "Environment variables (defaults in brackets), each also with MACHINEAUTH_ in front:";
    let commands =
        "For the commands that talk to a running server, beside ADMIN_EMAIL and ADMIN_PASSWORD:";
    let mut text = String::new();
    for (title, variables) in [(server, VARIABLES), (commands, COMMAND_VARIABLES)] {
        writeln!(text, "{title}").expect("writing to a text cannot fail");
        for variable in variables {
            let Variable {
                name,
                default,
                what,
                ..
            } = variable;
            writeln!(text, "  {name}\n      {what} [{default}]")
                .expect("writing to a text cannot fail");
        }
    }
    let files = VARIABLES.iter().chain(COMMAND_VARIABLES);
    let files = files.filter(|variable| variable.is_secret);
    let files: Vec<_> = files
        .map(|variable| format!("{}_FILE", variable.name))
        .collect();
    write!(text, "A secret can come from a file: {}.", files.join(", "))
        .expect("writing to a text cannot fail");
    text
}

/// The reference in `docs/`.
pub fn reference() -> String {
    let mut text = "# Configuration\n\nGenerated by `machineauth-issuer config --reference`.\n\n\
        Every variable also works with `MACHINEAUTH_` in front. A secret can come from a file instead, which the variable \
        with `_FILE` behind it names. What cannot work refuses to start, with the variable's name and what is allowed.\n\n"
        .to_owned();
    table(&mut text, VARIABLES);
    text.push_str(
        "\n## Commands that talk to a running server\n\n\
        `machineauth-issuer agent …`, `org …`, `token …` and their like read these, `ADMIN_EMAIL` and `ADMIN_PASSWORD`, and of the server's variables `HOST`, \
        `PORT` and `TLS_CERT_FILE` to find it. \
        An API key or a token goes before the password; without any of them, a server on a loopback address is tried with \
        the defaults of development.\n\n",
    );
    table(&mut text, COMMAND_VARIABLES);
    text
}

fn table(text: &mut String, variables: &[Variable]) {
    text.push_str("| variable | default | what |\n|---|---|---|\n");
    for Variable {
        name,
        default,
        what,
        is_secret,
    } in variables
    {
        let also = if *is_secret {
            format!("`{name}`, `{name}_FILE`")
        } else {
            format!("`{name}`")
        };
        writeln!(text, "| {also} | {default} | {what} |").expect("writing to a text cannot fail");
    }
}
