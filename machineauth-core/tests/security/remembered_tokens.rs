//! A token that was accepted once is judged again by everything that can have changed since.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use machineauth_core::crypto::Algorithm;
use machineauth_core::jwks::{FetchFuture, FetchKeys, JwksCache};
use machineauth_core::{
    ErrorKind, KeySet, Revocation, RevocationSet, StalePolicy, Timestamp, Verifier,
};
use serde_json::{Value, json};

use crate::support::*;

const UNTIL: u64 = NOW + 7200;

/// Accepts `token`, applies `change`, and wants it refused by the verifier that remembers it and by a new one.
fn assert_revoked(claims: Value, change: &Revocation) {
    let revocations = RevocationSet::new();
    let remembering = builder().revocations(revocations.clone()).build().unwrap();
    let token = token_with_claims(claims_with(claims));
    let bystander = token_with_claims(claims_with(
        json!({ "jti": "other", "agent_id": "other", "sub": "other" }),
    ));
    assert_eq!(refusal(&remembering, &token), None);
    assert_eq!(refusal(&remembering, &bystander), None);
    revocations.apply(change);
    let new = builder().revocations(revocations).build().unwrap();
    for verifier in [&remembering, &new] {
        assert_eq!(
            refusal(verifier, &token),
            Some(ErrorKind::Revoked),
            "{change:?}"
        );
        assert_eq!(
            refusal(verifier, &token),
            Some(ErrorKind::Revoked),
            "{change:?}, asked again"
        );
        let expected = matches!(change, Revocation::Key { .. }).then_some(ErrorKind::Revoked);
        assert_eq!(refusal(verifier, &bystander), expected, "{change:?}");
    }
}

/// V17
#[test]
fn every_kind_of_revocation_reaches_a_remembered_token() {
    let id = |text: &str| text.to_owned();
    assert_revoked(
        json!({}),
        &Revocation::Token {
            jti: id("token-1"),
            until: UNTIL,
        },
    );
    assert_revoked(
        json!({ "fid": "family-1" }),
        &Revocation::Family {
            fid: id("family-1"),
            until: UNTIL,
        },
    );
    assert_revoked(
        json!({}),
        &Revocation::Agent {
            agent_id: id("agent-1"),
            below_generation: 2,
            until: UNTIL,
        },
    );
    assert_revoked(
        json!({}),
        &Revocation::Suspended {
            agent_id: id("agent-1"),
            until: UNTIL,
        },
    );
    assert_revoked(
        json!({ "org_id": "org-1" }),
        &Revocation::Organization {
            org_id: id("org-1"),
            until: UNTIL,
        },
    );
    assert_revoked(
        json!({}),
        &Revocation::Key {
            kid: id(KID),
            until: UNTIL,
        },
    );
}

