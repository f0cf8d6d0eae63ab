use machineauth_core::{ResourceMetadata, Revocation};
use machineauth_tower::VerifiedAgent;
use proptest::prelude::*;
use serde_json::json;

use crate::support::{ISSUER, Issuer, NOW, app, send, send_token};

#[tokio::test]
async fn a_good_token_reaches_the_handler_with_its_agent() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let token = issuer.token("read");
    for _ in 0..2 {
        let answer = send_token(&app, "/", &token).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, "agent-7");
    }
}

#[tokio::test]
async fn without_a_token_the_caller_learns_how_to_authenticate_and_nothing_else() {
    let issuer = Issuer::new();
    let layer = issuer
        .layer()
        .realm("artifacts")
        .resource_metadata("https://api.example/.well-known/oauth-protected-resource");
    let answer = send(&app(layer), "/", &[]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.challenge(),
        "Bearer realm=\"artifacts\", \
         resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\""
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json()["message"], answer.json()["error_description"]);
}

#[tokio::test]
async fn a_bad_token_is_401_invalid_token_with_a_reason() {
    let issuer = Issuer::new();
    let stranger = Issuer::new();
    let app = issuer.app();
    let bad = [
        "garbage".to_owned(),
        stranger.token("read"),
        issuer.token_with(json!({"aud": "other-api"})),
        issuer.token_with(json!({"iss": format!("{ISSUER}/")})),
        issuer.token_with(json!({"exp": NOW - 3600})),
        issuer.token_with(json!({"nbf": NOW + 3600})),
        issuer.token_with(json!({"sub": 7})),
    ];
    for token in bad {
        let answer = send_token(&app, "/", &token).await;
        assert_eq!(answer.status, 401, "{token}");
        assert_eq!(answer.json()["error"], "invalid_token");
        assert!(
            answer
                .challenge()
                .starts_with("Bearer error=\"invalid_token\"")
        );
        assert!(
            !answer.body.contains(&token),
            "an answer never repeats a token"
        );
    }
}

/// V17
#[tokio::test]
async fn a_cached_token_is_refused_once_it_has_expired() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let token = issuer.token("read");
    assert_eq!(send_token(&app, "/", &token).await.status, 200);
    issuer.an_hour_passes();
    assert_eq!(send_token(&app, "/", &token).await.status, 401);
}

/// V17
#[tokio::test]
async fn a_cached_token_is_refused_once_it_is_revoked() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let token = issuer.token("read");
    assert_eq!(send_token(&app, "/", &token).await.status, 200);
    let revoked = Revocation::Token {
        jti: "token-1".into(),
        until: NOW + 7200,
    };
    issuer.revocations.apply(&revoked);
    let answer = send_token(&app, "/", &token).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"], "invalid_token");
}

/// V17
#[tokio::test]
async fn a_token_that_one_audience_has_cached_is_refused_by_another() {
    let issuer = Issuer::new();
    let token = issuer.token("read");
    assert_eq!(send_token(&issuer.app(), "/", &token).await.status, 200);
    let other = machineauth_core::Verifier::builder(ISSUER, "other-api")
        .clock(std::sync::Arc::new(issuer.clock.clone()))
        .keys(issuer.key_set())
        .build()
        .unwrap();
    let other = app(machineauth_tower::MachineAuthLayer::new(other));
    assert_eq!(send_token(&other, "/", &token).await.status, 401);
}

/// V18
#[tokio::test]
async fn a_token_anywhere_but_once_in_the_header_is_400_invalid_request() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let token = issuer.token("read");
    let header = format!("Bearer {token}").into_bytes();
    let cookie = format!("access_token={token}").into_bytes();
    let query = format!("/?access_token={token}");
    let authorization = ("authorization", &*header);

    let requests = [
        ("/", vec![authorization, authorization]),
        ("/", vec![authorization, ("authorization", b"Basic YTpi")]),
        (query.as_str(), vec![]),
        (query.as_str(), vec![authorization]),
        ("/", vec![("cookie", &*cookie)]),
        ("/", vec![authorization, ("cookie", &*cookie)]),
    ];
    for (path, headers) in requests {
        let answer = send(&app, path, &headers).await;
        assert_eq!(answer.status, 400, "{path} {}", headers.len());
        assert_eq!(answer.json()["error"], "invalid_request");
        assert!(
            answer
                .challenge()
                .starts_with("Bearer error=\"invalid_request\"")
        );
    }
}

