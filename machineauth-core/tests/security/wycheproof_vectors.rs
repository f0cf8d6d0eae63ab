//! Signatures as attackers make them: Google's Wycheproof vectors, through the same keys that tokens use.

use machineauth_core::crypto::{Algorithm, VerifyingKey};
use machineauth_core::{KeySet, base64url};
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

/// The key as verifiers get it; `None` when it is refused.
fn key(jwk: &Value, algorithm: Algorithm) -> Option<VerifyingKey> {
    let set = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    set.find(None, algorithm).ok().cloned()
}

fn rsa_key(n: &[u8], e: &[u8], algorithm: Algorithm) -> Option<VerifyingKey> {
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        base64url::encode(&bytes[zeros..])
    };
    key(
        &json!({ "kty": "RSA", "alg": algorithm, "n": number(n), "e": number(e) }),
        algorithm,
    )
}

/// A vector that must fail may fail because its key is refused; one that must pass needs both.
fn assert_judged(
    key: Option<&VerifyingKey>,
    message: &[u8],
    signature: &[u8],
    expected: TestResult,
    name: &str,
) {
    let accepted = key.is_some_and(|key| key.verify(message, signature).is_ok());
    match expected {
        TestResult::Valid => assert!(accepted, "{name} is valid"),
        TestResult::Invalid => assert!(!accepted, "{name} is invalid"),
        TestResult::Acceptable => {}
    }
}

/// V13
#[test]
fn ecdsa_signatures_are_judged_as_wycheproof_says() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    for (name, algorithm, curve, length) in [
        (EcdsaSecp256r1Sha256P1363, Algorithm::ES256, "P-256", 32),
        (EcdsaSecp384r1Sha384P1363, Algorithm::ES384, "P-384", 48),
    ] {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at(length);
            let (x, y) = (base64url::encode(x), base64url::encode(y));
            let key = key(
                &json!({ "kty": "EC", "crv": curve, "x": x, "y": y }),
                algorithm,
            );
            for test in &group.tests {
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                assert_judged(key.as_ref(), &test.msg, &test.sig, test.result, &name);
            }
        }
    }
}

/// V13: the DER form of a good signature is a good signature elsewhere, but not in a token.
#[test]
fn ecdsa_signatures_in_der_are_refused() {
    let mut seen = 0;
    for group in ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256)
        .unwrap()
        .test_groups
    {
        let (x, y) = group.key.key[1..].split_at(32);
        let (x, y) = (base64url::encode(x), base64url::encode(y));
        let Some(key) = key(
            &json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
            Algorithm::ES256,
        ) else {
            continue;
        };
        for test in group
            .tests
            .iter()
            .filter(|test| test.result == TestResult::Valid)
        {
            assert!(
                key.verify(&test.msg, &test.sig).is_err(),
                "{}: {}",
                test.tc_id,
                test.comment
            );
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} vectors");
}

/// V13
#[test]
fn ed25519_signatures_are_judged_as_wycheproof_says() {
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519)
        .unwrap()
        .test_groups
    {
        let x = base64url::encode(&group.key.pk);
        let key = key(
            &json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
            Algorithm::EdDSA,
        );
        for test in &group.tests {
            let name = format!("{}: {}", test.tc_id, test.comment);
            assert_judged(key.as_ref(), &test.msg, &test.sig, test.result, &name);
        }
    }
}

/// V13
#[test]
fn rsa_pkcs1_signatures_are_judged_as_wycheproof_says() {
    use rsa_pkcs1_verify::TestName::*;
    for (name, algorithm) in [
        (Rsa2048Sha256, Algorithm::RS256),
        (Rsa2048Sha384, Algorithm::RS384),
        (Rsa2048Sha512, Algorithm::RS512),
        (Rsa3072Sha256, Algorithm::RS256),
        (Rsa4096Sha512, Algorithm::RS512),
        (Rsa8192Sha256, Algorithm::RS256),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.key.n, &group.key.e, algorithm);
            for test in &group.tests {
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                assert_judged(key.as_ref(), &test.msg, &test.sig, test.result, &name);
            }
        }
    }
}

/// V13
#[test]
fn rsa_pss_signatures_are_judged_as_wycheproof_says() {
    use rsa_pss_verify::TestName::*;
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256),
        (RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384),
        (RsaPss3072Sha256Mgf1SaltLen32, Algorithm::PS256),
        (RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.key.n, &group.key.e, algorithm);
            for test in &group.tests {
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                assert_judged(key.as_ref(), &test.msg, &test.sig, test.result, &name);
            }
        }
    }
}

/// V13: RFC 7518 §3.5 fixes the length of the salt to that of the digest.
#[test]
fn rsa_pss_signatures_with_a_salt_of_another_length_are_refused() {
    use rsa_pss_verify::TestName::{RsaPss2048Sha256Mgf1SaltLen0, RsaPss4096Sha512Mgf1SaltLen32};
    let mut seen = 0;
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1SaltLen0, Algorithm::PS256),
        (RsaPss4096Sha512Mgf1SaltLen32, Algorithm::PS512),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.key.n, &group.key.e, algorithm).unwrap();
            // Valid with the salt that the set is about, that is; with the right one they are none of these.
            for test in group
                .tests
                .iter()
                .filter(|test| test.result == TestResult::Valid)
            {
                assert!(
                    key.verify(&test.msg, &test.sig).is_err(),
                    "{algorithm} {}: {}",
                    test.tc_id,
                    test.comment
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "only {seen} vectors");
}
