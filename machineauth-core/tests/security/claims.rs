//! Claims have the types that the RFCs give them, or the token is refused.

use machineauth_core::{ClaimName, Claims, ErrorKind};
use serde_json::json;

use crate::support::*;

const TEXTS: [(&str, ClaimName); 8] = [
    ("iss", ClaimName::Issuer),
    ("sub", ClaimName::Subject),
    ("jti", ClaimName::JwtId),
    ("client_id", ClaimName::ClientId),
    ("agent_id", ClaimName::AgentId),
    ("org_id", ClaimName::OrganizationId),
    ("team_id", ClaimName::TeamId),
    ("fid", ClaimName::FamilyId),
];
const DATES: [(&str, ClaimName); 3] = [
    ("exp", ClaimName::ExpiresAt),
    ("nbf", ClaimName::NotBefore),
    ("iat", ClaimName::IssuedAt),
];

fn assert_refused(name: &str, claim: ClaimName, values: &[&str]) {
    for value in values {
        let token = token_with_claims(claims_with_raw(name, value));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::InvalidClaim(claim)),
            "{name}: {value}"
        );
    }
}

/// V3
#[test]
fn a_claim_that_is_text_is_nothing_else() {
    let others = [
        "null",
        "0",
        "-1",
        "1e3",
        "1e400",
        "true",
        "[]",
        "[\"a\"]",
        "[\"a\",1]",
        "{}",
        "{\"a\":\"b\"}",
    ];
    for (name, claim) in TEXTS {
        assert_refused(name, claim, &others);
    }
}

/// V3, V21
#[test]
fn a_date_is_a_number_of_seconds_below_two_to_the_53() {
    let others = [
        "null",
        "true",
        "\"\"",
        "\"1800003600\"",
        "[]",
        "[1800003600]",
        "{}",
        "-1",
        "-0.5",
        "-1e300",
        "1e400",
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "1e16",
        "1e308",
    ];
    for (name, claim) in DATES {
        assert_refused(name, claim, &others);
    }
}

/// RFC 7519 §2 allows fractions of a second.
#[test]
fn a_fractional_date_is_cut_to_whole_seconds() {
    let claims = Claims::parse(claims_with_raw("exp", "1800003600.9").as_bytes()).unwrap();
    assert_eq!(claims.expires_at, 1_800_003_600);
    let claims = Claims::parse(claims_with_raw("exp", "1.8e9").as_bytes()).unwrap();
    assert_eq!(claims.expires_at, 1_800_000_000);
}

/// V3
#[test]
fn an_audience_is_a_string_or_an_array_of_strings_with_something_in_it() {
    let long = serde_json::to_string(&vec!["a"; 65]).unwrap();
    let mixed = format!("[\"{AUDIENCE}\",1]");
    let with_null = format!("[\"{AUDIENCE}\",null]");
    let nested = format!("[[\"{AUDIENCE}\"]]");
    let others = [
        "null", "0", "true", "{}", "[]", "[null]", &mixed, &with_null, &nested, &long,
    ];
    assert_refused("aud", ClaimName::Audience, &others);
}

/// V3
#[test]
fn an_audience_that_is_not_ours_is_refused_and_one_of_many_is_enough() {
    for aud in [
        json!("https://api.example.com/"),
        json!("HTTPS://api.example.com"),
        json!(""),
        json!(["a", "b"]),
    ] {
        let token = token_with_claims(claims_with(json!({ "aud": aud })));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::WrongAudience),
            "{aud}"
        );
    }
    let token = token_with_claims(claims_with(json!({ "aud": ["other", AUDIENCE] })));
    assert_eq!(refusal(&verifier(), &token), None);
}

