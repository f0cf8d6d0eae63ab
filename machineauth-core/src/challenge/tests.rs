use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::error::{ClaimName, ErrorKind};

fn challenge(kind: ErrorKind) -> Challenge {
    Challenge::new(&Error::from(kind))
}

#[test]
fn who_sent_no_credentials_learns_how_to_authenticate_and_no_error_code() {
    let challenge = challenge(ErrorKind::MissingToken).realm("api");
    assert_eq!(challenge.status(), 401);
    assert_eq!(
        challenge.www_authenticate().unwrap(),
        "Bearer realm=\"api\""
    );
    let bare = Challenge::from(Error::from(ErrorKind::MissingToken));
    assert_eq!(bare.www_authenticate().unwrap(), "Bearer");
}

#[test]
fn a_bad_token_is_401_invalid_token() {
    for kind in [
        ErrorKind::MalformedToken,
        ErrorKind::UnsupportedAlgorithm,
        ErrorKind::UnknownKey,
        ErrorKind::InvalidSignature,
        ErrorKind::InvalidType,
        ErrorKind::InvalidClaim(ClaimName::Audience),
        ErrorKind::Expired,
        ErrorKind::NotYetValid,
        ErrorKind::WrongIssuer,
        ErrorKind::WrongAudience,
        ErrorKind::Revoked,
        ErrorKind::Inactive,
    ] {
        let challenge = challenge(kind);
        assert_eq!(challenge.status(), 401, "{kind:?}");
        let header = challenge.www_authenticate().unwrap();
        let header = header.to_str().unwrap();
        assert!(
            header.starts_with("Bearer error=\"invalid_token\", error_description=\""),
            "{header}"
        );
    }
}

/// V18
#[test]
fn a_request_with_its_token_in_the_wrong_place_is_400_invalid_request() {
    for kind in [
        ErrorKind::MultipleTokens,
        ErrorKind::UnsupportedTokenTransport,
        ErrorKind::MalformedRequest,
    ] {
        let challenge = challenge(kind);
        assert_eq!(challenge.status(), 400);
        assert_eq!(challenge.error_code(), "invalid_request");
    }
}

/// V16, V24
#[test]
fn what_cannot_be_told_at_the_moment_is_503_and_asks_to_come_back() {
    for kind in [
        ErrorKind::KeysUnavailable,
        ErrorKind::IntrospectionUnavailable,
        ErrorKind::RevocationsStale,
    ] {
        let response: Response<Bytes> = challenge(kind).to_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    }
}

#[test]
fn the_body_repeats_the_description_as_message_and_must_not_be_stored() {
    let response: Response<Bytes> = challenge(ErrorKind::Expired).to_response();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["error"], "invalid_token");
    assert_eq!(
        body["error_description"],
        Error::from(ErrorKind::Expired).to_string()
    );
    assert_eq!(body["message"], body["error_description"]);
}

#[test]
fn a_missing_scope_names_the_scopes_and_where_to_learn_more() {
    let challenge = challenge(ErrorKind::InsufficientScope)
        .scopes(&"read write".parse().unwrap())
        .resource_metadata("https://api.example/.well-known/oauth-protected-resource");
    let header = challenge.www_authenticate().unwrap();
    let header = header.to_str().unwrap();
    assert!(
        header.ends_with(
            "scope=\"read write\", \
             resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\""
        ),
        "{header}"
    );
}

/// V22
#[test]
fn where_tokens_may_be_bound_the_challenge_says_how_in_its_own_scheme() {
    let dpop = Dpop::builder("https://api.example").algorithms([crate::Algorithm::ES256]);
    let dpop = dpop.require_nonces([7; 32]).build().unwrap();
    let challenges = |kind| {
        let response: Response<Bytes> = challenge(kind).dpop(&dpop).to_response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[DPOP_NONCE], dpop.nonce().unwrap());
        let values = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let values = values.map(|value| value.to_str().unwrap().to_owned());
        values.collect::<Vec<_>>()
    };
    assert_eq!(
        challenges(ErrorKind::MissingToken),
        ["Bearer", "DPoP algs=\"ES256\""]
    );
    for (kind, error) in [
        (ErrorKind::InvalidProof, "invalid_dpop_proof"),
        (ErrorKind::UseDpopNonce, "use_dpop_nonce"),
    ] {
        let only = challenges(kind);
        assert_eq!(only.len(), 1);
        assert!(only[0].starts_with(&format!("DPoP error=\"{error}\"")));
    }
    let both = challenges(ErrorKind::Expired);
    assert!(both[0].starts_with("Bearer error=\"invalid_token\""));
    assert!(both[1].starts_with("DPoP error=\"invalid_token\""));
}

fn grpc(kind: ErrorKind) -> Response<Bytes> {
    let content_type = HeaderValue::from_static("application/grpc-web+proto");
    challenge(kind)
        .description("100% no")
        .protocol(Protocol::Grpc(content_type))
        .to_response()
}

#[test]
fn grpc_callers_get_trailers_only_with_the_status_that_says_the_same() {
    for (kind, status) in [
        (ErrorKind::MissingToken, "16"),
        (ErrorKind::Expired, "16"),
        (ErrorKind::InsufficientScope, "7"),
        (ErrorKind::Forbidden, "7"),
        (ErrorKind::KeysUnavailable, "14"),
        (ErrorKind::MultipleTokens, "3"),
        (ErrorKind::InvalidConfiguration, "13"),
    ] {
        let response = grpc(kind);
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()[CONTENT_TYPE],
            "application/grpc-web+proto"
        );
        assert_eq!(response.headers()["grpc-status"], status, "{kind:?}");
        assert_eq!(response.headers()["grpc-message"], "100%25 no");
        assert!(response.body().is_empty());
    }
    let unavailable = grpc(ErrorKind::RevocationsStale);
    assert_eq!(unavailable.headers()["grpc-retry-pushback-ms"], "5000");
}

/// RFC 9470 §3
#[test]
fn who_must_authenticate_again_is_told_how() {
    let challenge = challenge(ErrorKind::InsufficientUserAuthentication)
        .acr_values("mfa pwd")
        .max_age(Duration::from_secs(300));
    assert_eq!(challenge.status(), 401);
    let header = challenge.www_authenticate().unwrap();
    let header = header.to_str().unwrap();
    assert!(
        header.starts_with("Bearer error=\"insufficient_user_authentication\", "),
        "{header}"
    );
    assert!(
        header.ends_with("acr_values=\"mfa pwd\", max_age=\"300\""),
        "{header}"
    );
}

proptest! {
    #[test]
    fn no_text_breaks_out_of_its_quotes(realm in any::<String>(), url in any::<String>()) {
        let challenge = challenge(ErrorKind::MissingToken).realm(&realm).resource_metadata(&url);
        let header = challenge.www_authenticate().unwrap();
        let header = header.to_str().unwrap();
        prop_assert_eq!(header.matches('"').count(), 4);
        prop_assert!(!header.contains('\\'));
    }
}
