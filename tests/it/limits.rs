//! How much, how deep and how odd a request can be (I22).

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::json;

const OAUTH: [&str; 5] = [
    "/oauth/token",
    "/v1/oauth/token",
    "/oauth/refresh",
    "/oauth/introspect",
    "/oauth/revoke",
];
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

async fn post(
    issuer: &Issuer,
    path: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request = issuer
        .request(Method::POST, path)
        .header("content-type", content_type)
        .body(body);
    Answer::to(request).await
}

/// I22
#[tokio::test]
async fn an_oauth_body_has_64_kib_and_32_parameters_at_most() {
    let issuer = Issuer::start().await;
    for path in OAUTH {
        // The last byte that fits makes it a request like any other: something else is wrong with it.
        for (length, status) in [(64 * 1024, 400), (64 * 1024 + 1, 413)] {
            let body = format!("x={}", "a".repeat(length - 2));
            let answer = post(&issuer, path, FORM, body).await;
            answer.expect_error(status, "invalid_request");
        }
        for (count, complaint) in [(32, "missing"), (33, "32")] {
            let names: Vec<_> = (0..count).map(|number| format!("p{number}")).collect();
            let form = names.join("=1&") + "=1";
            let members: Vec<_> = names
                .iter()
                .map(|name| format!("\"{name}\":\"1\""))
                .collect();
            let object = format!("{{{}}}", members.join(","));
            for (content_type, body) in [(FORM, form), (JSON, object)] {
                let answer = post(&issuer, path, content_type, body).await;
                answer.expect_error(400, "invalid_request");
                let message = answer.str("message");
                assert!(message.contains(complaint), "{path} {count}: {message}");
            }
        }
    }
}

/// I22
#[tokio::test]
async fn an_administrators_body_has_a_mebibyte_at_most() {
    let issuer = Issuer::start().await;
    let limit = 1024 * 1024;
    for (length, status) in [(limit, 400), (limit + 1, 413)] {
        let frame = json!({ "name": "" }).to_string().len();
        let body = json!({ "name": "a".repeat(length - frame) }).to_string();
        assert_eq!(body.len(), length);
        let request = issuer
            .request(Method::POST, "/api/agents")
            .basic_auth("admin@example.com", Some("changeme"))
            .header("content-type", JSON)
            .body(body);
        Answer::to(request)
            .await
            .expect_error(status, "invalid_request");
    }
}

/// I22
#[tokio::test]
async fn json_that_is_nested_without_end_is_refused() {
    let issuer = Issuer::start().await;
    let deep = "[".repeat(30_000);
    let inside = format!("{{\"name\":\"a\",\"metadata\":{{\"a\":{deep}");
    for path in OAUTH {
        for body in [deep.clone(), inside.clone()] {
            let answer = post(&issuer, path, JSON, body).await;
            answer.expect_error(400, "invalid_request");
        }
    }
    for body in [deep, inside] {
        let request = issuer
            .request(Method::POST, "/api/agents")
            .basic_auth("admin@example.com", Some("changeme"))
            .header("content-type", JSON)
            .body(body);
        Answer::to(request)
            .await
            .expect_error(400, "invalid_request");
    }
}

fn many_cases() -> Config {
    Config {
        failure_persistence: None,
        ..Config::with_cases(256)
    }
}

/// Every byte, whatever it is.
fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Sends what `strategy` makes, many times, and looks only at whether the server stands it.
fn never_fails<T: std::fmt::Debug>(
    strategy: impl Strategy<Value = T>,
    request: impl Fn(&Issuer, T) -> Option<reqwest::RequestBuilder>,
) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let issuer = runtime.block_on(Issuer::start());
    let mut runner = TestRunner::new(many_cases());
    let outcome = runner.run(&strategy, |value| {
        let Some(request) = request(&issuer, value) else {
            return Ok(());
        };
        let answer = runtime.block_on(Answer::to(request));
        prop_assert!(answer.status.as_u16() < 500, "{}", answer.text);
        Ok(())
    });
    outcome.unwrap();
}

