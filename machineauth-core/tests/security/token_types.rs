//! Other JWTs of the same issuer are no access tokens.

use machineauth_core::{ErrorKind, TokenTypes};
use serde_json::json;

use crate::support::*;

/// V14
#[test]
fn the_types_of_access_tokens_are_accepted_in_any_case() {
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
        "application/jwt",
    ] {
        let token = token_with_header(header_with(json!({ "typ": typ })));
        assert_eq!(refusal(&verifier(), &token), None, "{typ}");
    }
    assert_eq!(
        refusal(
            &verifier(),
            &token_with_header(r#"{"alg":"ES256","kid":"key-1"}"#)
        ),
        None
    );
}

/// V14
#[test]
fn every_other_type_is_refused() {
    for typ in [
        "dpop+jwt",
        "logout+jwt",
        "token-introspection+jwt",
        "secevent+jwt",
        "client-authentication+jwt",
        "oauth-authz-req+jwt",
        "application/dpop+jwt",
        "JOSE",
        "JWE",
        "",
        "at+jwt ",
        "at jwt",
        "text/at+jwt",
        "application/application/at+jwt",
        "application/",
        "äpplication/at+jwt",
        "applicationä+jwt",
    ] {
        let token = token_with_header(header_with(json!({ "typ": typ })));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::InvalidType),
            "{typ:?}"
        );
    }
}

/// V14
#[test]
fn an_id_token_is_refused_although_its_typ_is_jwt() {
    for claim in ["nonce", "at_hash", "c_hash"] {
        for value in [json!("abc"), json!(null), json!(1)] {
            let token = token_with_claims(claims_with(json!({ claim: value })));
            assert_eq!(
                refusal(&verifier(), &token),
                Some(ErrorKind::InvalidType),
                "{claim}"
            );
        }
    }
}

/// V14
#[test]
fn a_verifier_can_insist_on_rfc_9068() {
    let verifier = builder().token_types(TokenTypes::Rfc9068).build().unwrap();
    for (typ, accepted) in [
        ("at+jwt", true),
        ("application/AT+jwt", true),
        ("JWT", false),
        ("dpop+jwt", false),
    ] {
        let token = token_with_header(header_with(json!({ "typ": typ })));
        assert_eq!(refusal(&verifier, &token).is_none(), accepted, "{typ}");
    }
    let untyped = token_with_header(r#"{"alg":"ES256","kid":"key-1"}"#);
    assert_eq!(refusal(&verifier, &untyped), Some(ErrorKind::InvalidType));
}