/// V3
#[test]
fn a_claim_that_is_required_must_be_there() {
    for (name, claim) in [
        ("iss", ClaimName::Issuer),
        ("sub", ClaimName::Subject),
        ("aud", ClaimName::Audience),
        ("exp", ClaimName::ExpiresAt),
    ] {
        let token = token_with_claims(claims_without(name));
        assert_eq!(
            refusal(&verifier(), &token),
            Some(ErrorKind::InvalidClaim(claim)),
            "{name}"
        );
    }
    let token = token_with_claims(claims_with(json!({ "sub": "" })));
    assert_eq!(
        refusal(&verifier(), &token),
        Some(ErrorKind::InvalidClaim(ClaimName::Subject))
    );
}

/// V3
#[test]
fn scope_generation_and_confirmation_have_their_types_too() {
    assert_refused(
        "scope",
        ClaimName::Scope,
        &[
            "null",
            "0",
            "{}",
            "true",
            "[1]",
            "[\"a b\"]",
            "[null]",
            "\"\\u0000\"",
        ],
    );
    assert_refused(
        "gen",
        ClaimName::Generation,
        &["null", "\"1\"", "-1", "1.5", "[]", "1e400"],
    );
    assert_refused(
        "cnf",
        ClaimName::Confirmation,
        &["null", "\"jkt\"", "[]", "1", "{\"a\":1,\"a\":1}"],
    );
}

#[test]
fn a_scope_may_be_a_string_or_an_array() {
    for scope in [json!("read write"), json!(["read", "write"])] {
        let token = token_with_claims(claims_with(json!({ "scope": scope })));
        let agent = verifier().check(&token).unwrap();
        assert!(agent.has_scope("read") && agent.has_scope("write") && !agent.has_scope("admin"));
    }
}

#[test]
fn an_empty_organization_reads_as_none_and_unknown_claims_are_kept() {
    let claims = claims_with(
        json!({ "org_id": "", "team_id": "", "dock_id": "d1", "nested": { "a": [1] } }),
    );
    let claims = Claims::parse(claims.as_bytes()).unwrap();
    assert_eq!((claims.organization_id, claims.team_id), (None, None));
    assert_eq!(claims.extra["dock_id"], "d1");
    assert_eq!(claims.extra["nested"], json!({ "a": [1] }));
}

/// V17: nothing here can prove possession, so a bound token is no bearer token.
#[test]
fn a_token_bound_to_a_key_is_refused() {
    let token = token_with_claims(claims_with(json!({ "cnf": { "jkt": "abc" } })));
    assert_eq!(
        refusal(&verifier(), &token),
        Some(ErrorKind::InvalidClaim(ClaimName::Confirmation))
    );
}

/// V10
#[test]
fn duplicate_members_nesting_and_invalid_utf_8_are_refused() {
    let good = claims_with(json!({}));
    let inside = good.strip_suffix('}').unwrap();
    let deep = format!("{inside},\"x\":{}{}}}", "[".repeat(16), "]".repeat(16));
    for payload in [
        format!("{inside},\"sub\":\"admin\"}}"),
        format!("{inside},\"\\u0073ub\":\"admin\"}}"),
        format!("{inside},\"exp\":9999999999}}"),
        format!("{inside},\"x\":1,\"x\":1}}"),
        format!("{inside},\"x\":[{{\"y\":1,\"y\":1}}]}}"),
        deep,
        format!("{good}{good}"),
        format!("{good} x"),
        format!("[{good}]"),
        format!("\u{feff}{good}"),
        good.replace("client-1", "\\ud800"),
        inside.to_owned(),
        String::new(),
    ] {
        let refused = refusal(&verifier(), &token_with_claims(&payload));
        assert!(
            matches!(
                refused,
                Some(ErrorKind::MalformedToken | ErrorKind::InvalidClaim(_))
            ),
            "{refused:?} for {payload}"
        );
    }
    for bytes in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ] {
        let payload = [inside.as_bytes(), b",\"x\":\"", bytes, b"\"}"].concat();
        assert_eq!(
            refusal(&verifier(), &token_with_claims(payload)),
            Some(ErrorKind::MalformedToken)
        );
    }
}
