//! What the clients and verifiers of the real world depend on beyond the documents, a test for each fact. The programs
//! themselves run in `clients.rs`.

use std::time::Duration;

use machineauth_core::clock::{ManualClock, Timestamp};
use machineauth_tests::agent::Agent;
use machineauth_tests::document::is_date;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::token::claims;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

// The Go service's own clients

#[tokio::test]
async fn every_oauth_endpoint_takes_forms_and_json_with_or_without_a_charset() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    for content_type in [
        "application/json",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded;charset=utf-8",
        "application/x-www-form-urlencoded; charset=UTF-8",
    ] {
        let post = async |path: &str, parameters: &[(&str, &str)]| {
            let request = issuer
                .request(Method::POST, path)
                .form(parameters)
                .build()
                .unwrap();
            let form = request.body().and_then(reqwest::Body::as_bytes).unwrap();
            let object: serde_json::Map<String, Value> = parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            let body = match content_type.contains("json") {
                true => Value::Object(object).to_string().into_bytes(),
                false => form.to_vec(),
            };
            let request = issuer
                .request(Method::POST, path)
                .header("content-type", content_type)
                .body(body);
            let answer = Answer::to(request).await;
            assert_eq!(answer.status, 200, "{content_type} {path}: {}", answer.text);
            answer
        };
        let form = agent.form(&[("grant_type", "client_credentials")]);
        let granted = post("/oauth/token", &form).await;
        post("/v1/oauth/token", &form).await;
        let refresh_token = granted.str("refresh_token");
        let refreshed = post("/oauth/refresh", &[("refresh_token", &refresh_token)]).await;
        let token = refreshed.str("access_token");
        post("/oauth/introspect", &[("token", &token)]).await;
        post("/oauth/revoke", &[("token", &token)]).await;
    }
}

/// The administrators' four ways: Basic, the login's bearer, an API key and an `admin` agent of the organization.
#[tokio::test]
async fn administrators_come_in_four_ways() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let login = issuer
        .request(Method::POST, "/api/auth/login")
        .json(&json!({ "username": ADMIN.0, "password": ADMIN.1 }));
    let session = Answer::to(login).await.str("access_token");
    let key = issuer.api_key(&organization, json!({ "name": "k" })).await;
    let agent = issuer.agent_in(&organization, &["admin"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let list = "/api/agents";
    let basic = issuer.admin(Method::GET, list, None).await;
    assert_eq!(basic.status, 200);
    for bearer in [&session, &key, &token] {
        let answer = issuer.bearer(bearer, Method::GET, list, None).await;
        assert_eq!(answer.json(), basic.json());
        let created = json!({ "name": "a", "organization_id": organization });
        let created = issuer
            .bearer(bearer, Method::POST, list, Some(created))
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
        let path = format!("{list}/{}", Agent::read(&created).id);
        let deleted = issuer.bearer(bearer, Method::DELETE, &path, None).await;
        assert_eq!(deleted.status, 204);
    }
    let other = issuer.organization("other").await;
    for bearer in [&key, &token] {
        let path = format!("/api/organizations/{other}");
        let foreign = issuer.bearer(bearer, Method::GET, &path, None).await;
        foreign.expect_error(404, "not_found");
    }
}

#[tokio::test]
async fn the_consoles_login_answers_as_it_expects() {
    let issuer = Issuer::start().await;
    issuer.organization("acme").await;
    let login =
        async |body| Answer::to(issuer.request(Method::POST, "/api/auth/login").json(&body)).await;
    for name in ["username", "email"] {
        let answer = login(json!({ name: ADMIN.0, "password": ADMIN.1 })).await;
        let token = answer.str("access_token");
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.json(),
            json!({ "success": true, "access_token": token, "expires_in": 28_800, "role": "owner" })
        );
        let me = issuer
            .bearer(&token, Method::GET, "/api/auth/me", None)
            .await
            .json();
        for member in ["id", "email", "role"] {
            assert!(me["user"][member].is_string(), "{member} in {me}");
        }
        assert_eq!(me["memberships"].as_array().unwrap().len(), 1);
    }
    let refused = login(json!({ "username": ADMIN.0, "password": "wrong" })).await;
    assert_eq!(refused.status, 401);
    let refused = refused.json();
    for (member, value) in [
        ("success", json!(false)),
        ("access_token", json!("")),
        ("expires_in", json!(0)),
        ("role", json!("")),
    ] {
        assert_eq!(refused[member], value, "{member}");
    }
}

