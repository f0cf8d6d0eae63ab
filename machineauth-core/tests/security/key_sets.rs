//! A key set from outside: bounded, and no key in it can hurt the others.

use machineauth_core::crypto::{Algorithm, random};
use machineauth_core::{ErrorKind, KeySet, SigningKey, base64url};
use serde_json::{Value, json};

use crate::support::*;

fn parse(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn public(key: &SigningKey) -> Value {
    serde_json::to_value(key.public_jwk(KID)).unwrap()
}

fn with(mut jwk: Value, changes: Value) -> Value {
    jwk.as_object_mut().unwrap().extend(object(changes));
    jwk
}

/// An odd number of exactly `bits` bits, as good as any for looking at its size.
fn modulus(bits: usize) -> String {
    let mut n = vec![0xff; bits.div_ceil(8)];
    if !bits.is_multiple_of(8) {
        n[0] = (1 << (bits % 8)) - 1;
    }
    base64url::encode(n)
}

/// V9
#[test]
fn an_odd_key_never_drops_the_others() {
    let rsa = public(&new_key(Algorithm::RS256));
    let ec = public(&new_key(Algorithm::ES256));
    let ed = public(&new_key(Algorithm::EdDSA));
    let odd = [
        json!(null),
        json!("key"),
        json!([]),
        json!({}),
        json!({ "kty": "unknown", "kid": "a" }),
        json!({ "kty": 1 }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }),
        with(rsa.clone(), json!({ "n": modulus(512) })),
        with(rsa.clone(), json!({ "n": modulus(1024) })),
        with(rsa.clone(), json!({ "n": modulus(2047) })),
        with(rsa.clone(), json!({ "n": modulus(8193) })),
        with(rsa.clone(), json!({ "n": modulus(16_384) })),
        with(rsa.clone(), json!({ "e": "AQ" })),
        with(rsa.clone(), json!({ "e": "Ag" })),
        with(rsa.clone(), json!({ "e": "AAEAAQ" })),
        with(rsa.clone(), json!({ "e": "" })),
        with(rsa.clone(), json!({ "n": "not base64url!" })),
        with(rsa.clone(), json!({ "alg": "HS256" })),
        with(rsa.clone(), json!({ "alg": "ES256" })),
        with(rsa.clone(), json!({ "alg": "RSA-OAEP" })),
        with(rsa.clone(), json!({ "alg": null })),
        with(rsa.clone(), json!({ "use": "enc" })),
        with(rsa.clone(), json!({ "use": ["sig"] })),
        with(rsa.clone(), json!({ "key_ops": ["encrypt"] })),
        with(rsa.clone(), json!({ "key_ops": [] })),
        with(rsa.clone(), json!({ "key_ops": "verify" })),
        with(rsa.clone(), json!({ "kid": 7 })),
        with(rsa.clone(), json!({ "kid": "k".repeat(257) })),
        with(rsa.clone(), json!({ "d": "AQAB" })),
        with(ec.clone(), json!({ "crv": "P-384" })),
        with(ec.clone(), json!({ "crv": "P-521" })),
        with(ec.clone(), json!({ "crv": "secp256k1" })),
        with(ec.clone(), json!({ "alg": "ES384" })),
        with(ec.clone(), json!({ "x": ec["y"], "y": ec["x"] })),
        with(ec.clone(), json!({ "x": "AA" })),
        with(
            ec.clone(),
            json!({ "d": base64url::encode(random::<32>()) }),
        ),
        with(ed.clone(), json!({ "crv": "X25519" })),
        with(ed.clone(), json!({ "crv": "Ed448" })),
        with(ed.clone(), json!({ "x": base64url::encode([0; 32]) })),
        with(ed.clone(), json!({ "x": base64url::encode([9; 31]) })),
        with(ed, json!({ "d": base64url::encode(random::<32>()) })),
    ];
    let good = public(&KEY);
    for key in &odd {
        for keys in [[key.clone(), good.clone()], [good.clone(), key.clone()]] {
            let set = parse(&keys);
            assert_eq!((set.len(), set.skipped()), (1, 1), "{key}");
            let verifier = builder().keys(set).build().unwrap();
            assert_eq!(refusal(&verifier, &good_token()), None, "{key}");
        }
    }
    let all: Vec<Value> = odd.iter().cloned().chain([good]).collect();
    assert_eq!(parse(&all).skipped(), odd.len());
}

/// V9
#[test]
fn rsa_keys_of_2048_to_8192_bits_with_an_odd_exponent_from_3_are_keys() {
    let rsa = public(&new_key(Algorithm::RS256));
    for bits in [2048, 2049, 3072, 4096, 8192] {
        assert_eq!(
            parse(&[with(rsa.clone(), json!({ "n": modulus(bits) }))]).len(),
            1,
            "{bits}"
        );
    }
    for e in ["Aw", "Cw", "AQAB"] {
        assert_eq!(
            parse(&[with(rsa.clone(), json!({ "e": e }))]).len(),
            1,
            "{e}"
        );
    }
}

/// V9
#[test]
fn a_document_is_bounded_in_bytes_and_keys() {
    let key = public(&KEY);
    let numbered = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|n| with(key.clone(), json!({ "kid": n.to_string() })))
            .collect()
    };
    assert_eq!(parse(&numbered(100)).len(), 100);
    let refused =
        |document: &[u8]| KeySet::parse(document).unwrap_err().kind() == ErrorKind::InvalidKey;
    assert!(refused(
        json!({ "keys": numbered(101) }).to_string().as_bytes()
    ));
    let padded = |bytes: usize| format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(bytes));
    assert!(refused(padded(512 * 1024).as_bytes()));
    assert!(KeySet::parse(padded(512 * 1024 - 100).as_bytes()).is_ok());
}

/// V9, V10, V16
#[test]
fn what_is_no_key_set_is_refused() {
    for document in [
        &b""[..],
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b"{\"keys\":null}",
        b"{\"keys\":{}}",
        b"{\"keys\":[],\"keys\":[]}",
        b"{\"keys\":[{\"kty\":\"EC\",\"kty\":\"RSA\"}]}",
        b"{\"keys\":[]} trailing",
        b"{\"keys\":[\"\xff\"]}",
    ] {
        let error = KeySet::parse(document).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{document:?}");
    }
}

/// V8
#[test]
fn of_two_keys_that_answer_to_one_header_the_first_counts() {
    let second = new_key(Algorithm::ES256);
    let set = parse(&[public(&KEY), public(&second)]);
    assert_eq!((set.len(), set.skipped()), (1, 1));
    assert_eq!(
        refusal(&builder().keys(set).build().unwrap(), &good_token()),
        None
    );
    // The same name for another algorithm is no conflict: the header tells them apart.
    assert_eq!(
        parse(&[public(&KEY), public(&new_key(Algorithm::EdDSA))]).len(),
        2
    );
}

#[test]
fn a_published_set_has_public_members_only_and_reads_back() {
    let keys: Vec<SigningKey> = [
        Algorithm::RS256,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ]
    .map(new_key)
    .into();
    let set = KeySet::from_jwks(
        keys.iter()
            .enumerate()
            .map(|(n, key)| key.public_jwk(&n.to_string())),
    );
    let document = set.to_json();
    let value: Value = serde_json::from_str(&document).unwrap();
    for key in value["keys"].as_array().unwrap() {
        let names: Vec<&str> = key
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert!(
            names
                .iter()
                .all(|name| ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"].contains(name))
        );
    }
    let again = KeySet::parse(document.as_bytes()).unwrap();
    assert_eq!(again.skipped(), 0);
    assert!(again.jwks().eq(set.jwks()));
}
