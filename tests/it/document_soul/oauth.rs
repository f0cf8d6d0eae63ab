//! OAuth 2.0 Endpoints.

use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::document::assert_exact_shape;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

use super::json_post;

/// The same parameters in both documented content types.
async fn in_both_forms(issuer: &Issuer, path: &str, parameters: &[(&str, &str)]) -> [Answer; 2] {
    let object: serde_json::Map<_, _> = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    [
        issuer.post(path, parameters).await,
        json_post(issuer, path, Value::Object(object)).await,
    ]
}

fn token_response() -> Value {
    json!({
        "access_token": "eyJhbGciOiJSUzI1NiIs...",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "read write",
        "issued_at": 1_709_380_800,
        "refresh_token": "",
    })
}

#[tokio::test]
async fn post_token_with_client_credentials() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read", "write", "admin"]).await;
    let parameters = agent.form(&[
        ("grant_type", "client_credentials"),
        ("scope", "read write"),
    ]);
    for granted in in_both_forms(&issuer, "/oauth/token", &parameters).await {
        assert_eq!(granted.status, 200, "{}", granted.text);
        let body = granted.json();
        assert_exact_shape(&body, &token_response());
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["scope"], "read write");
        assert_eq!(body["issued_at"], 1_800_000_000);
        assert!(granted.str("access_token").starts_with("eyJ"));
        // Decided: the refresh token is a signed value, not a UUID.
        assert!(granted.str("refresh_token").starts_with("rt_"));
    }
}

#[tokio::test]
async fn post_token_filters_scopes_separated_by_spaces_or_commas() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    for (requested, granted) in [
        ("read write", "read write"),
        ("read,write", "read write"),
        ("write", "write"),
        ("read admin", "read"),
    ] {
        let parameters = agent.form(&[("grant_type", "client_credentials"), ("scope", requested)]);
        for answer in in_both_forms(&issuer, "/oauth/token", &parameters).await {
            assert_eq!(answer.str("scope"), granted, "{requested}");
            let scopes: Vec<_> = granted.split(' ').collect();
            assert_eq!(claims(&answer.str("access_token"))["scope"], json!(scopes));
        }
    }
    let all = issuer.token_answer(&agent).await;
    assert_eq!(all.str("scope"), "read write", "without a scope all");
}

#[tokio::test]
async fn post_token_with_a_refresh_token() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    for in_json in [false, true] {
        let (_, refresh_token) = issuer.tokens(&agent).await;
        let parameters = agent.form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh_token),
        ]);
        let refreshed = match in_json {
            false => issuer.post("/oauth/token", &parameters).await,
            true => {
                let body = json!({
                    "grant_type": "refresh_token",
                    "refresh_token": refresh_token,
                });
                json_post(&issuer, "/oauth/token", body).await
            }
        };
        assert_eq!(refreshed.status, 200, "{}", refreshed.text);
        assert_exact_shape(&refreshed.json(), &token_response());
    }
}

#[tokio::test]
async fn post_token_refuses_with_the_documented_codes() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let wrong = Agent {
        client_secret: "your-secret-here".into(),
        ..agent.clone()
    };
    let unknown = Agent {
        client_id: "00000000-0000-4000-8000-000000000000".into(),
        ..agent.clone()
    };
    let grant = ("grant_type", "client_credentials");
    let refresh = ("grant_type", "refresh_token");
    // Decided: 401 for invalid_client and 400 for the rest (RFC 6749 §5.2), where the document says 400 and 401.
    for (parameters, status, error) in [
        (agent.form(&[]), 400, "invalid_request"),
        (wrong.form(&[grant]), 401, "invalid_client"),
        (unknown.form(&[grant]), 401, "invalid_client"),
        (vec![grant], 401, "invalid_client"),
        (agent.form(&[refresh]), 400, "invalid_request"),
        (
            agent.form(&[refresh, ("refresh_token", "rt_unknown")]),
            400,
            "invalid_grant",
        ),
        (
            agent.form(&[("grant_type", "password")]),
            400,
            "unsupported_grant_type",
        ),
    ] {
        for answer in in_both_forms(&issuer, "/oauth/token", &parameters).await {
            answer.expect_error(status, error);
        }
    }
    let wrong = issuer.token_answer(&wrong).await;
    assert_eq!(wrong.str("error_description"), "invalid client credentials");
}

