//! Targets of the issuer. Nothing may panic, whatever the bytes are; beyond that, each target says what it asserts.
//!
//! `tests/it/fuzz.rs` includes this file.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use machineauth_core::{ManualClock, Timestamp};
use machineauth_issuer::app::App;
use machineauth_issuer::backup;
use machineauth_issuer::config::Config;
use machineauth_issuer::context::Peer;
use machineauth_issuer::domain::administrators::Email;
use machineauth_issuer::domain::agents::Place;
use machineauth_issuer::domain::event::Event;
use machineauth_issuer::domain::keys;
use machineauth_issuer::domain::password_hash::PasswordHash;
use machineauth_issuer::domain::vault::ServerKey;
use machineauth_issuer::domain::webhooks::WebhookUrl;
use machineauth_issuer::events::audit::{AddressFilter, Cursor, parse_seals};
use machineauth_issuer::events::webhooks::guard::{Guard, SystemLookup};
use machineauth_issuer::routes;
use machineauth_issuer::store::{KeyName, MemoryStore, Piece, Position};
use machineauth_issuer::transfer::{Document, import};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use url::Url;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made")
});

/// Of every issuer here, and of the seed of `backups`.
static SERVER_KEY: LazyLock<ServerKey> = LazyLock::new(|| {
    let text = "8d1f0c4b6a2e9375d8c1b0a4f3e2d1c00f1e2d3c4b5a69788796a5b4c3d2e1f0";
    ServerKey::parse(text).expect("it is a server key")
});