#[tokio::test]
async fn agents_are_rotated_suspended_and_changed_by_paths_of_their_own() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let path = format!("/api/agents/{}", agent.id);
    for (body, action) in [
        (None, "/rotate"),
        (Some(json!({})), "/rotate"),
        (Some(json!({ "action": "rotate" })), ""),
    ] {
        let rotated = issuer
            .admin(Method::POST, &format!("{path}{action}"), body)
            .await;
        assert!(rotated.str("client_secret").starts_with("cs_"));
    }
    for action in ["deactivate", "reactivate"] {
        let answer = issuer
            .admin(Method::POST, &format!("{path}/{action}"), None)
            .await;
        assert_eq!(answer.status, 200);
        assert!(answer.str("message").contains("agent"));
    }
    for method in [Method::PUT, Method::PATCH] {
        for change in [
            json!({ "name": "renamed" }),
            json!({ "description": "what it does" }),
            json!({ "tags": ["a", "b"] }),
            json!({ "metadata": { "owner": "me", "depth": { "n": 1 } } }),
            json!({ "scopes": ["write"] }),
            json!({ "status": "inactive" }),
            json!({ "is_active": true }),
            json!({ "expires_at": "2099-01-01T00:00:00Z" }),
        ] {
            let changed = issuer
                .admin(method.clone(), &path, Some(change.clone()))
                .await;
            assert_eq!(changed.status, 200, "{change}: {}", changed.text);
            for (name, value) in change.as_object().unwrap() {
                assert_eq!(&changed.json()["agent"][name], value, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn delete_me_deletes_as_me_delete_does() {
    let issuer = Issuer::start().await;
    for path in ["/api/agents/me", "/api/agents/me/delete"] {
        let agent = issuer.agent(&[]).await;
        let (token, _) = issuer.tokens(&agent).await;
        let deleted = issuer.bearer(&token, Method::DELETE, path, None).await;
        assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    }
}

#[tokio::test]
async fn allowed_origins_are_a_text_or_a_list() {
    let issuer = Issuer::start().await;
    let id = issuer.organization("acme").await;
    let both = "https://a.example.com,https://b.example.com";
    for origins in [
        json!(both),
        json!("https://a.example.com, https://b.example.com"),
        json!(["https://a.example.com", "https://b.example.com"]),
    ] {
        let path = format!("/api/organizations/{id}");
        let change = Some(json!({ "allowed_origins": origins }));
        let changed = issuer.admin(Method::PUT, &path, change).await;
        assert_eq!(changed.str("allowed_origins"), both);
    }
}

/// SDKs read `message`, OAuth clients `error` and `error_description`; all are in every error body.
#[tokio::test]
async fn every_error_body_carries_all_three_texts() {
    let issuer = Issuer::start().await;
    let big = "x".repeat(70_000);
    let big = [("token", big.as_str())];
    for (answer, status, error) in [
        (issuer.get("/nowhere").await, 404, "not_found"),
        (issuer.get("/oauth/token").await, 405, "method_not_allowed"),
        (issuer.get("/api/agents").await, 401, "unauthorized"),
        (issuer.get("/api/verify").await, 401, "invalid_token"),
        (
            issuer.post("/oauth/token", &[]).await,
            400,
            "invalid_request",
        ),
        (
            issuer.post("/oauth/revoke", &big).await,
            413,
            "invalid_request",
        ),
        (
            issuer.post("/api/agents", &[("name", "a")]).await,
            401,
            "unauthorized",
        ),
    ] {
        answer.expect_error(status, error);
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
    }
}

#[tokio::test]
async fn an_agent_always_has_an_organization_and_scopes_if_only_empty_ones() {
    let issuer = Issuer::start().await;
    let created = issuer
        .admin(Method::POST, "/api/agents", Some(json!({ "name": "bare" })))
        .await;
    let agent = Agent::read(&created);
    let (token, _) = issuer.tokens(&agent).await;
    let path = format!("/api/agents/{}", agent.id);
    let shown = issuer.admin(Method::GET, &path, None).await.json();
    let listed = issuer.admin(Method::GET, "/api/agents", None).await.json();
    let me = issuer
        .bearer(&token, Method::GET, "/api/agents/me", None)
        .await
        .json();
    for agent in [
        &created.json()["agent"],
        &shown["agent"],
        &listed["agents"][0],
        &me["agent"],
    ] {
        assert_eq!(agent["organization_id"], "", "{agent}");
        assert_eq!(agent["scopes"], json!([]), "{agent}");
    }
}

#[tokio::test]
async fn lists_are_whole_unless_a_page_is_asked_for() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    for number in 0..25 {
        let body = json!({ "name": format!("agent {number:02}"), "organization_id": organization });
        issuer.create(body).await;
    }
    let inactive = issuer.create(json!({ "name": "idle" })).await;
    let path = format!("/api/agents/{}/deactivate", inactive.id);
    issuer.admin(Method::POST, &path, None).await;
    let list = async |query: &str| {
        let path = format!("/api/agents{query}");
        let answer = issuer.admin(Method::GET, &path, None).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer.json()
    };
    let whole = list("").await;
    assert_eq!(whole["agents"].as_array().unwrap().len(), 26);
    assert_eq!(whole.get("pagination"), None);
    for (query, len, pagination) in [
        (
            "?page=1&limit=20",
            20,
            json!({ "total": 26, "page": 1, "limit": 20, "total_pages": 2 }),
        ),
        (
            "?page=2&limit=20",
            6,
            json!({ "total": 26, "page": 2, "limit": 20, "total_pages": 2 }),
        ),
        (
            "?page=1&limit=5&q=agent&sort=name",
            5,
            json!({ "total": 25, "page": 1, "limit": 5, "total_pages": 5 }),
        ),
        (
            "?page=1&limit=5&status=inactive",
            1,
            json!({ "total": 1, "page": 1, "limit": 5, "total_pages": 1 }),
        ),
        (
            &format!("?page=1&limit=5&org_id={organization}&status=active"),
            5,
            json!({ "total": 25, "page": 1, "limit": 5, "total_pages": 5 }),
        ),
    ] {
        let page = list(query).await;
        assert_eq!(page["agents"].as_array().unwrap().len(), len, "{query}");
        assert_eq!(page["pagination"], pagination, "{query}");
    }
}

#[tokio::test]
async fn stats_are_the_metrics_and_a_scraper_gets_text() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&[]).await;
    issuer.tokens(&agent).await;
    let stats = issuer.admin(Method::GET, "/api/stats", None).await.json();
    let get = async |accept: Option<&str>| {
        let request = issuer.request(Method::GET, "/metrics");
        Answer::to(match accept {
            Some(accept) => request.header("accept", accept),
            None => request,
        })
        .await
    };
    // Axios and Python's requests send these.
    for accept in [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("application/json, text/plain, */*"),
    ] {
        let mut metrics = get(accept).await.json();
        metrics["requests"] = stats["requests"].clone();
        assert_eq!(metrics, stats, "{accept:?}");
    }
    // Prometheus sends this.
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    for accept in ["text/plain", "application/openmetrics-text", prometheus] {
        let scraped = get(Some(accept)).await;
        let content_type = scraped.header("content-type");
        let text = ["text/plain", "application/openmetrics-text"];
        assert!(text.iter().any(|name| content_type.starts_with(name)));
        assert!(scraped.text.contains("machineauth_tokens_issued_total 1\n"));
    }
}

#[tokio::test]
async fn an_api_key_is_verified_in_either_header() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let key = issuer.api_key(&organization, json!({ "name": "k" })).await;
    for request in [
        issuer.request(Method::GET, "/api/verify").bearer_auth(&key),
        issuer
            .request(Method::GET, "/api/verify")
            .header("x-api-key", &key),
    ] {
        let verified = Answer::to(request).await.json();
        for (member, value) in [
            ("valid", json!(true)),
            ("auth_method", json!("api_key")),
            ("organization_id", json!(organization)),
        ] {
            assert_eq!(verified[member], value, "{member}");
        }
    }
}

