//! A token whose key is missing waits for the issuer's answer, where there is an issuer to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use machineauth_core::crypto::Algorithm;
use machineauth_core::jwks::{FetchError, FetchFuture, FetchKeys, JwksCache};
use machineauth_core::{ErrorKind, KeySet, Verifier, base64url};
use serde_json::json;

use crate::support::*;

/// An issuer that publishes these keys, or is away; and how often it was asked.
#[derive(Clone, Debug)]
struct Issuer(Result<KeySet, FetchError>, Arc<AtomicUsize>);

impl FetchKeys for Issuer {
    fn fetch(&self) -> FetchFuture<'_> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let answer = match &self.0 {
            Ok(keys) => Ok(Bytes::from(keys.to_json())),
            Err(error) => Err(*error),
        };
        Box::pin(async move { answer })
    }
}

impl Issuer {
    fn publishing_its_key() -> Self {
        let keys = KeySet::from_jwks([KEY.public_jwk(KID)]);
        Self(Ok(keys), Arc::default())
    }

    fn away() -> Self {
        Self(Err(FetchError::Unreachable), Arc::default())
    }

    fn asked(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }

    fn verifier(self) -> Verifier {
        let jwks = JwksCache::builder(self).clock(Arc::new(clock())).build();
        builder().jwks(jwks.unwrap()).build().unwrap()
    }
}

fn can_recover(verifier: &Verifier, token: &str) -> bool {
    verifier.can_recover(&verifier.check(token).unwrap_err())
}

/// V15, V16
#[tokio::test]
async fn only_a_missing_key_is_worth_asking_the_issuer() {
    let verifier = Issuer::publishing_its_key().verifier();
    assert!(can_recover(&verifier, &good_token()), "no keys yet");
    verifier.verify(&good_token()).await.unwrap();
    let unknown = token_with_header(header_with(json!({ "kid": "rotated" })));
    assert!(can_recover(&verifier, &unknown), "perhaps it was rotated");
    let stranger = new_key(Algorithm::ES256);
    let hopeless = [
        "garbage".to_owned(),
        token_with_header(r#"{"alg":"none"}"#),
        signed_by(&stranger, good_header(), claims_with(json!({}))),
        token_with_claims(claims_with(json!({ "exp": NOW - 3600 }))),
        token_with_claims(claims_with(json!({ "iss": "https://other.example.com" }))),
    ];
    for token in hopeless {
        assert!(!can_recover(&verifier, &token), "{token}");
    }
}

/// V16
#[tokio::test]
async fn an_issuer_that_was_away_may_be_asked_again() {
    let verifier = Issuer::away().verifier();
    let error = verifier.verify(&good_token()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeysUnavailable);
    assert!(verifier.can_recover(&error));
}

#[tokio::test]
async fn fixed_keys_leave_nobody_to_ask() {
    let unknown = token_with_header(header_with(json!({ "kid": "rotated" })));
    let error = verifier().verify(&unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownKey);
    assert!(!verifier().can_recover(&error));
}

/// V15: within one cool-down, which is a moment of this clock.
#[tokio::test]
async fn a_hundred_thousand_invented_keys_cost_the_issuer_one_question_and_valid_tokens_nothing() {
    let good = good_token();
    for issuer in [Issuer::publishing_its_key(), Issuer::away()] {
        let verifier = issuer.clone().verifier();
        let before = verifier.verify(&good).await.is_ok();
        let asked = issuer.asked();
        let (_, rest) = good.split_once('.').unwrap();
        for n in 0..100_000 {
            let header = base64url::encode(format!(r#"{{"alg":"ES256","kid":"invented-{n}"}}"#));
            let refused = verifier.verify(&format!("{header}.{rest}")).await;
            assert!(refused.is_err());
        }
        assert!(issuer.asked() <= asked + 1, "{}", issuer.asked());
        assert_eq!(verifier.check(&good).is_ok(), before);
    }
}
