//! One issuer with one key, and every way to write its tokens wrong.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use machineauth_core::crypto::{Algorithm, SigningKey};
use machineauth_core::verifier::VerifierBuilder;
use machineauth_core::{ErrorKind, KeySet, ManualClock, Timestamp, Verifier, base64url};
use serde_json::{Map, Value, json};

pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const AUDIENCE: &str = "https://api.example.com";
pub(crate) const KID: &str = "key-1";

/// Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);

/// ES256, because it is quick to make.
pub(crate) static KEY: LazyLock<SigningKey> = LazyLock::new(|| new_key(Algorithm::ES256));

pub(crate) fn new_key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).unwrap()
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_secs(NOW))
}

pub(crate) fn builder() -> VerifierBuilder {
    Verifier::builder(ISSUER, AUDIENCE)
        .keys(KeySet::from_jwks([KEY.public_jwk(KID)]))
        .clock(Arc::new(clock()))
        .leeway(LEEWAY)
}

pub(crate) fn verifier() -> Verifier {
    builder().build().unwrap()
}

/// A verifier that knows `key` as [`KID`].
pub(crate) fn verifier_of(key: &SigningKey) -> Verifier {
    builder()
        .keys(KeySet::from_jwks([key.public_jwk(KID)]))
        .build()
        .unwrap()
}

/// Claims that every verifier here accepts.
pub(crate) fn good_claims() -> Map<String, Value> {
    object(json!({
        "iss": ISSUER, "sub": "client-1", "aud": AUDIENCE, "exp": NOW + 3600, "iat": NOW, "jti": "token-1",
        "scope": ["read", "write"], "agent_id": "agent-1", "client_id": "client-1", "gen": 1,
    }))
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

/// The good claims with some replaced; `null` as a replacement is a real `null`.
pub(crate) fn claims_with(changes: Value) -> String {
    let mut claims = good_claims();
    claims.extend(object(changes));
    Value::Object(claims).to_string()
}

pub(crate) fn claims_without(name: &str) -> String {
    let mut claims = good_claims();
    claims.remove(name).unwrap();
    Value::Object(claims).to_string()
}

/// The good claims, one of them replaced by JSON text that `serde_json` could not write.
pub(crate) fn claims_with_raw(name: &str, json: &str) -> String {
    let mut claims = good_claims();
    claims.insert(name.to_owned(), json!("<raw>"));
    Value::Object(claims).to_string().replace("\"<raw>\"", json)
}

pub(crate) fn good_header() -> String {
    header_of(KEY.algorithm())
}

pub(crate) fn header_of(algorithm: Algorithm) -> String {
    format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"{KID}"}}"#)
}

/// The good header with some members replaced or added.
pub(crate) fn header_with(changes: Value) -> String {
    let mut header = object(serde_json::from_str(&good_header()).unwrap());
    header.extend(object(changes));
    Value::Object(header).to_string()
}

/// Any header and payload at all, with a signature that is right for them.
pub(crate) fn signed_by(
    key: &SigningKey,
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header),
        base64url::encode(payload)
    );
    let signature = base64url::encode(key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

pub(crate) fn signed(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    signed_by(&KEY, header, payload)
}

pub(crate) fn token_with_claims(payload: impl AsRef<[u8]>) -> String {
    signed(good_header(), payload)
}

pub(crate) fn token_with_header(header: impl AsRef<[u8]>) -> String {
    signed(header, claims_with(json!({})))
}

pub(crate) fn good_token() -> String {
    token_with_claims(claims_with(json!({})))
}

/// Why `token` is refused; `None` when it is accepted.
pub(crate) fn refusal(verifier: &Verifier, token: &str) -> Option<ErrorKind> {
    verifier.check(token).err().map(|error| error.kind())
}
