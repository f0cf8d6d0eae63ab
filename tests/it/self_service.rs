//! What an agent does to itself with its own access token, and who a bearer is.

use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use reqwest::Method;
use serde_json::json;

async fn me(issuer: &Issuer, token: &str, method: Method, path: &str) -> Answer {
    issuer
        .bearer(token, method, &format!("/api/agents/me{path}"), None)
        .await
}

async fn with_token(issuer: &Issuer) -> (Agent, String) {
    let agent = issuer.agent(&["read", "write"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    (agent, token)
}

#[tokio::test]
async fn an_agent_sees_itself_and_what_it_has_done() {
    let (issuer, _clock) = Issuer::at_fixed_time().await;
    let (agent, token) = with_token(&issuer).await;
    let shown = me(&issuer, &token, Method::GET, "").await.json();
    assert_eq!(shown["agent"]["id"], json!(agent.id));
    assert_eq!(shown["agent"]["client_id"], json!(agent.client_id));
    assert_eq!(shown["agent"]["token_count"], 1);
    let as_administrator = issuer
        .admin(Method::GET, &format!("/api/agents/{}", agent.id), None)
        .await;
    assert_eq!(shown, as_administrator.json());

    let usage = me(&issuer, &token, Method::GET, "/usage").await.json();
    assert_eq!(usage["rotation_history"], json!([]));
    assert_eq!(
        (&usage["token_count"], &usage["refresh_count"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(usage["agent"], shown["agent"]);
    assert_eq!(usage["organization_id"], "");

    let rotated = me(&issuer, &token, Method::POST, "/rotate").await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let usage = me(&issuer, &token, Method::GET, "/usage").await.json();
    assert_eq!(
        usage["rotation_history"],
        json!([{ "rotated_at": "2027-01-15T08:00:00Z", "rotated_by_ip": "127.0.0.1" }])
    );
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    let renewed = Agent {
        client_secret: rotated.str("client_secret"),
        ..agent
    };
    assert_eq!(issuer.token_answer(&renewed).await.status, 200);
}

#[tokio::test]
async fn the_history_of_rotations_is_bounded() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let (_, token) = with_token(&issuer).await;
    for _ in 0..25 {
        clock.advance(Duration::from_secs(60));
        me(&issuer, &token, Method::POST, "/rotate").await;
    }
    let usage = me(&issuer, &token, Method::GET, "/usage").await.json();
    let history = usage["rotation_history"].as_array().unwrap().clone();
    assert_eq!(history.len(), 20);
    assert_eq!(history[19]["rotated_at"], "2027-01-15T08:25:00Z");
}

/// I11
#[tokio::test]
async fn an_agent_undoes_its_own_deactivation_and_nobody_elses() {
    let issuer = Issuer::start().await;
    let (agent, token) = with_token(&issuer).await;
    let as_administrator = async |action: &str| {
        let path = format!("/api/agents/{}/{action}", agent.id);
        assert_eq!(issuer.admin(Method::POST, &path, None).await.status, 200);
    };
    let deactivated = me(&issuer, &token, Method::POST, "/deactivate").await;
    assert_eq!(deactivated.str("message"), "agent deactivated successfully");
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "/usage"),
        (Method::POST, "/rotate"),
        (Method::POST, "/deactivate"),
        (Method::DELETE, "/delete"),
    ] {
        me(&issuer, &token, method, path)
            .await
            .expect_error(401, "invalid_token");
    }
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    assert_eq!(issuer.introspect(&token).await["active"], false);

    let reactivated = me(&issuer, &token, Method::POST, "/reactivate").await;
    assert_eq!(reactivated.str("message"), "agent reactivated successfully");
    assert_eq!(issuer.introspect(&token).await["active"], true);
    assert_eq!(issuer.token_answer(&agent).await.status, 200);

    as_administrator("deactivate").await;
    me(&issuer, &token, Method::POST, "/reactivate")
        .await
        .expect_error(403, "forbidden");
    as_administrator("reactivate").await;

    // An administrator's decision outweighs the agent's own, whichever came first.
    me(&issuer, &token, Method::POST, "/deactivate").await;
    as_administrator("deactivate").await;
    me(&issuer, &token, Method::POST, "/reactivate")
        .await
        .expect_error(403, "forbidden");
    as_administrator("reactivate").await;
    me(&issuer, &token, Method::POST, "/deactivate").await;
    let path = format!("/api/agents/{}", agent.id);
    let inactive = json!({ "is_active": false });
    let changed = issuer.admin(Method::PATCH, &path, Some(inactive)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    me(&issuer, &token, Method::POST, "/reactivate")
        .await
        .expect_error(403, "forbidden");
    as_administrator("reactivate").await;
    assert_eq!(me(&issuer, &token, Method::GET, "").await.status, 200);
}

/// I11
#[tokio::test]
async fn a_token_that_was_ended_for_good_reactivates_nobody() {
    let issuer = Issuer::start().await;
    let (_, token) = with_token(&issuer).await;
    let request = issuer
        .request(Method::POST, "/api/agents/me/deactivate")
        .bearer_auth(&token)
        .json(&json!({ "revoke_tokens": true }));
    assert_eq!(Answer::to(request).await.status, 200);
    me(&issuer, &token, Method::POST, "/reactivate")
        .await
        .expect_error(401, "invalid_token");
}

#[tokio::test]
async fn an_agent_deletes_itself_in_three_ways() {
    let issuer = Issuer::start().await;
    for (method, path) in [
        (Method::DELETE, ""),
        (Method::DELETE, "/delete"),
        (Method::POST, "/delete"),
    ] {
        let (agent, token) = with_token(&issuer).await;
        assert_eq!(me(&issuer, &token, method, path).await.status, 204);
        me(&issuer, &token, Method::GET, "")
            .await
            .expect_error(401, "invalid_token");
        issuer
            .admin(Method::GET, &format!("/api/agents/{}", agent.id), None)
            .await
            .expect_error(404, "not_found");
    }
}

/// I12
#[tokio::test]
async fn only_an_agents_own_access_token_for_this_server_opens_self_service() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    let agent = issuer
        .create(
            json!({ "name": "a", "scopes": ["read"], "audiences": ["https://api.example.com"] }),
        )
        .await;
    let (revoked, refresh_token) = issuer.tokens(&agent).await;
    issuer.revoke(&revoked).await;
    let form = agent.form(&[
        ("grant_type", "client_credentials"),
        ("resource", "https://api.example.com"),
    ]);
    let for_another = issuer.post("/oauth/token", &form).await.str("access_token");
    for token in [
        &key,
        &revoked,
        &refresh_token,
        &for_another,
        &"x.y.z".to_owned(),
    ] {
        let answer = me(&issuer, token, Method::GET, "").await;
        answer.expect_error(401, "invalid_token");
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
    }
}

/// RFC 6750 §3.1: to whoever sent no token nothing is said of errors.
#[tokio::test]
async fn without_a_token_the_challenge_asks_for_one_and_names_no_error() {
    let issuer = Issuer::start().await;
    for path in ["/api/agents/me", "/api/verify"] {
        let get = || issuer.request(Method::GET, path);
        for request in [get(), get().basic_auth(ADMIN.0, Some(ADMIN.1))] {
            let answer = Answer::to(request).await;
            answer.expect_error(401, "invalid_token");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, "Bearer realm=\"machineauth\"");
        }
    }
}

/// V18, V23: a good token is refused as well, where it does not stand alone and in its place.
#[tokio::test]
async fn credentials_in_two_places_in_the_url_or_malformed_are_an_invalid_request() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&[]).await;
    let (token, _) = issuer.tokens(&agent).await;
    for path in ["/api/agents/me", "/api/agents"] {
        let get = || issuer.request(Method::GET, path);
        let in_url = || issuer.request(Method::GET, &format!("{path}?access_token={token}"));
        for request in [
            get().bearer_auth(&token).bearer_auth(&token),
            get().bearer_auth(&token).basic_auth(ADMIN.0, Some(ADMIN.1)),
            in_url(),
            in_url().bearer_auth(&token),
            get().header("cookie", format!("access_token={token}")),
            get().header("authorization", format!("Bearer {token} {token}")),
            get().header("authorization", "Bearer"),
        ] {
            let answer = Answer::to(request).await;
            answer.expect_error(400, "invalid_request");
            let challenge = answer.header("www-authenticate");
            assert_eq!(
                challenge,
                "Bearer realm=\"machineauth\", error=\"invalid_request\""
            );
        }
    }
    // A proxy that asks for somebody else takes this for a fault of its own.
    let twice = issuer.request(Method::GET, "/api/verify");
    let twice = twice.bearer_auth(&token).bearer_auth(&token);
    Answer::to(twice).await.expect_error(401, "invalid_token");
}

