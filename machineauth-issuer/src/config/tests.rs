use std::path::Path;
use std::time::Duration;

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_variables(variables)
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
        matches!(config.server_key, ServerKeySource::Generated(path) if path == Path::new("machineauth.redb.key"))
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
        (
            "SERVER_KEY",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "32 random bytes",
        ),
        ("SERVER_KEY_FILE", "/nonexistent/key", "cannot read"),
        ("ADMIN_EMAIL", "a:b", "colon"),
        ("ADMIN_PASSWORD", "", "empty"),
        ("DATABASE_URL", "postgres://localhost/auth", "redis://"),
        ("DATABASE_URL", "json:machineauth.json", "embedded:"),
        ("DATABASE_URL", "embedded:", "embedded:PATH"),
        ("DATABASE_URL", "mysql://localhost", "embedded:PATH"),
        ("MAX_CONNECTIONS", "0", "1 to 1000000"),
        ("WEBHOOK_WORKER_COUNT", "65", "0 to 64"),
        ("WEBHOOK_WORKER_COUNT", "0", "where another one delivers"),
        ("WEBHOOK_ALLOWED_NETWORKS", "localhost", "a network"),
        ("WEBHOOK_TOKEN_EVENTS", "some", "each, aggregate, off"),
        ("PLAN_FREE", "agents=some", "agents=NUMBER"),
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
fn certificate_and_key_are_set_together_and_the_wrong_one_is_named() {
    let (certificate, key) = ("TLS_CERT_FILE", "TLS_KEY_FILE");
    for (variables, expected) in [
        (
            vec![(certificate, "/nonexistent")],
            "TLS_KEY_FILE: required with TLS_CERT_FILE",
        ),
        (
            vec![(key, "/nonexistent")],
            "TLS_CERT_FILE: required with TLS_KEY_FILE",
        ),
        (
            vec![(certificate, "/nonexistent"), (key, "/nonexistent")],
            "TLS_CERT_FILE: cannot read /nonexistent",
        ),
    ] {
        let error = read(&variables).unwrap_err().to_string();
        assert!(error.contains(expected), "{variables:?}: {error}");
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
    let url = "redis://user:hunter2hunter2@127.0.0.1:6379/0?pass=hunter2";
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

#[test]
fn a_value_that_is_not_text_is_refused_and_not_passed_over() {
    use std::os::unix::ffi::OsStringExt as _;
    let password = std::ffi::OsString::from_vec(b"p\xe4ssword".to_vec());
    let error = Config::from_variables([("ADMIN_PASSWORD".to_owned(), password)]).unwrap_err();
    assert!(
        error.to_string().contains("ADMIN_PASSWORD: is not UTF-8"),
        "{error}"
    );
}

#[test]
fn a_variable_works_with_the_programs_name_in_front() {
    assert_eq!(
        read(&[("MACHINEAUTH_PORT", "9000")]).unwrap().listen.port(),
        9000
    );
    assert!(read(&[("MACHINEAUTH_PORT", "9000"), ("PORT", "9000")]).is_ok());
    let error = read(&[("MACHINEAUTH_PORT", "9000"), ("PORT", "9001")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("PORT: MACHINEAUTH_PORT says something else"),
        "{error}"
    );
}

#[test]
fn an_unknown_variable_with_the_programs_name_is_a_warning_that_names_the_nearest() {
    let config = read(&[
        ("MACHINEAUTH_ADMIN_PASWORD", "x"),
        ("MACHINEAUTH_SERVER_KEY_FLE", "x"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(
        config.warnings[0].ends_with("MACHINEAUTH_ADMIN_PASSWORD is"),
        "{:?}",
        config.warnings
    );
    assert!(
        read(&[("MACHINEAUTH_SERVER_KEY_FILE", "/nonexistent")]).is_err(),
        "this one is known"
    );
}

#[test]
fn what_the_commands_read_is_known_to_the_server_and_only_by_its_long_name() {
    let config = read(&[
        ("MACHINEAUTH_URL", "http://127.0.0.1:9000"),
        ("URL", "something else"),
        ("MACHINEAUTH_API_KEY_FILE", "/nonexistent"),
        ("MACHINEAUTH_CLIENT_SECRET", "x"),
        ("MACHINEAUTH_CLIENT_IT", "x"),
    ])
    .unwrap();
    assert_eq!(
        config.warnings,
        ["MACHINEAUTH_CLIENT_IT is no variable of this program; MACHINEAUTH_CLIENT_ID is"]
    );
}

/// I21
#[test]
fn what_is_in_force_says_where_it_comes_from_and_no_secret() {
    let config = read(&[
        ("ADMIN_PASSWORD", "hunter2hunter2"),
        ("SERVER_KEY", KEY),
        ("DATABASE_URL", "redis://user:hunter2@127.0.0.1"),
        ("PORT", "9000"),
    ])
    .unwrap();
    let of = |name: &str| {
        let found = config
            .in_force
            .iter()
            .find(|in_force| in_force.variable.name == name)
            .unwrap();
        (found.value.as_str(), found.source.as_str())
    };
    assert_eq!(of("PORT"), ("9000", "variable"));
    assert_eq!(of("ENV"), ("development", "default"));
    assert_eq!(of("ADMIN_PASSWORD"), ("(secret)", "variable"));
    assert_eq!(of("DATABASE_URL"), ("redis://127.0.0.1", "variable"));
    let all = format!("{:?}", config.in_force);
    assert!(!all.contains("hunter2") && !all.contains(KEY), "{all}");
}

/// What is read and what is written about it must not drift apart.
#[test]
fn every_variable_that_is_read_is_described() {
    let source = [
        include_str!("reader.rs"),
        include_str!("commands.rs"),
        include_str!("plans.rs"),
        include_str!("../tls.rs"),
    ]
    .concat();
    for name in source.split('"').filter(|text| {
        text.len() > 2
            && text
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    }) {
        let is_algorithm = ["RS", "PS", "ES"]
            .iter()
            .any(|family| name.starts_with(family));
        assert!(
            is_algorithm
                || variables::reference().contains(&format!("{name}`"))
                || variables::reference().contains(&format!("{name},")),
            "{name} is not described"
        );
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == variables::reference(),
        "run: cargo run -p machineauth-issuer -- config --reference > docs/configuration.md"
    );
}