#[tokio::test]
async fn post_introspect_describes_an_active_token() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    for answer in in_both_forms(&issuer, "/oauth/introspect", &[("token", &token)]).await {
        assert_eq!(answer.status, 200);
        let answer = answer.json();
        for (name, value) in [
            ("active", json!(true)),
            ("scope", json!("read write")),
            ("client_id", json!(agent.client_id)),
            ("exp", json!(1_800_086_400)),
            ("iat", json!(1_800_000_000)),
            ("token_type", json!("Bearer")),
        ] {
            assert_eq!(answer[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn post_introspect_says_why_a_token_is_inactive() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (expired, _) = issuer.tokens(&agent).await;
    clock.advance(Duration::from_secs(86_400));
    let (revoked, _) = issuer.tokens(&agent).await;
    issuer.revoke(&revoked).await;
    for (token, expected) in [
        (
            revoked.as_str(),
            json!({ "active": false, "revoked": true, "reason": "revoked" }),
        ),
        (&expired, json!({ "active": false, "reason": "expired" })),
        ("malformed", json!({ "active": false })),
    ] {
        for answer in in_both_forms(&issuer, "/oauth/introspect", &[("token", token)]).await {
            assert_eq!(
                (answer.status.as_u16(), answer.json()),
                (200, expected.clone())
            );
        }
    }
}

#[tokio::test]
async fn post_revoke_ends_either_kind_of_token_whatever_the_hint() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    for hint in [None, Some("access_token"), Some("refresh_token")] {
        for is_refresh in [false, true] {
            for in_json in [0, 1] {
                let (access, refresh) = issuer.tokens(&agent).await;
                let token = if is_refresh { &refresh } else { &access };
                let mut parameters = vec![("token", token.as_str())];
                parameters.extend(hint.map(|hint| ("token_type_hint", hint)));
                let answers = in_both_forms(&issuer, "/oauth/revoke", &parameters).await;
                let answer = &answers[in_json];
                assert_eq!(
                    (answer.status.as_u16(), answer.json()),
                    (200, json!({ "status": "revoked" })),
                    "{hint:?}"
                );
                assert_eq!(issuer.introspect(token).await["active"], false);
            }
        }
    }
    issuer
        .post("/oauth/revoke", &[])
        .await
        .expect_error(400, "invalid_request");
}

#[tokio::test]
async fn post_refresh_needs_no_client_and_checks_one_that_is_there() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let other = issuer.agent(&["read", "write"]).await;
    let (mut access, mut refresh_token) = issuer.tokens(&agent).await;
    for body in [
        json!({ "grant_type": "refresh_token" }),
        json!({}),
        json!({ "client_id": agent.client_id, "client_secret": agent.client_secret }),
        json!({ "client_id": agent.client_id }),
    ] {
        let body = super::with(body, json!({ "refresh_token": refresh_token }));
        let refreshed = json_post(&issuer, "/oauth/refresh", body).await;
        assert_eq!(refreshed.status, 200, "{}", refreshed.text);
        assert_exact_shape(&refreshed.json(), &token_response());
        assert_ne!(refreshed.str("access_token"), access, "a new access token");
        (access, refresh_token) = (
            refreshed.str("access_token"),
            refreshed.str("refresh_token"),
        );
    }
    let form = [("refresh_token", refresh_token.as_str())];
    let refreshed = issuer.post("/oauth/refresh", &form).await;
    refresh_token = refreshed.str("refresh_token");
    for (client_id, client_secret, status, error) in [
        (&agent.client_id, "wrong", 401, "invalid_client"),
        (
            &other.client_id,
            other.client_secret.as_str(),
            400,
            "invalid_grant",
        ),
    ] {
        let body = json!({
            "refresh_token": refresh_token,
            "client_id": client_id,
            "client_secret": client_secret,
        });
        json_post(&issuer, "/oauth/refresh", body)
            .await
            .expect_error(status, error);
    }
    json_post(&issuer, "/oauth/refresh", json!({}))
        .await
        .expect_error(400, "invalid_request");
    let body = json!({ "grant_type": "client_credentials", "refresh_token": refresh_token });
    json_post(&issuer, "/oauth/refresh", body)
        .await
        .expect_error(400, "unsupported_grant_type");
    let unharmed = [("refresh_token", refresh_token.as_str())];
    assert_eq!(issuer.post("/oauth/refresh", &unharmed).await.status, 200);
}

#[tokio::test]
async fn another_method_is_refused_by_every_oauth_endpoint() {
    let issuer = Issuer::start().await;
    for path in [
        "/oauth/token",
        "/oauth/introspect",
        "/oauth/revoke",
        "/oauth/refresh",
    ] {
        let answer = Answer::to(issuer.request(Method::GET, path)).await;
        answer.expect_error(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "POST");
    }
}