#[tokio::test]
async fn a_bearer_is_verified_with_the_claims_in_headers() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let agent = issuer.agent_in(&organization, &["read", "write"]).await;
    let form = agent.form(&[("grant_type", "client_credentials"), ("scope", "read")]);
    let token = issuer.post("/oauth/token", &form).await.str("access_token");
    let verified = issuer
        .bearer(&token, Method::GET, "/api/verify", None)
        .await;
    let body = verified.json();
    for (field, value) in [
        ("valid", json!(true)),
        ("agent_id", json!(agent.id)),
        ("client_id", json!(agent.client_id)),
        ("name", json!("test agent")),
        ("scopes", json!(["read"])),
        ("is_active", json!(true)),
        ("token_count", json!(1)),
        ("organization_id", json!(organization)),
    ] {
        assert_eq!(body[field], value, "{field}");
    }
    for (header, value) in [
        ("x-agent-id", agent.id.as_str()),
        ("x-client-id", &agent.client_id),
        ("x-org-id", &organization),
        ("x-agent-scopes", "read"),
    ] {
        assert_eq!(verified.header(header), value, "{header}");
    }

    let key = issuer
        .api_key(&organization, json!({ "name": "key" }))
        .await;
    for answer in [
        issuer.bearer(&key, Method::GET, "/api/verify", None).await,
        Answer::to(
            issuer
                .request(Method::GET, "/api/verify")
                .header("x-api-key", &key),
        )
        .await,
    ] {
        let body = answer.json();
        assert_eq!(
            (&body["valid"], &body["auth_method"]),
            (&json!(true), &json!("api_key"))
        );
        assert_eq!(body["organization_id"], json!(organization));
        assert_eq!(answer.header("x-org-id"), organization);
    }
    for token in ["mach_wrong", "x.y.z"] {
        issuer
            .bearer(token, Method::GET, "/api/verify", None)
            .await
            .expect_error(401, "invalid_token");
    }
    issuer.revoke(&token).await;
    issuer
        .bearer(&token, Method::GET, "/api/verify", None)
        .await
        .expect_error(401, "invalid_token");
}

#[tokio::test]
async fn a_token_is_verified_for_the_audience_that_is_asked_about() {
    let issuer = Issuer::start().await;
    let agent = issuer
        .create(
            json!({ "name": "a", "scopes": ["read"], "audiences": ["https://api.example.com"] }),
        )
        .await;
    let form = agent.form(&[
        ("grant_type", "client_credentials"),
        ("audience", "https://api.example.com"),
    ]);
    let token = issuer.post("/oauth/token", &form).await.str("access_token");
    let verify = async |query: &str| {
        issuer
            .bearer(&token, Method::GET, &format!("/api/verify{query}"), None)
            .await
    };
    assert_eq!(
        verify("?audience=https://api.example.com").await.status,
        200
    );
    verify("").await.expect_error(401, "invalid_token");
    verify("?audience=https://other.example.com")
        .await
        .expect_error(401, "invalid_token");
}
