//! Clocks that differ, step, and tokens that try to make them overflow.

use std::sync::Arc;
use std::time::Duration;

use machineauth_core::{ErrorKind, ManualClock, Timestamp};
use serde_json::json;

use crate::support::*;

fn at(clock: &ManualClock) -> machineauth_core::Verifier {
    builder().clock(Arc::new(clock.clone())).build().unwrap()
}

/// V21
#[test]
fn a_token_lives_until_its_expiry_plus_leeway_to_the_millisecond() {
    let clock = clock();
    let verifier = at(&clock);
    let token = token_with_claims(claims_with(json!({ "exp": NOW + 60 })));
    let end = Timestamp::from_secs(NOW + 60).saturating_add(LEEWAY);
    clock.set(end.saturating_sub(Duration::from_millis(1)));
    assert_eq!(refusal(&verifier, &token), None);
    assert_eq!(refusal(&at(&clock), &token), None);
    clock.set(end);
    assert_eq!(
        refusal(&verifier, &token),
        Some(ErrorKind::Expired),
        "remembered"
    );
    assert_eq!(
        refusal(&at(&clock), &token),
        Some(ErrorKind::Expired),
        "new"
    );
}

/// V21
#[test]
fn a_token_from_the_future_is_not_valid_yet() {
    for claim in ["iat", "nbf"] {
        for (offset, refused) in [(0, false), (30, false), (31, true), (3600, true)] {
            let token = token_with_claims(claims_with(json!({ claim: NOW + offset })));
            let expected = refused.then_some(ErrorKind::NotYetValid);
            assert_eq!(refusal(&verifier(), &token), expected, "{claim} +{offset}");
        }
        let token = token_with_claims(claims_with(json!({ claim: (1_u64 << 53) - 1 })));
        assert_eq!(refusal(&verifier(), &token), Some(ErrorKind::NotYetValid));
    }
}

/// V21
#[test]
fn the_greatest_expiry_does_not_overflow_and_a_greater_one_is_no_date() {
    let token = token_with_claims(claims_with(json!({ "exp": (1_u64 << 53) - 1 })));
    assert_eq!(refusal(&verifier(), &token), None);
    let late = at(&ManualClock::new(Timestamp::MAX));
    assert_eq!(refusal(&late, &token), Some(ErrorKind::Expired));
    let token = token_with_claims(claims_with(json!({ "exp": u64::MAX })));
    assert!(matches!(
        refusal(&verifier(), &token),
        Some(ErrorKind::InvalidClaim(_))
    ));
}

/// V21
#[test]
fn a_clock_that_steps_back_and_forth_is_followed() {
    let clock = clock();
    let verifier = at(&clock);
    let token = good_token();
    assert_eq!(refusal(&verifier, &token), None);
    clock.advance(Duration::from_secs(7200));
    assert_eq!(refusal(&verifier, &token), Some(ErrorKind::Expired));
    clock.set(Timestamp::from_secs(NOW + 10));
    assert_eq!(refusal(&verifier, &token), None);
    clock.set(Timestamp::default());
    assert_eq!(refusal(&at(&clock), &token), Some(ErrorKind::NotYetValid));
}

/// V21
#[test]
fn a_leeway_beyond_five_minutes_is_refused() {
    for (seconds, works) in [(0, true), (300, true), (301, false), (u64::MAX, false)] {
        let built = builder().leeway(Duration::from_secs(seconds)).build();
        assert_eq!(built.is_ok(), works, "{seconds}");
    }
    assert!(builder().leeway(Duration::MAX).build().is_err());
}