/// An issuer on an empty store, which trusts what a proxy says of its clients.
fn issuer() -> App {
    let variables = [
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("FAILURE_LIMIT", "0"),
        ("LOG", "off"),
        ("JWT_SIGNING_ALGORITHM", "EdDSA"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let config = Config::from_variables(variables).expect("the settings are good");
    let clock = Arc::new(ManualClock::new(NOW));
    let store = Arc::new(MemoryStore::new(clock.clone()));
    let app = RUNTIME.block_on(App::open(config, &SERVER_KEY, clock, store));
    app.expect("an issuer starts on an empty store")
}

static ROUTER: LazyLock<Router> = LazyLock::new(|| routes::router(issuer()));

/// A request: its method and target on the first line, then its headers, an empty line and its body. Whatever it says of
/// itself, it is never our fault: forms, Basic credentials, JSON bodies, filters, cursors, `X-Forwarded-*` (I22).
pub fn requests(data: &[u8]) {
    let Some(request) = request(data) else { return };
    let target = request.uri().to_string();
    let answer = RUNTIME.block_on(ROUTER.clone().oneshot(request));
    let status = answer.expect("a router always answers").status().as_u16();
    assert!(status < 500, "{status} for {target}");
}

fn request(data: &[u8]) -> Option<Request<Body>> {
    let end_of_head = data.windows(2).position(|window| window == b"\n\n");
    let (head, body) = data.split_at(end_of_head.unwrap_or(data.len()));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let peer = Peer {
        address: SocketAddr::new(PEER, 50_000),
        is_secure: false,
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .extension(peer);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    let body = Bytes::copy_from_slice(body.get(2..).unwrap_or_default());
    request.body(Body::from(body)).ok()
}

/// Lines of `NAME=VALUE`. What cannot work is said, and never with a secret in it (I21).
pub fn configuration(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    // Those name files, which are none of ours here.
    let variables: BTreeMap<_, _> = lines
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let problems = problems(&variables);
    for secret in ["ADMIN_PASSWORD", "SERVER_KEY", "SERVER_KEY_PREVIOUS"] {
        let long = |value: &&String| value.len() >= SECRET;
        let Some(value) = variables.get(secret).filter(long) else {
            continue;
        };
        let tells = |problem: &String| problem.contains(value.as_str());
        assert!(
            !problems.iter().any(tells) || says_so_anyway(&variables, secret, value),
            "{secret} is told"
        );
    }
}

/// From how many bytes on a secret is looked for in what is said.
const SECRET: usize = 8;

/// What cannot work.
fn problems(variables: &BTreeMap<String, String>) -> Vec<String> {
    match Config::from_variables(variables.clone()) {
        Ok(_) => Vec::new(),
        Err(error) => {
            assert!(!error.problems().is_empty(), "it says what is wrong");
            error.problems().to_vec()
        }
    }
}

/// Whether `value` is also said where the secret is another one: a password can be a word of ours.
fn says_so_anyway(variables: &BTreeMap<String, String>, secret: &str, value: &str) -> bool {
    let mut others = variables.clone();
    others.insert(secret.to_owned(), "~".repeat(value.len()));
    let mut problems = problems(&others).into_iter();
    problems.any(|problem| problem.contains(value))
}

static IMPORTER: LazyLock<App> = LazyLock::new(issuer);

/// A document of the other server. Whatever is in it is judged, and a trial of it fails for no reason of ours.
pub fn imports(data: &[u8]) {
    if let Ok(document) = Document::parse(data) {
        let judged = RUNTIME.block_on(import::import(&IMPORTER, document, true));
        judged.expect("the store is there");
    }
}

/// A backup that is not exactly what was written is refused.
pub fn backups(data: &[u8]) {
    let whole = include_bytes!("../seeds/backups/empty");
    let checked = backup::check(data, &std::iter::once(&*SERVER_KEY));
    assert!(checked.is_err() || data == whole, "it was changed");
}

/// A private key in PEM. What is taken can be shown to everybody as a public key.
pub fn pem(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(key) = keys::import(text, None)
    {
        let public = keys::public_pem(&key);
        assert!(machineauth_core::Jwk::from_public_pem(&public).is_ok());
    }
}

/// Words from outside: what is taken is written as it was read.
pub fn words(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    is_the_same_again::<Cursor>(text);
    is_the_same_again::<Place>(text);
    is_the_same_again::<Position>(text);
    if let Ok(name) = KeyName::try_from(text) {
        assert!(!name.as_str().contains('/'), "it would be two");
    }
    if let Ok(email) = Email::from_str(text) {
        assert!(!email.as_str().contains(':'), "it would be a password");
    }
    let _ = AddressFilter::from_str(text);
    let _ = PasswordHash::parse(text);
    let _ = ServerKey::parse(text);
    let _ = parse_seals(text);
}

fn is_the_same_again<T: FromStr + Display + PartialEq>(text: &str) {
    if let Ok(read) = T::from_str(text) {
        let again = T::from_str(&read.to_string());
        assert!(again.is_ok_and(|again| again == read), "{text:?}");
    }
}

/// The URL of a webhook. One with an address in it that only we can reach is refused, however it is written (I16).
pub fn webhook_urls(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(url) = WebhookUrl::try_from(text.to_owned()) else {
        return;
    };
    let url = Url::parse(url.as_str()).expect("it was one");
    assert!(url.username().is_empty() && url.password().is_none());
    let guard = Guard {
        allowed: Arc::new([]),
        lookup: Arc::new(SystemLookup),
    };
    if guard.judge(&url).is_ok() {
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => address,
            Some(url::Host::Ipv6(address)) => match address.to_ipv4_mapped() {
                Some(address) => address,
                None => {
                    let inside = address.is_loopback()
                        || address.is_unspecified()
                        || address.is_unique_local()
                        || address.is_unicast_link_local();
                    assert!(!inside, "{address}");
                    return;
                }
            },
            _ => return,
        };
        let inside = address.is_loopback()
            || address.is_unspecified()
            || address.is_private()
            || address.is_link_local();
        assert!(!inside, "{address}");
    }
}

/// What stands in a store or in a copy of it: what is taken is written as it was read.
pub fn stored(data: &[u8]) {
    let _ = Event::decode(data);
    if let Ok(piece) = Piece::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(piece.encode(), data);
    }
}
