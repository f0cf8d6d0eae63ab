//! `POST /oauth/token`, the client credentials grant: RFC 6749 §4.4, §5.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use machineauth_core::clock::{Clock as _, Timestamp};
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::token::claims;
use reqwest::Method;
use serde_json::{Value, json};

/// Verifies a token with another library, from nothing but the published key set.
async fn verified_elsewhere(issuer: &Issuer, token: &str) -> Value {
    let jwks: JwkSet =
        serde_json::from_str(&issuer.get("/.well-known/jwks.json").await.text).unwrap();
    let header = decode_header(token).unwrap();
    let jwk = jwks.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["machineauth-api"]);
    validation.set_issuer(&[&issuer.base]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation)
        .unwrap()
        .claims
}

#[tokio::test]
async fn a_token_carries_the_documented_claims_and_verifies_elsewhere() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    let answer = issuer.token_answer(&agent).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["scope"], "read write");
    assert_eq!(body["expires_in"], 86_400);
    let token = answer.str("access_token");
    let claims = verified_elsewhere(&issuer, &token).await;
    assert_eq!(claims["sub"], agent.client_id);
    assert_eq!(claims["agent_id"], agent.id);
    assert_eq!(claims["scope"], json!(["read", "write"]));
    assert_eq!(claims["iat"], body["issued_at"]);
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        86_400
    );
    for (name, is_there) in [
        ("jti", claims["jti"].is_string()),
        ("gen", claims["gen"] == 0),
        ("fid", claims["fid"].is_string()),
    ] {
        assert!(is_there, "{name} in {claims}");
    }
    assert_eq!(decode_header(&token).unwrap().typ.as_deref(), Some("JWT"));
}

#[tokio::test]
async fn every_signing_algorithm_verifies_elsewhere() {
    for algorithm in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ] {
        let issuer = Issuer::builder()
            .with("JWT_SIGNING_ALGORITHM", algorithm)
            .start()
            .await;
        let agent = issuer.agent(&["read"]).await;
        let (token, _) = issuer.tokens(&agent).await;
        assert_eq!(
            verified_elsewhere(&issuer, &token).await["sub"],
            agent.client_id,
            "{algorithm}"
        );
        assert_eq!(
            issuer.introspect(&token).await["active"],
            true,
            "{algorithm}"
        );
        let keys = issuer.get("/.well-known/jwks.json").await.json();
        assert_eq!(keys["keys"][0]["alg"], algorithm);
    }
}

#[tokio::test]
async fn the_rfc_9068_profile_has_its_type_and_claims() {
    let issuer = Issuer::builder()
        .with("JWT_PROFILE", "rfc9068")
        .start()
        .await;
    let agent = issuer.agent(&["read", "write"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let claims = verified_elsewhere(&issuer, &token).await;
    assert_eq!(claims["scope"], "read write");
    assert_eq!(claims["client_id"], agent.client_id);
    assert_eq!(
        decode_header(&token).unwrap().typ.as_deref(),
        Some("at+jwt")
    );
    assert_eq!(issuer.introspect(&token).await["active"], true);
}

#[tokio::test]
async fn a_json_body_gets_the_same_as_a_form() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    for content_type in ["application/json", "application/json;charset=UTF-8"] {
        let body = json!({
            "grant_type": "client_credentials", "client_id": agent.client_id, "client_secret": agent.client_secret, "scope": "read",
        });
        let request = issuer
            .request(Method::POST, "/oauth/token")
            .header("content-type", content_type)
            .body(body.to_string());
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
    }
}

#[tokio::test]
async fn the_answer_says_which_of_the_requested_scopes_were_granted() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write"]).await;
    for (requested, granted) in [
        ("read", "read"),
        ("read admin", "read"),
        ("write,read", "write read"),
        ("", "read write"),
    ] {
        let form = agent.form(&[("grant_type", "client_credentials"), ("scope", requested)]);
        let answer = issuer.post("/oauth/token", &form).await;
        assert_eq!(answer.str("scope"), granted, "{requested}");
    }
}

/// I8
#[tokio::test]
async fn no_requested_scope_of_its_own_is_invalid_scope() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    for scope in ["admin", "admin write", "re\"ad", "read\\", "rëad"] {
        let form = agent.form(&[("grant_type", "client_credentials"), ("scope", scope)]);
        issuer
            .post("/oauth/token", &form)
            .await
            .expect_error(400, "invalid_scope");
    }
}

/// I8
#[tokio::test]
async fn a_strict_server_refuses_what_it_would_have_to_narrow() {
    let issuer = Issuer::builder()
        .with("SCOPE_POLICY", "strict")
        .start()
        .await;
    let agent = issuer.agent(&["read", "write"]).await;
    let ask = async |scope| {
        issuer
            .post(
                "/oauth/token",
                &agent.form(&[("grant_type", "client_credentials"), ("scope", scope)]),
            )
            .await
    };
    ask("read admin").await.expect_error(400, "invalid_scope");
    assert_eq!(ask("read").await.str("scope"), "read");
}