#[tokio::test]
async fn optional_lets_nobody_through_as_nobody_and_a_bad_token_not_at_all() {
    let issuer = Issuer::new();
    let app = app(issuer.layer().optional());
    assert_eq!(send(&app, "/", &[]).await.body, "nobody");
    assert_eq!(
        send(&app, "/", &[("authorization", b"Basic YTpi")])
            .await
            .body,
        "nobody"
    );
    assert_eq!(
        send_token(&app, "/", &issuer.token("read")).await.body,
        "agent-7"
    );
    assert_eq!(send_token(&app, "/", "garbage").await.status, 401);
    assert_eq!(send(&app, "/?access_token=a", &[]).await.status, 400);
    assert_eq!(send(&app, "/read", &[]).await.status, 401);
}

/// V20: what a client sends cannot become a verified agent.
#[tokio::test]
async fn identity_headers_of_a_client_make_nobody_an_agent() {
    let issuer = Issuer::new();
    let app = app(issuer.layer().optional());
    let forged: [(&str, &[u8]); 3] = [
        ("x-agent-id", b"admin"),
        ("x-verified-agent", b"admin"),
        ("x-forwarded-user", b"admin"),
    ];
    assert_eq!(send(&app, "/", &forged).await.body, "nobody");
}

/// I21
#[tokio::test]
async fn debugging_an_agent_shows_who_it_is_and_no_token() {
    let issuer = Issuer::new();
    let token = issuer.token("read");
    let agent = issuer.verifier().check(&token).unwrap();
    let shown = format!("{agent:?}");
    assert!(
        shown.contains("agent-7") && !shown.contains(&token),
        "{shown}"
    );
    let layer = format!("{:?}", issuer.layer());
    assert!(layer.contains(ISSUER), "{layer}");
    fn is_what_handlers_get<T: Clone + Send + Sync + std::fmt::Debug>() {}
    is_what_handlers_get::<VerifiedAgent>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// V23
    #[test]
    fn any_bytes_in_the_header_are_answered_with_a_4xx(
        value in prop::collection::vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8], 0..60),
        scheme in prop::sample::select(vec!["", "Bearer ", "bearer  ", "Basic "]),
        dots in prop::bool::ANY,
    ) {
        let issuer = Issuer::new();
        let app = issuer.app();
        let mut header = scheme.as_bytes().to_vec();
        header.extend(&value);
        if dots {
            header.extend(b".a.b");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(send(&app, "/", &[("authorization", &header)]));
        prop_assert!(matches!(answer.status.as_u16(), 400 | 401), "{}", answer.status);
        prop_assert!(answer.json()["message"].is_string());
    }
}

/// RFC 9728 §3, §5.1
#[tokio::test]
async fn the_way_to_a_token_is_told_to_everybody() {
    let issuer = Issuer::new();
    let metadata = ResourceMetadata::new("https://api.example/mcp").unwrap();
    let app = app(issuer.layer().protects(metadata));
    let refused = send(&app, "/read", &[]).await;
    let place = "https://api.example/.well-known/oauth-protected-resource/mcp";
    assert_eq!(
        refused.challenge(),
        format!("Bearer resource_metadata=\"{place}\"")
    );

    let answer = send(&app, "/.well-known/oauth-protected-resource/mcp", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(answer.json()["resource"], "https://api.example/mcp");
    assert_eq!(
        answer.json()["authorization_servers"],
        serde_json::json!([ISSUER])
    );
    let elsewhere = send(&app, "/.well-known/oauth-protected-resource", &[]).await;
    assert_eq!(elsewhere.status, 401);
}

#[tokio::test]
async fn grpc_callers_are_refused_in_their_own_protocol() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let content_type = ("content-type", b"application/grpc".as_slice());
    let answer = send(&app, "/read", &[content_type]).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    assert_eq!(answer.headers["grpc-status"], "16");

    let token = format!("Bearer {}", issuer.token("read"));
    let authorization = ("authorization", token.as_bytes());
    let answer = send(&app, "/write", &[content_type, authorization]).await;
    assert_eq!(answer.headers["grpc-status"], "7");
    assert!(
        answer.headers["grpc-message"]
            .to_str()
            .unwrap()
            .contains("scope")
    );
}