/// V17: the key's published name counts, not whether the header mentions it.
#[test]
fn a_token_of_a_revoked_key_does_not_escape_by_leaving_out_its_kid() {
    let revocations = RevocationSet::new();
    revocations.apply(&Revocation::Key {
        kid: KID.to_owned(),
        until: UNTIL,
    });
    let verifier = builder().revocations(revocations).build().unwrap();
    let token = token_with_header(r#"{"alg":"ES256"}"#);
    assert_eq!(refusal(&verifier, &token), Some(ErrorKind::Revoked));
}

/// V17
#[test]
fn a_suspension_holds_until_the_agent_is_resumed() {
    let revocations = RevocationSet::new();
    let verifier = builder().revocations(revocations.clone()).build().unwrap();
    let agent_id = || "agent-1".to_owned();
    assert_eq!(refusal(&verifier, &good_token()), None);
    revocations.apply(&Revocation::Suspended {
        agent_id: agent_id(),
        until: UNTIL,
    });
    assert_eq!(refusal(&verifier, &good_token()), Some(ErrorKind::Revoked));
    revocations.apply(&Revocation::Resumed {
        agent_id: agent_id(),
    });
    assert_eq!(refusal(&verifier, &good_token()), None);
}

/// V17
#[test]
fn a_remembered_token_expires() {
    let clock = clock();
    let verifier = builder().clock(Arc::new(clock.clone())).build().unwrap();
    let token = good_token();
    assert_eq!(refusal(&verifier, &token), None);
    clock.advance(Duration::from_secs(3600) + LEEWAY);
    assert_eq!(refusal(&verifier, &token), Some(ErrorKind::Expired));
}

/// V17
#[test]
fn what_one_audience_accepted_says_nothing_to_another() {
    let token = good_token();
    assert_eq!(refusal(&verifier(), &token), None);
    let other = Verifier::builder(ISSUER, "https://other.example.com")
        .keys(KeySet::from_jwks([KEY.public_jwk(KID)]))
        .clock(Arc::new(clock()))
        .build()
        .unwrap();
    assert_eq!(refusal(&other, &token), Some(ErrorKind::WrongAudience));
}

/// V17
#[test]
fn a_scope_is_asked_for_on_every_request() {
    let verifier = verifier();
    let token = good_token();
    for _ in 0..2 {
        let agent = verifier.check(&token).unwrap();
        assert!(agent.require(&"read write".parse().unwrap()).is_ok());
        let error = agent.require(&"read admin".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InsufficientScope);
    }
}

/// V17
#[test]
fn a_remembered_token_with_another_signature_is_another_token() {
    let verifier = verifier();
    let token = good_token();
    assert_eq!(refusal(&verifier, &token), None);
    let forged = signed_by(
        &new_key(Algorithm::ES256),
        good_header(),
        claims_with(json!({})),
    );
    assert_eq!(
        token.rsplit_once('.').unwrap().0,
        forged.rsplit_once('.').unwrap().0
    );
    assert_eq!(
        refusal(&verifier, &forged),
        Some(ErrorKind::InvalidSignature)
    );
}

/// V17, V24
#[test]
fn stale_revocations_refuse_even_what_is_remembered() {
    let (clock, revocations) = (clock(), RevocationSet::new());
    let after = Duration::from_secs(60);
    let verifier = builder()
        .clock(Arc::new(clock.clone()))
        .revocations(revocations.clone())
        .stale_revocations(StalePolicy::Refuse { after })
        .build()
        .unwrap();
    let token = good_token();
    assert_eq!(
        refusal(&verifier, &token),
        Some(ErrorKind::RevocationsStale),
        "never heard of any"
    );
    revocations.mark_fresh(Timestamp::from_secs(NOW));
    assert_eq!(refusal(&verifier, &token), None);
    clock.advance(after + Duration::from_millis(1));
    assert_eq!(
        refusal(&verifier, &token),
        Some(ErrorKind::RevocationsStale)
    );
}

/// A source whose answer a test can change.
#[derive(Clone, Debug)]
struct Published(Arc<Mutex<String>>);

impl Published {
    fn publish(&self, set: &KeySet) {
        *self.0.lock().unwrap() = set.to_json();
    }
}

impl FetchKeys for Published {
    fn fetch(&self) -> FetchFuture<'_> {
        let document = Bytes::from(self.0.lock().unwrap().clone());
        Box::pin(async move { Ok(document) })
    }
}

/// V17, V16
#[tokio::test]
async fn a_remembered_token_falls_with_its_key_and_others_stay() {
    let clock = clock();
    let second = new_key(Algorithm::ES256);
    let both = KeySet::from_jwks([KEY.public_jwk(KID), second.public_jwk("key-2")]);
    let source = Published(Arc::new(Mutex::new(both.to_json())));
    let jwks = JwksCache::builder(source.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let verifier = Verifier::builder(ISSUER, AUDIENCE)
        .jwks(jwks.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let of_first = good_token();
    let of_second = signed_by(
        &second,
        header_with(json!({ "kid": "key-2" })),
        claims_with(json!({})),
    );
    for token in [&of_first, &of_second] {
        verifier.verify(token).await.unwrap();
    }

    source.publish(&KeySet::from_jwks([second.public_jwk("key-2")]));
    clock.advance(Duration::from_secs(60));
    jwks.refresh().await;
    assert_eq!(refusal(&verifier, &of_first), Some(ErrorKind::UnknownKey));
    assert_eq!(refusal(&verifier, &of_second), None);

    // The same name with another key behind it is another key.
    source.publish(&KeySet::from_jwks([KEY.public_jwk("key-2")]));
    clock.advance(Duration::from_secs(60));
    jwks.refresh().await;
    assert_eq!(
        refusal(&verifier, &of_second),
        Some(ErrorKind::InvalidSignature)
    );

    // An empty answer is no answer: the last good keys serve, for their time.
    *source.0.lock().unwrap() = r#"{"keys":[]}"#.to_owned();
    clock.advance(Duration::from_secs(60));
    jwks.refresh().await;
    let with_new_name = signed_by(
        &KEY,
        header_with(json!({ "kid": "key-2" })),
        claims_with(json!({})),
    );
    assert_eq!(refusal(&verifier, &with_new_name), None);
    clock.advance(Duration::from_secs(25 * 60 * 60));
    assert_eq!(
        refusal(&verifier, &with_new_name),
        Some(ErrorKind::KeysUnavailable)
    );
}

#[test]
fn a_cache_of_no_bytes_changes_no_answer() {
    let verifier = builder().cache_bytes(0).build().unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(&verifier, &good_token()), None);
    }
}
