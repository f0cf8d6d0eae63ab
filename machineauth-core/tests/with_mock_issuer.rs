//! What talks to an issuer, against one that is told what to do: introspection, tokens for calling others, and the issuer
//! for tests itself.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::client::{
    ClientAuthentication, ClientCredentials, ClientSecret, Refusal, TokenErrorKind,
    TokenSource as _,
};
use machineauth_core::introspection::{HttpIntrospection, Introspection};
use machineauth_core::test_kit::{Endpoint, Fault, MockIssuer};
use machineauth_core::{
    Algorithm, ErrorKind, HttpKeys, JwksCache, Revocation, RevocationSet, SigningKey, Verifier,
};
use serde_json::json;

async fn start() -> MockIssuer {
    MockIssuer::start().await.unwrap()
}

async fn kind(verifier: &Verifier, token: &str) -> Result<(), ErrorKind> {
    let verified = verifier.verify(token).await;
    verified.map(drop).map_err(|error| error.kind())
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("what was waited for did not come about");
}

/// The issuer's introspection with plain answers, as the client `api-1`.
fn introspection(issuer: &MockIssuer) -> Introspection {
    let endpoint = HttpIntrospection::discover(issuer.url(), "api-1", "secret").unwrap();
    Introspection::builder(issuer.url(), endpoint)
        .clock(Arc::new(issuer.clock()))
        .build()
        .unwrap()
}

#[tokio::test]
async fn an_opaque_token_is_introspected_over_http_and_its_revocation_is_heard() {
    let issuer = start().await;
    issuer.client("api-1", "secret");
    let revocations = RevocationSet::new();
    let feed = issuer.feed(revocations.clone()).start().unwrap();
    feed.ready().await;
    let verifier = issuer
        .verifier("api")
        .introspection(introspection(&issuer))
        .revocations(revocations.clone())
        .build()
        .unwrap();
    let opaque = issuer.token().scope("read").opaque();
    let agent = verifier.verify(&opaque).await.unwrap();
    assert!(agent.has_scope("read"));
    assert_eq!(kind(&verifier, &issuer.token().sign()).await, Ok(()));
    assert_eq!(issuer.requests(Endpoint::Introspection), 1);

    issuer.revoke_token(&opaque);
    until(|| revocations.len() == 1).await;
    assert_eq!(kind(&verifier, &opaque).await, Err(ErrorKind::Revoked));
    assert_eq!(issuer.requests(Endpoint::Introspection), 1);
}

/// V15: what no flood can cause needs no cool-down.
#[tokio::test]
async fn the_successor_of_a_revoked_key_is_asked_for_at_once() {
    let issuer = start().await;
    let revocations = RevocationSet::new();
    let feed = issuer.feed(revocations.clone()).start().unwrap();
    feed.ready().await;
    let verifier = issuer.verifier("api").revocations(revocations.clone());
    let verifier = verifier.build().unwrap();
    assert_eq!(kind(&verifier, &issuer.token().sign()).await, Ok(()));
    let leaked = issuer.rotate_key();
    let unknown = Err(ErrorKind::UnknownKey);
    assert_eq!(kind(&verifier, &issuer.token().sign()).await, unknown);

    issuer.withdraw_key(&leaked);
    issuer.rotate_key();
    issuer.revoke(&Revocation::Key {
        kid: leaked,
        until: u64::MAX,
    });
    until(|| revocations.len() == 1).await;
    assert_eq!(kind(&verifier, &issuer.token().sign()).await, Ok(()));
    assert_eq!(issuer.requests(Endpoint::KeySet), 2);

    issuer.rotate_key();
    assert_eq!(kind(&verifier, &issuer.token().sign()).await, unknown);
    assert_eq!(issuer.requests(Endpoint::KeySet), 2, "once for each key");
}

