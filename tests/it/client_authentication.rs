//! Client authentication: RFC 6749 §2.3.

use std::time::Duration;

use http::HeaderValue;
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

async fn with_basic(issuer: &Issuer, user: &str, password: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend_from_slice(more);
    Answer::to(
        issuer
            .request(Method::POST, "/oauth/token")
            .basic_auth(user, Some(password))
            .form(&form),
    )
    .await
}

/// Percent-encodes every byte that RFC 3986 does not call unreserved, and those too, as some clients do.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[tokio::test]
async fn basic_works_raw_and_percent_encoded() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    assert_eq!(
        with_basic(&issuer, &agent.client_id, &agent.client_secret, &[])
            .await
            .status,
        200
    );
    assert_eq!(
        with_basic(
            &issuer,
            &encoded(&agent.client_id),
            &encoded(&agent.client_secret),
            &[]
        )
        .await
        .status,
        200
    );
    // The name once more in the body is no second method.
    assert_eq!(
        with_basic(
            &issuer,
            &agent.client_id,
            &agent.client_secret,
            &[("client_id", &agent.client_id)]
        )
        .await
        .status,
        200
    );
}

/// I2
#[tokio::test]
async fn two_methods_at_once_are_refused() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let other = issuer.agent(&["read"]).await;
    for more in [
        [("client_secret", agent.client_secret.as_str())],
        [("client_id", other.client_id.as_str())],
    ] {
        with_basic(&issuer, &agent.client_id, &agent.client_secret, &more)
            .await
            .expect_error(400, "invalid_request");
    }
}

/// I3
#[tokio::test]
async fn whatever_is_wrong_with_a_client_the_answer_is_the_same() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let good = issuer.agent(&["read"]).await;
    let suspended = issuer.agent(&["read"]).await;
    issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}/deactivate", suspended.id),
            None,
        )
        .await;
    let expired = issuer
        .create(json!({ "name": "brief", "expires_in": 60 }))
        .await;
    clock.advance(Duration::from_secs(60));

    let unknown = Agent {
        client_id: "11111111-2222-4333-8444-555555555555".to_owned(),
        ..good.clone()
    };
    let malformed = Agent {
        client_id: "' OR 1=1 --".to_owned(),
        ..good.clone()
    };
    let wrong = Agent {
        client_secret: suspended.client_secret.clone(),
        ..good.clone()
    };
    for path in [
        "/oauth/token",
        "/v1/oauth/token",
        "/oauth/introspect",
        "/oauth/revoke",
    ] {
        let mut answers = Vec::new();
        for agent in [&unknown, &malformed, &wrong, &suspended, &expired] {
            let more = [("grant_type", "client_credentials"), ("token", "t")];
            let answer = issuer.post(path, &agent.form(&more)).await;
            answer.expect_error(401, "invalid_client");
            let mut headers = answer.headers.clone();
            headers.remove("date");
            // Names the request, not the client.
            headers.remove("x-request-id");
            assert!(headers.contains_key("www-authenticate"));
            answers.push((answer.text, headers));
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "{path}: {answers:#?}"
        );
    }
    assert_eq!(issuer.token_answer(&good).await.status, 200);
}

#[tokio::test]
async fn a_client_without_proof_is_asked_for_it() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    for form in [
        vec![("grant_type", "client_credentials")],
        vec![
            ("grant_type", "client_credentials"),
            ("client_id", agent.client_id.as_str()),
        ],
        vec![
            ("grant_type", "client_credentials"),
            ("client_id", agent.client_id.as_str()),
            ("client_secret", ""),
        ],
    ] {
        issuer
            .post("/oauth/token", &form)
            .await
            .expect_error(401, "invalid_client");
    }
}

/// V23
#[tokio::test]
async fn no_authorization_header_makes_the_server_fail() {
    let issuer = Issuer::start().await;
    for value in [
        b"Basic".as_slice(),
        b"Basic ",
        b"Basic !!!!",
        b"Basic Og==",
        b"Bearer x",
        b"\xff\xfe",
        b"Basic /////w==",
        b"Digest a=b",
        b",",
        b"",
    ] {
        let value = reqwest::header::HeaderValue::from_bytes(value).unwrap();
        let request = issuer
            .request(Method::POST, "/oauth/token")
            .header("authorization", value);
        let answer = Answer::to(request.form(&[("grant_type", "client_credentials")])).await;
        answer.expect_error(401, "invalid_client");
    }
}

#[tokio::test]
async fn a_rotated_secret_no_longer_works_and_the_new_one_does() {
    let issuer = Issuer::start().await;
    let mut agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let rotated = issuer
        .admin(
            Method::POST,
            &format!("/api/agents/{}", agent.id),
            Some(json!({ "action": "rotate" })),
        )
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    issuer
        .token_answer(&agent)
        .await
        .expect_error(401, "invalid_client");
    agent.client_secret = rotated.str("client_secret");
    assert_eq!(issuer.token_answer(&agent).await.status, 200);
    assert_eq!(
        issuer.introspect(&token).await["active"],
        true,
        "a plain rotation leaves tokens valid"
    );
}

/// I2
#[tokio::test]
async fn an_api_key_and_a_clients_secret_at_once_are_refused() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let agent = issuer.agent_in(&organization, &["read"]).await;
    let key = issuer.api_key(&organization, json!({ "name": "k" })).await;
    let (token, _) = issuer.tokens(&agent).await;
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let ask = || issuer.request(Method::POST, path).header("x-api-key", &key);
        let with_secret = ask().form(&agent.form(&[("token", &token)]));
        let with_bearer = ask().bearer_auth(&key).form(&[("token", &token)]);
        for request in [with_secret, with_bearer] {
            let answer = Answer::to(request).await;
            answer.expect_error(400, "invalid_request");
        }
        let no_text = HeaderValue::from_bytes(b"mach_\xe4").unwrap();
        let request = issuer
            .request(Method::POST, path)
            .header("x-api-key", no_text);
        let answer = Answer::to(request.form(&[("token", &token)])).await;
        answer.expect_error(401, "invalid_client");
    }
}