/// I22
#[test]
fn no_body_of_an_oauth_request_makes_the_server_fail() {
    let paths = prop::sample::select(OAUTH.to_vec());
    let types = prop::sample::select(vec![FORM, JSON, "text/plain", ""]);
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[a-z_]{1,13}=[%a-f0-9+&=]{0,60}".prop_map(String::into_bytes),
        r#"\{"(grant_type|token|scope|client_id)":("[a-z\\u0-9]{0,9}"|[0-9e.]{1,5}|null|\[\])\}"#
            .prop_map(String::into_bytes),
    ];
    never_fails(
        (paths, types, body),
        |issuer, (path, content_type, body)| {
            let request = issuer.request(Method::POST, path).body(body);
            Some(request.header("content-type", content_type))
        },
    );
}

/// I22
#[test]
fn no_authorization_header_and_no_api_key_makes_the_server_fail() {
    let paths = prop::sample::select(vec![
        "/oauth/token",
        "/oauth/introspect",
        "/api/agents",
        "/api/agents/me",
        "/api/verify",
    ]);
    let scheme = prop::sample::select(vec![
        "",
        "Basic ",
        "Bearer ",
        "basic  ",
        "Bearer mach_",
        "Bearer rt_",
    ]);
    let names = prop::sample::select(vec!["authorization", "x-api-key"]);
    let value = prop::collection::vec(0x20_u8..=0xff, 0..120);
    never_fails(
        (paths, names, scheme, value),
        |issuer, (path, name, scheme, value)| {
            let mut header = scheme.as_bytes().to_vec();
            header.extend(value);
            let header = reqwest::header::HeaderValue::from_bytes(&header).ok()?;
            let method = if path.starts_with("/oauth") {
                Method::POST
            } else {
                Method::GET
            };
            Some(issuer.request(method, path).header(name, header))
        },
    );
}

/// I22
#[test]
fn no_cursor_page_or_filter_makes_the_server_fail() {
    let values = prop_oneof![
        ".{0,80}",
        "-?[0-9]{1,30}",
        "(name|created|-name|~)?[a-f0-9~/.%-]{0,60}",
    ]
    .boxed();
    let lists = prop::sample::select(vec![
        (
            "/api/agents",
            vec!["cursor", "page", "limit", "q", "sort", "status", "org_id"],
        ),
        ("/api/organizations", vec!["cursor", "page", "limit"]),
    ]);
    let list = lists.prop_flat_map(move |(path, names)| {
        let names = prop::sample::select(names);
        let query = prop::collection::vec((names, values.clone()), 1..4);
        (Just(path), query)
    });
    never_fails(list, |issuer, (path, query)| {
        let query: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encoded(value)))
            .collect();
        let request = issuer.request(Method::GET, &format!("{path}?{}", query.join("&")));
        Some(request.basic_auth("admin@example.com", Some("changeme")))
    });
}

/// I22
#[test]
fn no_scope_makes_the_server_fail_or_is_granted_beyond_the_clients() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let issuer = runtime.block_on(Issuer::start());
    let agent = runtime.block_on(issuer.agent(&["read", "write"]));
    let mut runner = TestRunner::new(many_cases());
    let scope = prop_oneof![".{0,60}", "((read|write|admin|\"|,| ){1,6})"];
    let outcome = runner.run(&scope, |scope| {
        let form = agent.form(&[("grant_type", "client_credentials"), ("scope", &scope)]);
        let answer = runtime.block_on(issuer.post("/oauth/token", &form));
        match answer.status.as_u16() {
            200 => {
                let granted = answer.str("scope");
                let within = granted
                    .split(' ')
                    .all(|scope| ["read", "write"].contains(&scope));
                prop_assert!(within, "{scope:?} became {granted}");
            }
            400 => {
                let error = answer.str("error");
                prop_assert!(
                    ["invalid_scope", "invalid_request"].contains(&&*error),
                    "{error}"
                );
            }
            status => prop_assert!(false, "{scope:?} became {status}: {}", answer.text),
        }
        Ok(())
    });
    outcome.unwrap();
}
