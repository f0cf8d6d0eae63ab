//! A short smoke of the fuzz targets of those who verify.

#[expect(unreachable_pub, reason = "there it is a library")]
#[path = "../../fuzz/src/verifiers.rs"]
mod targets;

#[expect(unreachable_pub, reason = "others include it as well")]
#[path = "../../fuzz/smoke.rs"]
mod tampering;

use tampering::smoke;

/// How many variations.
const CASES: u32 = 2_000;

/// V23
#[test]
fn tokens_that_were_tampered_with_do_no_harm() {
    smoke("jws", CASES, targets::jws);
}

/// V9, V10
#[test]
fn key_sets_that_were_tampered_with_do_no_harm() {
    smoke("jwk", CASES, targets::jwk);
}

/// V22
#[test]
fn proofs_that_were_tampered_with_do_no_harm() {
    smoke("dpop", CASES, targets::dpop);
}

/// V19
#[test]
fn paths_and_policies_that_were_tampered_with_do_no_harm() {
    smoke("policy", CASES, targets::policy);
}

/// V24
#[test]
fn feeds_that_were_tampered_with_do_no_harm() {
    smoke("feed", CASES, targets::feed);
}
