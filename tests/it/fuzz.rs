//! A short smoke of the fuzz targets of the issuer (I22).

#[expect(unreachable_pub, reason = "there it is a library")]
#[path = "../../fuzz/src/issuer.rs"]
mod targets;

#[expect(unreachable_pub, reason = "others include it as well")]
#[path = "../../fuzz/smoke.rs"]
mod tampering;

use tampering::smoke;

/// How many variations.
const CASES: u32 = 2_000;

/// I22
#[test]
fn requests_that_were_tampered_with_are_never_our_fault() {
    smoke("requests", CASES, targets::requests);
}

/// I21, I22
#[test]
fn settings_that_were_tampered_with_are_explained_and_tell_no_secret() {
    smoke("configuration", CASES, targets::configuration);
}

/// I22
#[test]
fn imports_that_were_tampered_with_are_judged() {
    smoke("imports", CASES, targets::imports);
}

/// I22
#[test]
fn backups_that_were_tampered_with_are_refused() {
    smoke("backups", CASES, targets::backups);
}

/// I22
#[test]
fn keys_that_were_tampered_with_do_no_harm() {
    smoke("pem", CASES, targets::pem);
}

/// I22
#[test]
fn words_that_were_tampered_with_do_no_harm() {
    smoke("words", CASES, targets::words);
}

/// I16
#[test]
fn urls_that_were_tampered_with_lead_to_nothing_of_ours() {
    smoke("webhook_urls", CASES, targets::webhook_urls);
}

/// I22
#[test]
fn what_is_stored_and_was_tampered_with_does_no_harm() {
    smoke("stored", CASES, targets::stored);
}
