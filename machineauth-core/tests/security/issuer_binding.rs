//! The keys of one issuer never vouch for another.

use machineauth_core::crypto::Algorithm;
use machineauth_core::{ClaimName, ErrorKind, KeySet, Verifier};
use serde_json::json;

use crate::support::*;

/// V8
#[test]
fn a_token_that_names_another_issuer_is_refused_even_with_our_issuers_signature() {
    for issuer in [
        "https://auth.example.com/",
        "https://AUTH.example.com",
        "HTTPS://auth.example.com",
        "http://auth.example.com",
        "https://auth.example.com:443",
        "https://auth.example.co",
        "https://auth.example.com.attacker.example",
        "https://auth.example.com@attacker.example",
        " https://auth.example.com",
        "https://auth.example.com\0",
        "auth.example.com",
        "",
    ] {
        let token = token_with_claims(claims_with(json!({ "iss": issuer })));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::WrongIssuer),
            "{issuer:?}"
        );
    }
    let token = token_with_claims(claims_with(json!({ "iss": [ISSUER] })));
    assert_eq!(
        refusal(&verifier(), &token),
        Some(ErrorKind::InvalidClaim(ClaimName::Issuer))
    );
}

/// V8
#[test]
fn the_same_kid_at_two_issuers_is_two_keys() {
    let other_key = new_key(Algorithm::ES256);
    let other_issuer = "https://other.example.com";
    let other = Verifier::builder(other_issuer, AUDIENCE)
        .keys(KeySet::from_jwks([other_key.public_jwk(KID)]))
        .clock(std::sync::Arc::new(clock()))
        .build()
        .unwrap();
    // B's key says that A issued it; and it is A's verifier that is asked, then B's.
    let forged = signed_by(&other_key, good_header(), claims_with(json!({})));
    assert_eq!(
        refusal(&verifier(), &forged),
        Some(ErrorKind::InvalidSignature)
    );
    assert_eq!(refusal(&other, &forged), Some(ErrorKind::WrongIssuer));
    let honest = signed_by(
        &other_key,
        good_header(),
        claims_with(json!({ "iss": other_issuer })),
    );
    assert_eq!(refusal(&other, &honest), None);
    assert_eq!(
        refusal(&verifier(), &honest),
        Some(ErrorKind::InvalidSignature)
    );
    assert_eq!(
        refusal(&other, &good_token()),
        Some(ErrorKind::InvalidSignature)
    );
}

/// V8
#[test]
fn a_verifier_without_issuer_audience_or_keys_cannot_be_made() {
    let keys = || KeySet::from_jwks([KEY.public_jwk(KID)]);
    let incomplete = [
        Verifier::builder("", AUDIENCE).keys(keys()).build(),
        Verifier::builder(ISSUER, "").keys(keys()).build(),
        Verifier::builder(ISSUER, AUDIENCE).build(),
    ];
    for result in incomplete {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidConfiguration);
    }
}