/// V16
#[tokio::test]
async fn an_introspection_endpoint_that_fails_in_any_way_is_503_and_recovers() {
    let issuer = start().await;
    let endpoint = HttpIntrospection::discover(issuer.url(), "api-1", "secret").unwrap();
    let introspection = Introspection::builder(issuer.url(), endpoint)
        .patience(Duration::from_millis(300))
        .build()
        .unwrap();
    let verifier = issuer.verifier("api").introspection(introspection);
    let verifier = verifier.build().unwrap();
    let opaque = issuer.token().opaque();
    let unavailable = Err(ErrorKind::IntrospectionUnavailable);
    for fault in [
        Fault::Status(500),
        Fault::Status(302),
        Fault::Garbage,
        Fault::HangUp,
        Fault::Slow(Duration::from_secs(60)),
        Fault::TooManyRequests(Duration::from_secs(1)),
    ] {
        issuer.fail(Endpoint::Introspection, fault.clone());
        assert_eq!(kind(&verifier, &opaque).await, unavailable, "{fault:?}");
    }
    issuer.heal();
    assert_eq!(kind(&verifier, &opaque).await, Ok(()));

    issuer.client("api-1", "another secret");
    let unknown = issuer.token().opaque();
    assert_eq!(kind(&verifier, &unknown).await, unavailable);
}

/// V14
#[tokio::test]
async fn signed_introspection_answers_are_asked_for_and_verified() {
    let issuer = start().await;
    let keys = JwksCache::builder(HttpKeys::discover(issuer.url()).unwrap())
        .clock(Arc::new(issuer.clock()))
        .build()
        .unwrap();
    let endpoint = HttpIntrospection::discover(issuer.url(), "api-1", "secret").unwrap();
    let signed = Introspection::builder(issuer.url(), endpoint)
        .clock(Arc::new(issuer.clock()))
        .signed_answers(keys, "api-1")
        .build()
        .unwrap();
    let verifier = issuer
        .verifier("api")
        .introspection(signed)
        .build()
        .unwrap();
    let opaque = issuer.token().opaque();
    assert_eq!(kind(&verifier, &opaque).await, Ok(()));
    assert_eq!(kind(&verifier, "invented").await, Err(ErrorKind::Inactive));
    // What the issuer signs for introspection is no token (RFC 9701 §8.1).
    let answer = issuer
        .token()
        .header("typ", "token-introspection+jwt")
        .sign();
    assert_eq!(kind(&verifier, &answer).await, Err(ErrorKind::InvalidType));
}

#[tokio::test]
async fn client_credentials_are_asked_for_as_configured() {
    let issuer = start().await;
    issuer.client("re:porter", "s3cret/+ü");
    for authentication in [ClientAuthentication::Basic, ClientAuthentication::Post] {
        let source = ClientCredentials::discover(issuer.url())
            .client("re:porter", "s3cret/+ü")
            .authentication(authentication)
            .scope("read write")
            .audience("https://api.example")
            .clock(Arc::new(issuer.clock()))
            .build()
            .unwrap();
        let token = source.token().await.unwrap();
        assert_eq!(token.scope(), Some(&"read write".parse().unwrap()));
        let verifier = issuer.verifier("https://api.example").build().unwrap();
        let agent = verifier.verify(token.expose()).await.unwrap();
        assert_eq!(agent.client_id(), "re:porter");
        assert!(agent.has_scope("write"));
    }
    let url = format!("{}/oauth/token", issuer.url());
    let source = ClientCredentials::at(&url)
        .client("re:porter", "s3cret/+ü")
        .resource("https://other.example")
        .clock(Arc::new(issuer.clock()))
        .build()
        .unwrap();
    let token = source.token().await.unwrap();
    let verifier = issuer.verifier("https://other.example").build().unwrap();
    assert_eq!(kind(&verifier, token.expose()).await, Ok(()));
}

