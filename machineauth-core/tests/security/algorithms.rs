//! The key decides the algorithm, never the header.

use machineauth_core::crypto::{Algorithm, HmacKey, sha256};
use machineauth_core::{ErrorKind, KeySet, base64url};
use serde_json::json;

use crate::support::*;

#[test]
fn a_good_token_of_every_algorithm_is_accepted() {
    for algorithm in Algorithm::ALL {
        let key = new_key(algorithm);
        let token = signed_by(&key, header_of(algorithm), claims_with(json!({})));
        assert_eq!(refusal(&verifier_of(&key), &token), None, "{algorithm}");
    }
}

/// V1
#[test]
fn hmac_with_the_public_key_as_its_secret_is_refused_in_every_encoding() {
    let key = new_key(Algorithm::RS256);
    let jwk = serde_json::to_value(key.public_jwk(KID)).unwrap();
    let modulus = jwk["n"].as_str().unwrap();
    let encodings = [
        jwk.to_string().into_bytes(),
        modulus.as_bytes().to_vec(),
        base64url::decode(modulus).unwrap(),
        KeySet::from_jwks([key.public_jwk(KID)])
            .to_json()
            .into_bytes(),
        sha256(jwk.to_string().as_bytes()).to_vec(),
        Vec::new(),
    ];
    let verifier = verifier_of(&key);
    for secret in encodings {
        for name in ["HS256", "HS384", "HS512"] {
            let header = header_with(json!({ "alg": name }));
            let input = format!(
                "{}.{}",
                base64url::encode(header),
                base64url::encode(claims_with(json!({})))
            );
            let code = HmacKey::new(&secret).sign(input.as_bytes());
            let token = format!("{input}.{}", base64url::encode(code));
            assert_eq!(
                refusal(&verifier, &token),
                Some(ErrorKind::UnsupportedAlgorithm),
                "{name}"
            );
        }
    }
}

/// V1
#[test]
fn a_symmetric_key_in_a_key_set_is_never_a_key() {
    let set =
        KeySet::parse(br#"{"keys":[{"kty":"oct","kid":"key-1","k":"c2VjcmV0","alg":"HS256"}]}"#)
            .unwrap();
    assert_eq!((set.len(), set.skipped()), (0, 1));
}

/// V1: each key's signature under each other algorithm's name.
#[test]
fn a_header_that_names_another_algorithm_than_the_keys_is_refused() {
    for of_key in Algorithm::ALL {
        let key = new_key(of_key);
        let verifier = verifier_of(&key);
        for claimed in Algorithm::ALL
            .into_iter()
            .filter(|claimed| *claimed != of_key)
        {
            let token = signed_by(&key, header_of(claimed), claims_with(json!({})));
            assert_eq!(
                refusal(&verifier, &token),
                Some(ErrorKind::UnsupportedAlgorithm),
                "{of_key} as {claimed}"
            );
        }
    }
}

/// V1: an RSA key without `alg` is for RS256, and PS256 signatures of the same key are refused.
#[test]
fn an_rsa_jwk_without_alg_is_for_rs256_alone() {
    let rs256 = new_key(Algorithm::RS256);
    let document = rs256.to_pkcs8();
    let mut jwk = object(serde_json::to_value(rs256.public_jwk(KID)).unwrap());
    jwk.remove("alg").unwrap();
    let set = || KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    for algorithm in Algorithm::ALL.into_iter().take(6) {
        let key = machineauth_core::SigningKey::from_pkcs8(algorithm, &document).unwrap();
        let token = signed_by(&key, header_of(algorithm), claims_with(json!({})));
        let expected = (algorithm != Algorithm::RS256).then_some(ErrorKind::UnsupportedAlgorithm);
        assert_eq!(
            refusal(&builder().keys(set()).build().unwrap(), &token),
            expected,
            "{algorithm}"
        );
    }
}

/// V2
#[test]
fn none_is_refused_in_any_case_with_any_signature() {
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let token = token_with_header(header_with(json!({ "alg": name })));
        let input = token.rsplit_once('.').unwrap().0;
        for token in [token.clone(), format!("{input}."), format!("{input}.AA")] {
            assert_eq!(
                refusal(&verifier(), &token),
                Some(ErrorKind::UnsupportedAlgorithm),
                "{name}"
            );
        }
    }
}

/// V2
#[test]
fn an_empty_signature_is_refused() {
    for algorithm in [
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
    ] {
        let key = new_key(algorithm);
        let token = signed_by(&key, header_of(algorithm), claims_with(json!({})));
        let input = token.rsplit_once('.').unwrap().0;
        assert_eq!(
            refusal(&verifier_of(&key), &format!("{input}.")),
            Some(ErrorKind::InvalidSignature)
        );
        assert_eq!(
            refusal(&verifier_of(&key), input),
            Some(ErrorKind::MalformedToken)
        );
    }
}

/// V1
#[test]
fn an_alg_that_is_missing_or_no_string_is_refused() {
    for alg in [
        json!(null),
        json!(1),
        json!(["ES256"]),
        json!({ "ES256": true }),
        json!(true),
    ] {
        let token = token_with_header(header_with(json!({ "alg": alg })));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::MalformedToken),
            "{alg}"
        );
    }
    let token = token_with_header(r#"{"kid":"key-1","typ":"JWT"}"#);
    assert_eq!(
        refusal(&verifier(), &token),
        Some(ErrorKind::MalformedToken)
    );
}