/// The SDKs read `key_prefix`, the document and the console `prefix`.
#[tokio::test]
async fn an_api_keys_beginning_has_both_of_its_names() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let path = format!("/api/organizations/{organization}/api-keys");
    let body = Some(json!({ "name": "k" }));
    let created = issuer.admin(Method::POST, &path, body).await;
    let listed = issuer.admin(Method::GET, &path, None).await.json();
    for key in [&created.json()["api_key"], &listed["api_keys"][0]] {
        assert_eq!(key["prefix"], created.str("key")[..12]);
        assert_eq!(key["key_prefix"], key["prefix"]);
    }
}

/// The TypeScript SDK, once it renews tokens by itself, sends its last one with every request: expired or not, it is no
/// client authentication and does no harm.
#[tokio::test]
async fn a_bearer_token_beside_credentials_in_the_body_is_passed_over() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&["read"]).await;
    let (last, refresh_token) = issuer.tokens(&agent).await;
    clock.advance(Duration::from_secs(86_400));
    let post = async |path: &str, form: &[(&str, &str)], status| {
        let request = issuer.request(Method::POST, path).bearer_auth(&last);
        let answer = Answer::to(request.form(form)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        answer
    };
    let grant = ("grant_type", "client_credentials");
    let granted = post("/oauth/token", &agent.form(&[grant]), 200).await;
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
    ];
    post("/oauth/token", &agent.form(&refresh), 200).await;
    let token = granted.str("access_token");
    let described = post("/oauth/introspect", &[("token", &token)], 200).await;
    assert_eq!(described.json()["active"], true);
    post("/oauth/revoke", &[("token", &token)], 200).await;

    // It proves nothing either.
    post("/oauth/token", &[grant], 401).await;
    let wrong = Agent {
        client_secret: "wrong".into(),
        ..agent
    };
    post("/oauth/token", &wrong.form(&[grant]), 401).await;
}

