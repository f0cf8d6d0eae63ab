//! What a header may say, and what it can never bring about.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use machineauth_core::crypto::Algorithm;
use machineauth_core::jwks::{FetchFuture, FetchKeys, JwksCache};
use machineauth_core::{ErrorKind, KeySet, Verifier};
use serde_json::{Value, json};

use crate::support::*;

/// V4
#[test]
fn crit_is_refused_whatever_it_lists() {
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["http://example.com/unknown"]),
        json!([]),
        json!(null),
        json!("exp"),
        json!({}),
        json!([1]),
        json!(["exp", "exp"]),
    ] {
        let token = token_with_header(header_with(json!({ "crit": crit, "exp": 1 })));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::MalformedToken),
            "{crit}"
        );
    }
}

/// V4
#[test]
fn b64_is_refused_even_when_it_is_true() {
    for b64 in [json!(false), json!(true), json!("false"), json!(null)] {
        let token = token_with_header(header_with(json!({ "b64": b64 })));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::MalformedToken),
            "{b64}"
        );
    }
}

/// V5
#[test]
fn a_token_never_brings_its_own_key() {
    let own = new_key(Algorithm::ES256);
    let own_jwk = serde_json::to_value(own.public_jwk(KID)).unwrap();
    let brought = [
        json!({ "jwk": own_jwk }),
        json!({ "jku": "https://attacker.example/keys" }),
        json!({ "x5u": "https://attacker.example/cert" }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "x5t": "AAAA", "x5t#S256": "AAAA" }),
    ];
    for members in brought {
        let header = header_with(members.clone());
        let forged = signed_by(&own, &header, claims_with(json!({})));
        assert_eq!(
            refusal(&verifier(), &forged),
            Some(ErrorKind::InvalidSignature),
            "{members}"
        );
        // The members alone do no harm: the issuer's own signature still counts.
        assert_eq!(
            refusal(&verifier(), &token_with_header(&header)),
            None,
            "{members}"
        );
    }
}

/// V5
#[test]
fn registered_members_have_their_registered_types() {
    for members in [
        json!({ "jwk": "key" }),
        json!({ "jku": 1 }),
        json!({ "x5u": null }),
        json!({ "x5c": "MIIB" }),
        json!({ "x5c": [1] }),
        json!({ "x5t": [] }),
        json!({ "typ": 1 }),
        json!({ "typ": null }),
        json!({ "kid": 1 }),
        json!({ "kid": null }),
        json!({ "kid": ["key-1"] }),
        json!({ "cty": {} }),
    ] {
        let token = token_with_header(header_with(members.clone()));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::MalformedToken),
            "{members}"
        );
    }
}

/// V6
#[test]
fn a_hostile_kid_is_an_unknown_key_and_shows_up_nowhere() {
    for kid in [
        "../../etc/passwd",
        "https://attacker.example/key",
        "' OR 1=1 --",
        "key-1\0",
        "KEY-1",
        "key-1 ",
        "",
        "\r\nX-Injected: 1",
        "\u{202e}1-yek",
        "\u{1b}[31m",
    ] {
        let token = token_with_header(header_with(json!({ "kid": kid })));
        let error = verifier().check(&token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownKey, "{kid:?}");
        let shown = format!("{error} {error:?}");
        assert!(kid.is_empty() || !shown.contains(kid), "{shown}");
    }
}

/// V6
#[test]
fn a_kid_has_at_most_256_bytes() {
    for (kid, expected) in [
        ("k".repeat(256), ErrorKind::UnknownKey),
        ("k".repeat(257), ErrorKind::MalformedToken),
        ("k".repeat(8000), ErrorKind::MalformedToken),
        ("é".repeat(129), ErrorKind::MalformedToken),
    ] {
        let token = token_with_header(header_with(json!({ "kid": kid })));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(expected),
            "{} bytes",
            kid.len()
        );
    }
}

/// V10
#[test]
fn a_header_with_a_member_twice_is_refused() {
    let good = good_header();
    let inside = good.strip_suffix('}').unwrap();
    for member in [
        r#""alg":"ES256""#,
        r#""alg":"none""#,
        r#""kid":"key-1""#,
        r#""\u006bid":"key-1""#,
        r#""typ":"JWT""#,
        r#""x":1,"x":1"#,
        r#""x":{"y":1,"y":2}"#,
    ] {
        let token = token_with_header(format!("{inside},{member}}}"));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::MalformedToken),
            "{member}"
        );
    }
    for header in [
        "",
        "[]",
        "null",
        "\"ES256\"",
        "{",
        "{}{}",
        "{\"alg\":\"ES256\"} ",
    ] {
        let refused = refusal(&verifier(), &token_with_header(header));
        // The last one is good JSON: it only lacks a kid, and the set has one fitting key.
        assert_eq!(refused.is_none(), header.ends_with("} "), "{header:?}");
    }
}

#[test]
fn a_token_without_kid_is_accepted_only_when_one_key_fits() {
    let token = token_with_header(r#"{"alg":"ES256"}"#);
    assert_eq!(refusal(&verifier(), &token), None);
    let other = new_key(Algorithm::ES256);
    let two = KeySet::from_jwks([KEY.public_jwk(KID), other.public_jwk("key-2")]);
    let verifier = builder().keys(two).build().unwrap();
    assert_eq!(refusal(&verifier, &token), Some(ErrorKind::UnknownKey));
    assert_eq!(refusal(&verifier, &good_token()), None);
}

/// Counts how often it is asked. There is no way to tell it what to ask for: [`FetchKeys::fetch`] takes no argument.
#[derive(Debug, Default)]
struct CountingSource(Arc<AtomicUsize>);

impl FetchKeys for CountingSource {
    fn fetch(&self) -> FetchFuture<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let document = KeySet::from_jwks([KEY.public_jwk(KID)]).to_json();
        Box::pin(async move { Ok(Bytes::from(document)) })
    }
}

/// V7
#[tokio::test]
async fn nothing_in_a_token_makes_anybody_fetch_anything_but_the_issuers_keys_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let jwks = JwksCache::builder(CountingSource(Arc::clone(&asked)))
        .clock(Arc::new(clock()))
        .build()
        .unwrap();
    let verifier = Verifier::builder(ISSUER, AUDIENCE)
        .jwks(jwks)
        .clock(Arc::new(clock()))
        .build()
        .unwrap();
    verifier.verify(&good_token()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let hostile: [Value; 5] = [
        json!({ "jku": "http://127.0.0.1:1/", "kid": "unknown" }),
        json!({ "x5u": "http://169.254.169.254/", "kid": "unknown" }),
        json!({ "kid": "http://127.0.0.1:1/" }),
        json!({ "kid": "file:///etc/passwd" }),
        json!({ "iss": "http://127.0.0.1:1/", "kid": "unknown" }),
    ];
    for members in hostile {
        let token = token_with_header(header_with(members));
        let error = verifier.verify(&token).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownKey);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the cool-down holds");
}