#[tokio::test]
async fn a_secret_that_was_rotated_in_its_file_is_picked_up() {
    let issuer = start().await;
    issuer.client("reporter", "old");
    let directory = std::env::temp_dir().join(format!("machineauth-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("secret");
    std::fs::write(&path, "old\n").unwrap();
    let source = ClientCredentials::discover(issuer.url())
        .client("reporter", ClientSecret::in_file(&path))
        .clock(Arc::new(issuer.clock()))
        .build()
        .unwrap();
    let first = source.token().await.unwrap();

    issuer.client("reporter", "new");
    assert!(source.refused(&first));
    let error = source.token().await.unwrap_err();
    let refused = TokenErrorKind::Refused(Refusal::InvalidClient);
    assert_eq!(error.kind(), refused);
    std::fs::write(&path, "new").unwrap();
    issuer.clock().advance(Duration::from_secs(1));
    assert!(source.token().await.is_ok());

    std::fs::remove_dir_all(&directory).unwrap();
    issuer.clock().advance(Duration::from_secs(3600));
    assert_eq!(
        source.token().await.unwrap_err().kind(),
        TokenErrorKind::NoSecret
    );
}

#[tokio::test]
async fn a_token_endpoint_that_fails_in_any_way_is_named_and_left_alone() {
    for (fault, kind) in [
        (Fault::Status(500), TokenErrorKind::Unavailable),
        (Fault::Garbage, TokenErrorKind::MalformedAnswer),
        (Fault::HangUp, TokenErrorKind::Unreachable),
        (Fault::Status(400), TokenErrorKind::Refused(Refusal::Other)),
    ] {
        let issuer = start().await;
        let source = issuer.client_credentials();
        issuer.fail(Endpoint::Token, fault.clone());
        for _ in 0..5 {
            let error = source.token().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{fault:?}");
        }
        // A connection that breaks may be tried once more by the HTTP client itself.
        assert!(issuer.requests(Endpoint::Token) <= 2, "{fault:?}");
        issuer.heal();
        issuer.clock().advance(Duration::from_secs(1));
        assert!(source.token().await.is_ok(), "{fault:?}");
    }
    let issuer = start().await;
    issuer.fail(Endpoint::Metadata, Fault::Garbage);
    let error = issuer.client_credentials().token().await.unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::NoEndpoint);
}

#[test]
fn credentials_do_not_go_over_plain_http_by_default() {
    let at = |url: &str| ClientCredentials::at(url).client("a", "b").build();
    assert!(at("https://issuer.example/oauth/token").is_ok());
    for url in ["http://issuer.example/token", "ftp://issuer.example", "x"] {
        let error = at(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        let error = HttpIntrospection::at(url, "a", "b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
}

/// I21
#[tokio::test]
async fn no_secret_is_shown() {
    let issuer = start().await;
    let source = ClientCredentials::discover(issuer.url()).client("a", "s3cret");
    let shown = format!("{source:?}");
    let shown = format!("{shown} {:?}", source.build().unwrap());
    let endpoint = HttpIntrospection::discover(issuer.url(), "a", "s3cret").unwrap();
    let shown = format!("{shown} {endpoint:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn the_issuer_for_tests_mints_any_token() {
    let issuer = start().await;
    let verifier = issuer.verifier("api").build().unwrap();
    let stranger = Arc::new(SigningKey::generate(Algorithm::EdDSA).unwrap());
    for (token, expected) in [
        (issuer.token(), Ok(())),
        (
            issuer.token().audience("other"),
            Err(ErrorKind::WrongAudience),
        ),
        (
            issuer.token().claim("iss", "https://other.example"),
            Err(ErrorKind::WrongIssuer),
        ),
        (issuer.token().claim("aud", json!(["api", "other"])), Ok(())),
        (
            issuer.token().header("typ", "dpop+jwt"),
            Err(ErrorKind::InvalidType),
        ),
        (
            issuer.token().header("alg", "none"),
            Err(ErrorKind::UnsupportedAlgorithm),
        ),
        (
            issuer.token().signed_with(stranger),
            Err(ErrorKind::InvalidSignature),
        ),
    ] {
        let shown = format!("{token:?}");
        assert_eq!(kind(&verifier, &token.sign()).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn the_issuer_for_tests_rotates_its_keys_and_withdraws_them() {
    let issuer = start().await;
    let verifier = issuer.verifier("api").build().unwrap();
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::RS256] {
        issuer.clock().advance(Duration::from_secs(31));
        issuer.rotate_key_to(algorithm);
        assert_eq!(kind(&verifier, &issuer.token().sign()).await, Ok(()));
    }
    let withdrawn = issuer.rotate_key();
    issuer.withdraw_key(&withdrawn);
    issuer.clock().advance(Duration::from_secs(31));
    let token = issuer.token().sign();
    assert_eq!(kind(&verifier, &token).await, Err(ErrorKind::UnknownKey));
}

/// V24
#[tokio::test]
async fn the_issuer_for_tests_breaks_its_feed_and_resumes_it() {
    let issuer = start().await;
    let set = RevocationSet::new();
    let feed = issuer.feed(set.clone()).start().unwrap();
    feed.ready().await;
    assert_eq!(issuer.listeners(), 1);
    issuer.fail(Endpoint::Revocations, Fault::Status(503));
    issuer.revoke(&Revocation::Suspended {
        agent_id: "agent-1".into(),
        until: u64::MAX,
    });
    until(|| issuer.listeners() == 0).await;
    assert!(set.is_empty());
    issuer.heal();
    until(|| set.len() == 1).await;
}