/// Dates are RFC 3339 in UTC wherever an API shows one; Unix seconds are only in OAuth's bodies and in tokens.
#[tokio::test]
async fn dates_are_rfc_3339_and_unix_seconds_are_oauths() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let agent = issuer.agent_in(&organization, &["read"]).await;
    let granted = issuer.token_answer(&agent).await;
    let token = granted.str("access_token");
    let key = issuer.api_key(&organization, json!({ "name": "k" })).await;
    issuer.bearer(&key, Method::GET, "/api/agents", None).await;
    let mut dates = 0;
    for path in [
        "/api/agents".to_owned(),
        "/api/organizations".to_owned(),
        format!("/api/agents/{}/secrets", agent.id),
        format!("/api/organizations/{organization}/api-keys"),
        "/health/ready".to_owned(),
    ] {
        let answer = issuer.admin(Method::GET, &path, None).await.json();
        for_each_member(&answer, &mut |name, value| {
            if name.ends_with("_at") || name == "timestamp" {
                assert!(value.as_str().is_some_and(is_date), "{name} in {answer}");
                dates += 1;
            }
        });
    }
    assert!(dates >= 9, "{dates}");
    assert!(granted.json()["issued_at"].is_u64());
    assert!(claims(&token)["exp"].is_u64());
    assert!(issuer.introspect(&token).await["exp"].is_u64());
}

fn for_each_member(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            visit(name, value);
            for_each_member(value, visit);
        }),
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| for_each_member(element, visit)),
        _ => {}
    }
}

// Standard OAuth clients

/// Clients disagree about percent-encoding in Basic; these texts read the same either way.
#[tokio::test]
async fn identifiers_and_secrets_need_no_encoding() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    let agent = issuer.agent(&["read"]).await;
    let path = format!("/v1/organizations/{organization}/machine-clients");
    let machine = issuer
        .admin(Method::POST, &path, Some(json!({ "name": "m" })))
        .await;
    let (_, refresh_token) = issuer.tokens(&agent).await;
    for text in [
        &agent.client_id,
        &agent.client_secret,
        &refresh_token,
        &issuer.api_key(&organization, json!({ "name": "k" })).await,
        &machine.str("clientId"),
        &machine.str("clientSecret"),
    ] {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        assert!(text.bytes().all(plain), "{text}");
    }
}

/// Whatever a client percent-encodes of its credentials, the server reads the same.
#[test]
fn any_percent_encoding_of_basic_is_understood() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let issuer = runtime.block_on(Issuer::start());
    let agent = runtime.block_on(issuer.agent(&["read"]));
    let encoded = |text: &str, mask: u128| -> String {
        text.bytes()
            .enumerate()
            .map(|(at, byte)| match mask >> (at % 128) & 1 {
                1 => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            })
            .collect()
    };
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(64)
    });
    let outcome = runner.run(&any::<u128>(), |mask| {
        let secret = encoded(&agent.client_secret, mask.rotate_left(64));
        let request = issuer
            .request(Method::POST, "/oauth/token")
            .basic_auth(encoded(&agent.client_id, mask), Some(secret))
            .form(&[("grant_type", "client_credentials")]);
        let answer = runtime.block_on(Answer::to(request));
        prop_assert_eq!(answer.status, 200, "{}", answer.text);
        Ok(())
    });
    outcome.unwrap();
}

/// oauth4webapi refuses an answer without `token_type`, with an empty `refresh_token`, or with a null member.
#[tokio::test]
async fn a_token_answer_has_no_empty_and_no_null_member() {
    let issuer = Issuer::start().await;
    let without_refresh = issuer
        .create(json!({ "name": "a", "scopes": ["read"], "refresh_tokens": false }))
        .await;
    let with_refresh = issuer.agent(&["read"]).await;
    for (agent, has_refresh) in [(without_refresh, false), (with_refresh, true)] {
        let answer = issuer.token_answer(&agent).await;
        // The Rust oauth2 crate demands it.
        assert!(
            answer
                .header("content-type")
                .starts_with("application/json")
        );
        let answer = answer.json();
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(answer.get("refresh_token").is_some(), has_refresh);
        for_each_member(&answer, &mut |name, value| {
            assert!(!value.is_null() && value != "", "{name} in {answer}");
        });
    }
}

