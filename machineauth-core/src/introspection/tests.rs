use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::*;
use crate::clock::ManualClock;
use crate::crypto::{Algorithm, SigningKey};
use crate::error::ClaimName;
use crate::jwks::{FetchFuture, FetchKeys};
use crate::keyset::KeySet;
use crate::revocation::{Revocation, RevocationSet};
use crate::verifier::{Verifier, VerifierBuilder};

const ISSUER: &str = "https://issuer.example";
const NOW: u64 = 1_800_000_000;

/// An issuer that says what it was told to say, and counts.
#[derive(Clone, Debug, Default)]
struct Oracle(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    answers: Mutex<HashMap<String, Bytes>>,
    failure: Mutex<Option<AskError>>,
    held_back: Mutex<bool>,
    go: Notify,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Oracle {
    fn says(&self, token: &str, answer: &Value) {
        self.says_bytes(token, answer.to_string());
    }

    fn says_bytes(&self, token: &str, answer: impl Into<Bytes>) {
        let mut answers = self.0.answers.lock().unwrap();
        answers.insert(token.to_owned(), answer.into());
    }

    fn fails(&self, failure: Option<AskError>) {
        *self.0.failure.lock().unwrap() = failure;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

/// A question under way, until it is answered or given up.
struct Turn<'a>(&'a Inner);

impl<'a> Turn<'a> {
    fn new(inner: &'a Inner) -> Self {
        let at_once = inner.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        inner.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AskIssuer for Oracle {
    fn ask<'a>(&'a self, token: &'a str, _: AnswerForm) -> AskFuture<'a> {
        Box::pin(async move {
            self.0.asked.fetch_add(1, Ordering::SeqCst);
            let _turn = Turn::new(&self.0);
            if *self.0.held_back.lock().unwrap() {
                self.0.go.notified().await;
            }
            if let Some(failure) = *self.0.failure.lock().unwrap() {
                return Err(failure);
            }
            let answers = self.0.answers.lock().unwrap();
            let inactive = Bytes::from_static(br#"{"active":false}"#);
            Ok(answers.get(token).cloned().unwrap_or(inactive))
        })
    }
}

struct Stage {
    oracle: Oracle,
    clock: ManualClock,
    revocations: RevocationSet,
    verifier: Verifier,
}

impl Stage {
    fn new() -> Self {
        Self::with(|introspection| introspection)
    }

    fn with(limits: impl FnOnce(IntrospectionBuilder) -> IntrospectionBuilder) -> Self {
        let oracle = Oracle::default();
        let clock = ManualClock::new(Timestamp::from_secs(NOW));
        let revocations = RevocationSet::new();
        let introspection = Introspection::builder(ISSUER, oracle.clone());
        let introspection = limits(introspection.clock(Arc::new(clock.clone())));
        let verifier = builder(&clock)
            .revocations(revocations.clone())
            .introspection(introspection.build().unwrap())
            .build()
            .unwrap();
        Self {
            oracle,
            clock,
            revocations,
            verifier,
        }
    }

    async fn verdict(&self, token: &str) -> Result<String, ErrorKind> {
        let verified = self.verifier.verify(token).await;
        verified
            .map(|agent| agent.id().to_owned())
            .map_err(|error| error.kind())
    }
}

fn builder(clock: &ManualClock) -> VerifierBuilder {
    Verifier::builder(ISSUER, "api")
        .keys(KeySet::default())
        .clock(Arc::new(clock.clone()))
}

fn active(changes: &Value) -> Value {
    let mut answer = json!({
        "active": true, "iss": ISSUER, "sub": "client-7", "agent_id": "agent-7", "aud": ["api"], "scope": "read",
        "exp": NOW + 3600, "iat": NOW, "jti": "token-1", "fid": "family-1", "gen": 3, "org_id": "org-1",
        "token_type": "Bearer",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => answer.as_object_mut().unwrap().remove(name),
            value => answer
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    answer
}

#[tokio::test]
async fn an_active_token_is_asked_about_once_until_the_answer_is_too_old() {
    let stage = Stage::new();
    stage.oracle.says("dyt_1", &active(&json!({})));
    for _ in 0..10 {
        assert_eq!(stage.verdict("dyt_1").await, Ok("agent-7".into()));
    }
    assert_eq!(stage.oracle.asked(), 1);
    assert!(
        stage.verifier.check("dyt_1").unwrap().has_scope("read"),
        "without waiting"
    );
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(
        stage.verifier.check("dyt_1").unwrap_err().kind(),
        ErrorKind::IntrospectionUnavailable
    );
    assert_eq!(stage.verdict("dyt_1").await, Ok("agent-7".into()));
    assert_eq!(stage.oracle.asked(), 2);
}

#[tokio::test]
async fn an_answer_serves_no_longer_than_the_token() {
    let stage = Stage::new();
    stage.oracle.says("t", &active(&json!({"exp": NOW + 10})));
    assert_eq!(stage.verdict("t").await, Ok("agent-7".into()));
    stage.oracle.says("t", &json!({"active": false}));
    stage.clock.advance(Duration::from_secs(10));
    assert_eq!(stage.verdict("t").await, Err(ErrorKind::Inactive));
    assert_eq!(stage.oracle.asked(), 2);
}

#[tokio::test]
async fn a_token_that_is_not_active_is_asked_about_again_after_a_shorter_time() {
    let stage = Stage::new();
    for _ in 0..10 {
        assert_eq!(stage.verdict("t").await, Err(ErrorKind::Inactive));
    }
    assert_eq!(stage.oracle.asked(), 1);
    stage.oracle.says("t", &active(&json!({})));
    stage.clock.advance(Duration::from_secs(10));
    assert_eq!(stage.verdict("t").await, Ok("agent-7".into()));
}

/// V17
#[tokio::test]
async fn what_the_feed_revokes_is_refused_without_asking_again() {
    let until = NOW + 7200;
    for revocation in [
        Revocation::Token {
            jti: "token-1".into(),
            until,
        },
        Revocation::Family {
            fid: "family-1".into(),
            until,
        },
        Revocation::Suspended {
            agent_id: "agent-7".into(),
            until,
        },
        Revocation::Agent {
            agent_id: "agent-7".into(),
            below_generation: 4,
            until,
        },
        Revocation::Organization {
            org_id: "org-1".into(),
            until,
        },
    ] {
        let stage = Stage::new();
        stage.oracle.says("t", &active(&json!({})));
        assert_eq!(stage.verdict("t").await, Ok("agent-7".into()));
        stage.revocations.apply(&revocation);
        assert_eq!(stage.verdict("t").await, Err(ErrorKind::Revoked));
        assert_eq!(stage.oracle.asked(), 1);
    }
}

#[tokio::test]
async fn without_an_answer_there_is_503_and_the_next_request_asks_again() {
    let stage = Stage::new();
    stage.oracle.says("t", &active(&json!({})));
    for failure in [
        AskError::Unreachable,
        AskError::Unauthorized,
        AskError::Status(500),
        AskError::WrongContentType,
    ] {
        stage.oracle.fails(Some(failure));
        let error = stage.verifier.verify("t").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntrospectionUnavailable);
        assert_eq!(crate::Challenge::new(&error).status(), 503);
    }
    stage.oracle.fails(None);
    assert_eq!(stage.verdict("t").await, Ok("agent-7".into()));
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let stage = Stage::new();
    for garbage in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"active":"true"}"#,
        r#"{"active":1}"#,
        r#"{"active":false,"active":true}"#,
    ] {
        stage.oracle.says_bytes("t", garbage);
        assert_eq!(
            stage.verdict("t").await,
            Err(ErrorKind::IntrospectionUnavailable),
            "{garbage}"
        );
    }
}

/// V3
#[tokio::test]
async fn an_answer_is_judged_like_a_token() {
    for (changes, kind) in [
        (json!({"aud": "other"}), ErrorKind::WrongAudience),
        (
            json!({"aud": null}),
            ErrorKind::InvalidClaim(ClaimName::Audience),
        ),
        (
            json!({"aud": 1}),
            ErrorKind::InvalidClaim(ClaimName::Audience),
        ),
        (
            json!({"iss": "https://other.example"}),
            ErrorKind::WrongIssuer,
        ),
        (json!({"exp": NOW - 31}), ErrorKind::Expired),
        (json!({"nbf": NOW + 600}), ErrorKind::NotYetValid),
        (
            json!({"token_type": "refresh_token"}),
            ErrorKind::InvalidType,
        ),
        (json!({"token_type": 1}), ErrorKind::InvalidType),
        (json!({"token_type": "DPoP"}), ErrorKind::InvalidType),
        (json!({"nonce": "n"}), ErrorKind::InvalidType),
        (
            json!({"cnf": {"jkt": "x"}}),
            ErrorKind::InvalidClaim(ClaimName::Confirmation),
        ),
        (
            json!({"sub": null}),
            ErrorKind::InvalidClaim(ClaimName::Subject),
        ),
    ] {
        let stage = Stage::new();
        stage.oracle.says("t", &active(&changes));
        for _ in 0..2 {
            assert_eq!(stage.verdict("t").await, Err(kind), "{changes}");
        }
        assert_eq!(stage.oracle.asked(), 1, "{changes}");
    }
}

#[tokio::test]
async fn what_rfc_7662_lets_an_issuer_leave_out_is_filled_in() {
    let stage = Stage::with(|introspection| introspection.danger_assume_audience("api"));
    let answer = json!({"active": true, "client_id": "client-7"});
    stage.oracle.says("t", &answer);
    let agent = stage.verifier.verify("t").await.unwrap();
    assert_eq!((agent.id(), agent.client_id()), ("client-7", "client-7"));
    assert_eq!(agent.claims().expires_at, NOW + 60);
}

#[tokio::test]
async fn everybody_who_brings_the_same_token_waits_for_one_question() {
    let stage = Stage::new();
    stage.oracle.says("t", &active(&json!({})));
    *stage.oracle.0.held_back.lock().unwrap() = true;
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let verifier = stage.verifier.clone();
            tokio::spawn(async move { verifier.verify("t").await.map(drop) })
        })
        .collect();
    for _ in 0..10 {
        yield_now().await;
    }
    callers[0].abort();
    stage.oracle.0.go.notify_one();
    for caller in callers.into_iter().skip(1) {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
    assert_eq!(stage.oracle.asked(), 1);
}

/// V15
#[tokio::test(start_paused = true)]
async fn a_flood_of_invented_tokens_is_asked_about_a_few_at_a_time_and_waits_in_a_bounded_queue() {
    let stage = Stage::with(|introspection| introspection.max_concurrent(2));
    stage.oracle.says("good", &active(&json!({})));
    assert_eq!(stage.verdict("good").await, Ok("agent-7".into()));
    *stage.oracle.0.held_back.lock().unwrap() = true;
    let callers: Vec<_> = (0..200)
        .map(|number| {
            let verifier = stage.verifier.clone();
            tokio::spawn(async move { verifier.verify(&format!("t{number}")).await.map(drop) })
        })
        .collect();
    yield_now().await;
    assert_eq!(
        stage.verdict("good").await,
        Ok("agent-7".into()),
        "what is known needs no turn"
    );
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntrospectionUnavailable);
    }
    assert_eq!(stage.oracle.0.most_at_once.load(Ordering::SeqCst), 2);
}

/// V12
#[tokio::test]
async fn only_what_is_no_jwt_is_asked_about() {
    let stage = Stage::new();
    let header = base64url::encode(br#"{"alg":"ES256"}"#);
    for token in [
        format!("{header}.e30.AAAA"),
        format!("{header}.x"),
        format!("{header}.a.b.c.d"),
        format!("{}.e30.AAAA", base64url::encode(b" {")),
    ] {
        assert!(stage.verdict(&token).await.is_err());
    }
    let endless = "x".repeat(MAX_TOKEN_LENGTH + 1);
    assert_eq!(
        stage.verdict(&endless).await,
        Err(ErrorKind::MalformedToken)
    );
    assert_eq!(stage.oracle.asked(), 0);
    for opaque in ["dyt_abc", "a.b.c", "abc", "a.b", "...."] {
        assert_eq!(stage.verdict(opaque).await, Err(ErrorKind::Inactive));
    }
    assert_eq!(stage.oracle.asked(), 5);
}

#[tokio::test]
async fn without_an_introspector_an_opaque_token_is_malformed() {
    let clock = ManualClock::new(Timestamp::from_secs(NOW));
    let verifier = builder(&clock).build().unwrap();
    let error = verifier.verify("dyt_1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedToken);
}

#[derive(Debug)]
struct Published(Bytes);

impl FetchKeys for Published {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// The compact serialization of `payload`, with any `typ`.
fn signed(key: &SigningKey, typ: &str, payload: &Value) -> String {
    let header = json!({"alg": "ES256", "kid": "k", "typ": typ});
    let [header, payload] = [&header, payload].map(|part| base64url::encode(part.to_string()));
    let input = format!("{header}.{payload}");
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

/// V14
#[tokio::test]
async fn a_signed_answer_must_be_fresh_and_of_this_issuer_and_for_this_client() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
    let typ = "token-introspection+jwt";
    let payload = |changes: Value| {
        let mut payload = json!({
            "iss": ISSUER, "aud": ["api-1"], "iat": NOW, "token_introspection": active(&json!({})),
        });
        let own = payload.as_object_mut().unwrap();
        own.extend(changes.as_object().unwrap().clone());
        payload
    };
    let published = KeySet::from_jwks([key.public_jwk("k")]).to_json();
    let stage = Stage::with(|introspection| {
        let keys = JwksCache::builder(Published(published.into()))
            .clock(Arc::new(ManualClock::new(Timestamp::from_secs(NOW))))
            .build()
            .unwrap();
        introspection.signed_answers(keys, "api-1")
    });
    let good = signed(&key, typ, &payload(json!({})));
    stage.oracle.says_bytes("good", good);
    assert_eq!(stage.verdict("good").await, Ok("agent-7".into()));
    let one = payload(json!({"aud": "api-1"}));
    let prefixed = signed(&key, "application/token-introspection+jwt", &one);
    stage.oracle.says_bytes("prefixed", prefixed);
    assert_eq!(stage.verdict("prefixed").await, Ok("agent-7".into()));

    let inactive = payload(json!({"token_introspection": {"active": false}}));
    stage.oracle.says_bytes("i", signed(&key, typ, &inactive));
    assert_eq!(stage.verdict("i").await, Err(ErrorKind::Inactive));

    for (number, bad) in [
        active(&json!({})).to_string(),
        signed(&stranger, typ, &payload(json!({}))),
        signed(&key, "JWT", &payload(json!({}))),
        signed(&key, "at+jwt", &payload(json!({}))),
        signed(&key, typ, &payload(json!({"iss": "https://other.example"}))),
        signed(&key, typ, &payload(json!({"aud": "api-2"}))),
        signed(&key, typ, &payload(json!({"aud": null}))),
        signed(&key, typ, &payload(json!({"iat": NOW - 61}))),
        signed(&key, typ, &payload(json!({"iat": NOW + 61}))),
        signed(&key, typ, &payload(json!({"iat": null}))),
        signed(&key, typ, &payload(json!({"token_introspection": []}))),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("bad-{number}");
        stage.oracle.says_bytes(&token, bad);
        assert_eq!(
            stage.verdict(&token).await,
            Err(ErrorKind::IntrospectionUnavailable),
            "{number}"
        );
    }
}