/// I4
#[tokio::test]
async fn no_answer_with_a_token_or_secret_is_cached() {
    let issuer = Issuer::start().await;
    let created = issuer
        .admin(Method::POST, "/api/agents", Some(json!({ "name": "a" })))
        .await;
    assert_eq!(created.header("cache-control"), "no-store");
    let agent = issuer.agent(&["read"]).await;
    let granted = issuer.token_answer(&agent).await;
    assert_eq!(granted.header("cache-control"), "no-store");
    let token = granted.str("access_token");
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        assert_eq!(
            issuer
                .post(path, &[("token", &token)])
                .await
                .header("cache-control"),
            "no-store",
            "{path}"
        );
    }
    let rotated = issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}/rotate", agent.id),
            None,
        )
        .await;
    assert_eq!(rotated.header("cache-control"), "no-store");

    let organization = issuer.organization("acme").await;
    let path = format!("/api/organizations/{organization}/api-keys");
    let body = Some(json!({ "name": "k" }));
    let key = issuer.admin(Method::POST, &path, body.clone()).await;
    assert_eq!(key.header("cache-control"), "no-store");
    let path = format!("/v1/organizations/{organization}/machine-clients");
    let machine = issuer.admin(Method::POST, &path, body).await;
    assert_eq!(machine.header("cache-control"), "no-store");
    let path = format!("{path}/{}/rotate", machine.str("clientId"));
    let rotated = issuer.admin(Method::POST, &path, None).await;
    assert_eq!(rotated.header("cache-control"), "no-store");
    let verified = issuer
        .bearer(&key.str("key"), Method::GET, "/api/verify", None)
        .await;
    assert_eq!(verified.header("cache-control"), "no-store");
}

#[tokio::test]
async fn what_is_no_grant_type_of_ours_is_refused() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&[]).await;
    for grant_type in [
        "password",
        "authorization_code",
        "CLIENT_CREDENTIALS",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ] {
        issuer
            .post("/oauth/token", &agent.form(&[("grant_type", grant_type)]))
            .await
            .expect_error(400, "unsupported_grant_type");
    }
    issuer
        .post("/oauth/token", &agent.form(&[]))
        .await
        .expect_error(400, "invalid_request");
}

/// I1
#[tokio::test]
async fn credentials_in_the_url_and_get_requests_are_refused() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, refresh_token) = issuer.tokens(&agent).await;
    let credentials = format!(
        "client_id={}&client_secret={}",
        agent.client_id, agent.client_secret
    );
    for (path, query, form) in [
        (
            "/oauth/token",
            credentials.as_str(),
            vec![("grant_type", "client_credentials")],
        ),
        (
            "/v1/oauth/token",
            &credentials,
            vec![("grant_type", "client_credentials")],
        ),
        (
            "/oauth/refresh",
            &format!("refresh_token={refresh_token}"),
            agent.form(&[]),
        ),
        ("/oauth/introspect", &format!("token={token}"), vec![]),
        ("/oauth/revoke", &format!("token={token}"), vec![]),
    ] {
        let path_and_query = format!("{path}?{query}");
        issuer
            .post(&path_and_query, &form)
            .await
            .expect_error(400, "invalid_request");
        let answer = issuer.get(&path_and_query).await;
        answer.expect_error(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "POST", "{path}");
    }
    assert_eq!(
        issuer.introspect(&token).await["active"],
        true,
        "nothing was revoked"
    );
}

/// I22
#[tokio::test]
async fn every_malformed_body_gets_a_sentence_that_helps() {
    let issuer = Issuer::start().await;
    for (content_type, body, status) in [
        ("application/json", "{".to_owned(), 400),
        ("application/json", "[]".to_owned(), 400),
        ("application/json", r#"{"grant_type":{}}"#.to_owned(), 400),
        (
            "text/plain",
            "grant_type=client_credentials".to_owned(),
            400,
        ),
        (
            "application/x-www-form-urlencoded",
            "grant_type=a&grant_type=a".to_owned(),
            400,
        ),
        (
            "application/x-www-form-urlencoded",
            "grant_type=%ff".to_owned(),
            400,
        ),
        (
            "application/x-www-form-urlencoded",
            format!("x={}", "a".repeat(64 * 1024)),
            413,
        ),
    ] {
        let request = issuer
            .request(Method::POST, "/oauth/token")
            .header("content-type", content_type)
            .body(body);
        Answer::to(request)
            .await
            .expect_error(status, "invalid_request");
    }
}

#[tokio::test]
async fn a_token_never_outlives_its_agent() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer
        .create(json!({ "name": "brief", "expires_in": 60 }))
        .await;
    let end = clock.now().as_secs() + 60;
    for lived in [0, 59] {
        clock.set(Timestamp::from_secs(end - 60 + lived));
        let answer = issuer.token_answer(&agent).await;
        assert_eq!(answer.json()["expires_in"], 60 - lived, "{}", answer.text);
        assert_eq!(claims(&answer.str("access_token"))["exp"], end);
        let refresh_token = answer.str("refresh_token");
        let refreshed = issuer.refresh(&agent, &refresh_token).await;
        assert_eq!(
            refreshed.json()["expires_in"],
            60 - lived,
            "{}",
            refreshed.text
        );
        assert_eq!(claims(&refreshed.str("access_token"))["exp"], end);
    }
}