/// requests-oauthlib raises when the granted scope is another than the requested one: what can be granted is, in the
/// requested order.
#[tokio::test]
async fn a_scope_that_can_be_granted_comes_back_as_it_was_requested() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read", "write", "admin"]).await;
    for scope in ["read", "write read", "admin write read"] {
        let form = agent.form(&[("grant_type", "client_credentials"), ("scope", scope)]);
        let answer = issuer.post("/oauth/token", &form).await;
        assert_eq!(answer.str("scope"), scope);
    }
}

#[tokio::test]
async fn both_metadata_documents_name_the_issuer_exactly() {
    let issuer = Issuer::start().await;
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        let metadata = issuer.get(path).await.json();
        assert_eq!(metadata["issuer"], issuer.base);
        let methods = &metadata["token_endpoint_auth_methods_supported"];
        for method in ["client_secret_basic", "client_secret_post"] {
            let methods = methods.as_array().unwrap();
            assert!(methods.contains(&json!(method)), "{method}");
        }
    }
    let agent = issuer.agent(&[]).await;
    let (token, _) = issuer.tokens(&agent).await;
    assert_eq!(claims(&token)["iss"], issuer.base);
}

/// Go's `x/oauth2` tries Basic first and the body after any error; the pair is one failure for the lock-out (I6).
#[tokio::test]
async fn a_wrong_secret_in_basic_and_then_in_the_body_is_one_failure() {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let issuer = Issuer::builder()
        .clock(&clock)
        .with("FAILURE_LIMIT", "6")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let as_go_does = async |secret: &str| {
        let grant = [("grant_type", "client_credentials")];
        let basic = issuer
            .request(Method::POST, "/oauth/token")
            .basic_auth(&agent.client_id, Some(secret))
            .form(&grant);
        let first = Answer::to(basic).await;
        if first.status == 200 {
            return first;
        }
        let form = [
            grant[0],
            ("client_id", agent.client_id.as_str()),
            ("client_secret", secret),
        ];
        issuer.post("/oauth/token", &form).await
    };
    for guess in 0..5 {
        as_go_does(&format!("wrong {guess}"))
            .await
            .expect_error(401, "invalid_client");
    }
    assert_eq!(as_go_does(&agent.client_secret).await.status, 200);
    as_go_does("wrong again").await;
    as_go_does(&agent.client_secret)
        .await
        .expect_error(429, "too_many_requests");
}

// Verifiers

/// PyJWT fails on a key of `alg: Ed25519`, jsonwebtoken on one of an unknown `kty`.
#[tokio::test]
async fn the_key_set_has_only_algorithms_and_types_that_verifiers_know() {
    for (algorithm, kty) in [("RS256", "RSA"), ("ES256", "EC"), ("EdDSA", "OKP")] {
        let issuer = Issuer::builder()
            .with("JWT_SIGNING_ALGORITHM", algorithm)
            .start()
            .await;
        let keys = issuer.get("/.well-known/jwks.json").await.json();
        for key in keys["keys"].as_array().unwrap() {
            assert_eq!((&key["alg"], &key["kty"]), (&json!(algorithm), &json!(kty)));
        }
    }
}

/// jose caches a key set for ten minutes: a new key is published longer than that before it signs (I23).
#[tokio::test]
async fn a_new_key_is_published_ten_minutes_before_it_signs() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let agent = issuer.agent(&[]).await;
    let kid = async || {
        let (token, _) = issuer.tokens(&agent).await;
        jsonwebtoken::decode_header(&token).unwrap().kid.unwrap()
    };
    let published = async || {
        let keys = issuer.get("/.well-known/jwks.json").await.json();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = kid().await;
    let rotated = issuer.admin(Method::POST, "/api/keys/rotate", None).await;
    assert!(rotated.status.is_success(), "{}", rotated.text);
    let set = published().await;
    assert_eq!(set.len(), 2);
    clock.advance(Duration::from_secs(600));
    assert_eq!(
        kid().await,
        first,
        "a verifier's cache may be ten minutes old"
    );
    clock.advance(Duration::from_secs(600));
    let second = kid().await;
    assert_ne!(second, first);
    assert!(set.contains(&second), "{second} in {set:?}");
}
