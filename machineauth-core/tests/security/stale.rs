//! Revocations that were not heard of for too long: each policy, and that it is told when it begins to bite.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use machineauth_core::introspection::{IntrospectFuture, Introspector, Verdict};
use machineauth_core::verifier::StalePolicy;
use machineauth_core::{Clock as _, ErrorKind, ManualClock, RevocationSet, Verifier};

use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);

/// Whether tokens are active is for the test to say.
#[derive(Clone, Debug)]
struct Issuer {
    active: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn new() -> Self {
        let active = Arc::new(AtomicBool::new(true));
        Self {
            active,
            asked: Arc::default(),
        }
    }
}

impl Introspector for Issuer {
    fn known(&self, _: &str) -> Option<Verdict> {
        None
    }

    fn introspect<'a>(&'a self, token: &'a str) -> IntrospectFuture<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let verdict = match self.active.load(Ordering::SeqCst) {
            true => verifier().check(token),
            false => Err(ErrorKind::Inactive.into()),
        };
        Box::pin(async move { verdict })
    }
}

struct Api {
    clock: ManualClock,
    revocations: RevocationSet,
    issuer: Issuer,
    told: Arc<Mutex<Vec<bool>>>,
    verifier: Verifier,
}

impl Api {
    fn with(policy: StalePolicy) -> Self {
        let (clock, revocations, issuer) = (clock(), RevocationSet::new(), Issuer::new());
        revocations.mark_fresh(clock.now());
        let told = Arc::new(Mutex::new(Vec::new()));
        let hook = {
            let told = Arc::clone(&told);
            move |is_stale| told.lock().unwrap().push(is_stale)
        };
        let verifier = builder()
            .clock(Arc::new(clock.clone()))
            .revocations(revocations.clone())
            .introspection(issuer.clone())
            .stale_revocations(policy)
            .on_stale_revocations(hook)
            .build()
            .unwrap();
        Self {
            clock,
            revocations,
            issuer,
            told,
            verifier,
        }
    }

    async fn refusal(&self, token: &str) -> Option<ErrorKind> {
        self.verifier
            .verify(token)
            .await
            .err()
            .map(|error| error.kind())
    }

    fn go_stale(&self) {
        self.clock.advance(LIMIT + Duration::from_secs(1));
    }

    fn told(&self) -> Vec<bool> {
        self.told.lock().unwrap().clone()
    }
}

/// V24
#[tokio::test]
async fn each_policy_bites_after_its_limit_and_is_told_once_when_it_begins_and_ends() {
    for (policy, refusal, asked) in [
        (StalePolicy::ServeAndReport { after: LIMIT }, None, 0),
        (StalePolicy::Introspect { after: LIMIT }, None, 3),
        (
            StalePolicy::Refuse { after: LIMIT },
            Some(ErrorKind::RevocationsStale),
            0,
        ),
    ] {
        let api = Api::with(policy);
        let token = good_token();
        assert_eq!(api.refusal(&token).await, None);
        api.clock.advance(LIMIT);
        assert_eq!(api.refusal(&token).await, None, "the limit itself is fine");
        assert_eq!(api.told(), [] as [bool; 0]);
        api.go_stale();
        for _ in 0..3 {
            assert_eq!(api.refusal(&token).await, refusal, "{policy:?}");
        }
        assert_eq!(api.issuer.asked.load(Ordering::SeqCst), asked, "{policy:?}");
        api.revocations.mark_fresh(api.clock.now());
        assert_eq!(api.refusal(&token).await, None);
        assert_eq!(api.told(), [true, false]);
        assert_eq!(api.issuer.asked.load(Ordering::SeqCst), asked);
    }
}

/// V24
#[tokio::test]
async fn what_the_issuer_says_counts_while_the_revocations_are_stale() {
    let api = Api::with(StalePolicy::Introspect { after: LIMIT });
    let token = good_token();
    assert_eq!(api.refusal(&token).await, None);
    api.go_stale();
    api.issuer.active.store(false, Ordering::SeqCst);
    assert_eq!(api.refusal(&token).await, Some(ErrorKind::Inactive));
    assert_eq!(
        api.verifier.check(&token).unwrap_err().kind(),
        ErrorKind::IntrospectionUnavailable,
        "without waiting it cannot be told"
    );
}

/// V24
#[tokio::test]
async fn the_issuer_is_not_asked_about_tokens_that_are_bad_anyway() {
    let api = Api::with(StalePolicy::Introspect { after: LIMIT });
    api.go_stale();
    let expired = token_with_claims(claims_with(serde_json::json!({ "exp": 1 })));
    assert_eq!(api.refusal(&expired).await, Some(ErrorKind::Expired));
    assert_eq!(api.issuer.asked.load(Ordering::SeqCst), 0);
}

/// V24
#[test]
fn a_policy_that_cannot_work_is_refused() {
    let introspect = StalePolicy::Introspect { after: LIMIT };
    let without_issuer = builder()
        .revocations(RevocationSet::new())
        .stale_revocations(introspect);
    let without_revocations =
        builder().stale_revocations(StalePolicy::ServeAndReport { after: LIMIT });
    for builder in [without_issuer, without_revocations] {
        assert_eq!(
            builder.build().unwrap_err().kind(),
            ErrorKind::InvalidConfiguration
        );
    }
}
