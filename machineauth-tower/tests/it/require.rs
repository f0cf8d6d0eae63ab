use axum::Router;
use axum::routing::get;
use machineauth_core::{ErrorKind, Revocation};
use machineauth_tower::RequireScopesLayer;

use crate::support::{Issuer, NOW, send, send_token, whoami};

#[tokio::test]
async fn a_scope_opens_its_route_and_only_that() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let token = issuer.token("read");
    assert_eq!(send_token(&app, "/read", &token).await.status, 200);

    let answer = send_token(&app, "/write", &token).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["error"], "insufficient_scope");
    assert!(
        answer
            .challenge()
            .starts_with("Bearer error=\"insufficient_scope\", ")
    );
    assert!(
        answer.challenge().ends_with("scope=\"write\""),
        "{}",
        answer.challenge()
    );
}

/// V17
#[tokio::test]
async fn a_cached_token_on_a_stricter_route_is_still_refused() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let token = issuer.token("read");
    for _ in 0..3 {
        assert_eq!(send_token(&app, "/read", &token).await.status, 200);
        assert_eq!(send_token(&app, "/write", &token).await.status, 403);
    }
}

/// V17
#[tokio::test]
async fn a_revoked_token_is_401_on_a_route_with_scopes_too() {
    let issuer = Issuer::new();
    let app = issuer.app();
    let token = issuer.token("read");
    assert_eq!(send_token(&app, "/read", &token).await.status, 200);
    issuer.revocations.apply(&Revocation::Suspended {
        agent_id: "agent-7".into(),
        until: NOW + 7200,
    });
    assert_eq!(send_token(&app, "/read", &token).await.status, 401);
    issuer.revocations.apply(&Revocation::Resumed {
        agent_id: "agent-7".into(),
    });
    assert_eq!(send_token(&app, "/read", &token).await.status, 200);
}

#[tokio::test]
async fn all_means_all_and_any_means_any() {
    let issuer = Issuer::new();
    let app = Router::new()
        .route(
            "/all",
            get(whoami).route_layer(RequireScopesLayer::new("a b").unwrap()),
        )
        .route(
            "/any",
            get(whoami).route_layer(RequireScopesLayer::any_of("a b").unwrap()),
        )
        .layer(issuer.layer());
    for (scope, all, any) in [
        ("a b c", 200, 200),
        ("b", 403, 200),
        ("ab", 403, 403),
        ("A B", 403, 403),
        ("", 403, 403),
    ] {
        let token = issuer.token(scope);
        assert_eq!(
            send_token(&app, "/all", &token).await.status,
            all,
            "{scope}"
        );
        assert_eq!(
            send_token(&app, "/any", &token).await.status,
            any,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn a_refusal_names_the_scopes_that_are_missing_and_no_others() {
    let issuer = Issuer::new();
    let all = RequireScopesLayer::new("a b c").unwrap();
    let any = RequireScopesLayer::any_of("a b").unwrap();
    let app = Router::new()
        .route("/all", get(whoami).route_layer(all))
        .route("/any", get(whoami).route_layer(any))
        .layer(issuer.layer());
    let message = async |path, scopes| {
        let answer = send_token(&app, path, &issuer.token(scopes)).await;
        assert_eq!(answer.status, 403);
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        message("/all", "a").await,
        "the access token lacks the scope `b` and `c`"
    );
    assert_eq!(
        message("/any", "c").await,
        "the access token needs the scope `a` or `b`"
    );
}

#[tokio::test]
async fn without_a_layer_that_verifies_nobody_gets_in() {
    let layer = RequireScopesLayer::new("read").unwrap().realm("artifacts");
    let app = Router::new().route("/", get(whoami)).route_layer(layer);
    let answer = send_token(&app, "/", "anything").await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.challenge(),
        "Bearer realm=\"artifacts\", scope=\"read\""
    );
    assert_eq!(send(&app, "/", &[]).await.status, 401);
}

#[tokio::test]
async fn a_challenge_for_scopes_says_where_to_learn_how_to_get_them() {
    let issuer = Issuer::new();
    let layer = RequireScopesLayer::new("write")
        .unwrap()
        .realm("artifacts")
        .resource_metadata("https://api.example/.well-known/oauth-protected-resource");
    let app = Router::new()
        .route("/", get(whoami).route_layer(layer))
        .layer(issuer.layer());
    let answer = send_token(&app, "/", &issuer.token("read")).await;
    assert_eq!(answer.status, 403);
    let parameters = [
        "realm=\"artifacts\"",
        "error=\"insufficient_scope\"",
        "scope=\"write\"",
        "resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\"",
    ];
    for parameter in parameters {
        assert!(
            answer.challenge().contains(parameter),
            "{}",
            answer.challenge()
        );
    }
}

#[test]
fn a_requirement_that_demands_nothing_or_nonsense_is_refused() {
    let kind = |scopes| RequireScopesLayer::new(scopes).unwrap_err().kind();
    assert_eq!(kind(""), ErrorKind::InvalidConfiguration);
    assert_eq!(kind("  "), ErrorKind::InvalidConfiguration);
    assert!(matches!(kind("re\"ad"), ErrorKind::InvalidClaim(_)));
    assert!(RequireScopesLayer::any_of("").is_err());
}
