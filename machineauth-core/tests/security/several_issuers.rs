//! One verifier for several issuers: each token by its own issuer's keys, and by no others.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::crypto::{Algorithm, SigningKey};
use machineauth_core::{ErrorKind, KeySet, ManualClock, Revocation, RevocationSet, Verifier};
use serde_json::json;

use crate::support::*;

const OTHER: &str = "https://other.example.com";
const OTHER_AUDIENCE: &str = "files";

struct Pair {
    other_key: SigningKey,
    clock: ManualClock,
    other_revocations: RevocationSet,
    verifier: Verifier,
}

impl Pair {
    /// Both issuers call their key the same.
    fn new() -> Self {
        let (other_key, clock) = (new_key(Algorithm::ES256), clock());
        let other_revocations = RevocationSet::new();
        let one = builder().clock(Arc::new(clock.clone())).build().unwrap();
        let other = Verifier::builder(OTHER, OTHER_AUDIENCE)
            .keys(KeySet::from_jwks([other_key.public_jwk(KID)]))
            .clock(Arc::new(clock.clone()))
            .revocations(other_revocations.clone())
            .build()
            .unwrap();
        let verifier = Verifier::any_of([one, other]).unwrap();
        Self {
            other_key,
            clock,
            other_revocations,
            verifier,
        }
    }

    fn other_token(&self) -> String {
        self.signed_by_other(json!({ "iss": OTHER, "aud": OTHER_AUDIENCE }))
    }

    fn signed_by_other(&self, claims: serde_json::Value) -> String {
        signed_by(&self.other_key, good_header(), claims_with(claims))
    }
}

/// V8
#[test]
fn each_issuers_tokens_are_accepted_with_its_own_keys_and_audience_only() {
    let pair = Pair::new();
    let kind = |token: &str| refusal(&pair.verifier, token);
    assert_eq!(pair.verifier.issuers().collect::<Vec<_>>(), [ISSUER, OTHER]);
    for _ in 0..2 {
        assert_eq!(kind(&good_token()), None);
        assert_eq!(kind(&pair.other_token()), None);
    }
    let says_ours = pair.signed_by_other(json!({}));
    assert_eq!(kind(&says_ours), Some(ErrorKind::InvalidSignature));
    let says_other = token_with_claims(claims_with(json!({ "iss": OTHER, "aud": OTHER_AUDIENCE })));
    assert_eq!(kind(&says_other), Some(ErrorKind::InvalidSignature));
    let our_audience = pair.signed_by_other(json!({ "iss": OTHER }));
    assert_eq!(kind(&our_audience), Some(ErrorKind::WrongAudience));
}

/// V8
#[test]
fn only_a_configured_issuer_named_to_the_letter_is_asked() {
    let pair = Pair::new();
    for issuer in [
        "https://other.example.com/",
        "https://OTHER.example.com",
        "https://third.example.com",
        "",
    ] {
        let token = pair.signed_by_other(json!({ "iss": issuer, "aud": OTHER_AUDIENCE }));
        assert_eq!(
            refusal(&pair.verifier, &token),
            Some(ErrorKind::WrongIssuer),
            "{issuer}"
        );
    }
    for issuer in [json!([OTHER]), json!(null), json!(1)] {
        let token = pair.signed_by_other(json!({ "iss": issuer }));
        assert_eq!(
            refusal(&pair.verifier, &token),
            Some(ErrorKind::MalformedToken)
        );
    }
    let twice = claims_with_raw("iss", &format!("\"{ISSUER}\",\"iss\":\"{OTHER}\""));
    let token = signed_by(&pair.other_key, good_header(), twice);
    assert_eq!(
        refusal(&pair.verifier, &token),
        Some(ErrorKind::MalformedToken)
    );
}

/// V17, V24: what one issuer's feed says is not about another's tokens.
#[test]
fn an_accepted_token_is_judged_anew_by_its_own_issuers_rules() {
    let pair = Pair::new();
    let (ours, other) = (good_token(), pair.other_token());
    assert_eq!(refusal(&pair.verifier, &ours), None);
    assert_eq!(refusal(&pair.verifier, &other), None);
    // Both tokens have this name; only one issuer revoked it.
    pair.other_revocations.apply(&Revocation::Token {
        jti: "token-1".into(),
        until: NOW + 3600,
    });
    assert_eq!(refusal(&pair.verifier, &ours), None);
    assert_eq!(refusal(&pair.verifier, &other), Some(ErrorKind::Revoked));
    pair.clock.advance(Duration::from_secs(3600) + LEEWAY);
    assert_eq!(refusal(&pair.verifier, &ours), Some(ErrorKind::Expired));
}

/// V17
#[test]
fn what_outlives_a_request_can_be_rechecked() {
    let pair = Pair::new();
    let agent = pair.verifier.check(&pair.other_token()).unwrap();
    assert_eq!(pair.verifier.recheck(&agent), Ok(()));
    pair.other_revocations.apply(&Revocation::Suspended {
        agent_id: "agent-1".into(),
        until: NOW + 3600,
    });
    assert_eq!(
        pair.verifier.recheck(&agent).unwrap_err().kind(),
        ErrorKind::Revoked
    );
    pair.other_revocations.apply(&Revocation::Resumed {
        agent_id: "agent-1".into(),
    });
    assert_eq!(pair.verifier.recheck(&agent), Ok(()));
    pair.clock.advance(Duration::from_secs(7200));
    assert_eq!(
        pair.verifier.recheck(&agent).unwrap_err().kind(),
        ErrorKind::Expired
    );
}

/// V8
#[test]
fn verifiers_that_cannot_be_told_apart_do_not_go_together() {
    let anything = || builder().danger_accept_any_issuer().build().unwrap();
    let other = || Pair::new().verifier;
    for verifiers in [
        vec![],
        vec![verifier(), verifier()],
        vec![other(), anything()],
        vec![other(), verifier()],
    ] {
        let error = Verifier::any_of(verifiers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
    assert!(Verifier::any_of([anything()]).is_ok());
}
