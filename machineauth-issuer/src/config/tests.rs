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
