//! What an edge is for: who gets through, what the upstream learns, and who is told what.

use std::time::{Duration, Instant};

use machineauth_core::test_kit::MockIssuer;
use machineauth_tests::edge::Edge;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::upstream::{Arrived, Upstream};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{EDGE, Stage, api, configuration};

const ROUTES: &str = r#"
    [[route]]
    path = "/public"
    upstream = "api"
    public = true

    [[route]]
    path = "/"
    upstream = "api"
    [[route.rule]]
    methods = ["GET"]
    path = "/artifacts/{*rest}"
    scopes = "read"
    [[route.rule]]
    methods = ["POST"]
    path = "/artifacts/{*rest}"
    scopes = "write"
"#;

#[tokio::test]
async fn good_tokens_get_through_and_others_are_told_why_not() {
    let stage = Stage::with(ROUTES).await;
    let (agent, token) = stage.agent_and_token(&["read"]).await;

    let arrived = Arrived::of(&stage.edge.get("/artifacts/1?page=2", Some(&token)).await);
    assert_eq!(arrived.str("target"), "/artifacts/1?page=2");
    assert_eq!(arrived.header("x-agent-id"), Some(agent.id.clone()));
    assert_eq!(arrived.header("x-agent-scopes").as_deref(), Some("read"));
    assert_eq!(
        arrived.header("authorization"),
        None,
        "the token stays here"
    );

    let anonymous = stage.edge.get("/artifacts/1", None).await;
    anonymous.expect_error(401, "unauthorized");
    assert_eq!(
        anonymous.header("www-authenticate"),
        "Bearer scope=\"read\""
    );
    let garbage = stage.edge.get("/artifacts/1", Some("a.b.c")).await;
    garbage.expect_error(401, "invalid_token");

    let post = stage.edge.request(Method::POST, "/artifacts/1");
    let refused = Answer::to(post.bearer_auth(&token)).await;
    refused.expect_error(403, "insufficient_scope");
    assert!(
        refused
            .header("www-authenticate")
            .ends_with("scope=\"write\"")
    );
    let elsewhere = stage.edge.get("/elsewhere", Some(&token)).await;
    elsewhere.expect_error(403, "access_denied");

    assert_eq!(
        stage.upstream.count(),
        1,
        "only one request was let through"
    );
    let line = stage.edge.process.printed_until("lacks the scope").await;
    assert!(!line.contains(&token), "no log has a token");
}

#[tokio::test]
async fn a_revocation_bites_within_a_second() {
    let stage = Stage::with(ROUTES).await;
    let token = stage.token(&["read"]).await;
    assert_eq!(
        stage.edge.get("/artifacts/1", Some(&token)).await.status,
        200
    );
    stage.issuer.revoke(&token).await;
    let revoked = Instant::now();
    let refused = stage.edge.comes_to("/artifacts/1", Some(&token), 401).await;
    refused.expect_error(401, "invalid_token");
    assert!(revoked.elapsed() < Duration::from_secs(1));
}

/// V17
#[tokio::test]
async fn nothing_passes_that_is_ready_only_after_its_token_was_revoked() {
    let (head, body) = ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "secret");
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    for (first, rest) in [("", whole), (head, body)] {
        let (slow, go_on) = Upstream::in_two_steps(first, rest).await;
        let address = slow.address;
        let stage = Stage::with(&format!(
            r#"{ROUTES}
            [[upstream]]
            name = "slow"
            servers = ["{address}"]
            [[route]]
            path = "/slow"
            upstream = "slow"
            authenticated = true
            "#
        ))
        .await;
        let token = stage.token(&["read"]).await;
        let request = stage.edge.request(Method::GET, "/slow").bearer_auth(&token);
        let asking = tokio::spawn(Answer::try_to(request));
        slow.was_asked().await;
        stage.issuer.revoke(&token).await;
        stage.edge.comes_to("/artifacts/1", Some(&token), 401).await;
        go_on.notify_one();
        match asking.await.unwrap() {
            Ok(refused) => {
                refused.expect_error(401, "invalid_token");
                let challenge = refused.header("www-authenticate");
                assert!(challenge.contains("invalid_token"), "{challenge}");
            }
            // The head had been passed on already.
            Err(_) => assert_eq!(first, head),
        }
    }
}

#[tokio::test]
async fn where_no_route_is_nothing_is() {
    let stage = Stage::with("[[route]]\npath = \"/v1\"\nupstream = \"api\"\npublic = true\n").await;
    stage
        .edge
        .get("/v2", None)
        .await
        .expect_error(404, "not_found");
    assert_eq!(stage.edge.get("/v1", None).await.status, 200);
    let counted = stage
        .edge
        .metric("machineauth_edge_requests_total{route=\"(none)\",status=\"4xx\"}")
        .await;
    assert_eq!(counted, Some(1.0));
}

/// V20
#[tokio::test]
async fn what_clients_say_about_themselves_never_arrives_not_even_on_public_routes() {
    let stage = Stage::with(ROUTES).await;
    let token = stage.token(&["read"]).await;
    let forged = [
        ("X-Agent-Id", "root"),
        ("x_agent_id", "root"),
        ("X-Agent.Id", "root"),
        ("X-Agent-Scopes", "admin"),
        ("X_Org_Id", "other"),
        ("X-Org-Id", "other"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("Forwarded", "for=203.0.113.9"),
    ];
    for (path, token) in [("/public/a", None), ("/artifacts/a", Some(&token))] {
        let mut request = stage.edge.request(Method::GET, path);
        for (name, value) in forged {
            request = request.header(name, value);
        }
        request = request.header("Connection", "X-Agent-Id, X-Agent-Scopes");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let arrived = Arrived::of(&Answer::to(request).await);
        let all = arrived.0.to_string();
        for word in ["root", "admin", "other", "203.0.113.9"] {
            assert!(!all.contains(word), "{word} arrives at {path}: {all}");
        }
        assert_eq!(arrived.header("x-agent-id").is_some(), token.is_some());
        assert_eq!(
            arrived.header("x-forwarded-for").as_deref(),
            Some("127.0.0.1")
        );
    }
}

/// V8
#[tokio::test]
async fn agents_of_the_same_name_are_told_apart_by_their_issuers() {
    let (one, other) = (MockIssuer::start(), MockIssuer::start());
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let upstream = Upstream::echo("api").await;
    let trust = |issuer: &MockIssuer| {
        let url = issuer.url();
        format!("[[issuer]]\nurl = \"{url}\"\naudience = \"api\"\n")
    };
    let route = "[[route]]\nupstream = \"api\"\nauthenticated = true\n";
    let of_one = format!("{}{}{route}", trust(&one), api(&upstream));
    let arrives = async |edge: &Edge, issuer: &MockIssuer| {
        let request = edge.request(Method::GET, "/a");
        let request = request.bearer_auth(issuer.token().agent("agent-7").sign());
        let request = request.header("x_agent_issuer", "forged");
        let arrived = Arrived::of(&Answer::to(request).await);
        assert_eq!(arrived.header("x-agent-id").as_deref(), Some("agent-7"));
        assert_eq!(arrived.header("x_agent_issuer"), None);
        (
            arrived.header("x-agent-issuer"),
            arrived.header("x-authority"),
        )
    };
    let said_of = |issuer: &MockIssuer| Some(issuer.url().to_owned());

    let edge = Edge::start(EDGE, &of_one).await;
    assert_eq!(arrives(&edge, &one).await, (None, None));
    let edge = Edge::start(EDGE, &format!("{}{of_one}", trust(&other))).await;
    for issuer in [&one, &other] {
        assert_eq!(arrives(&edge, issuer).await, (said_of(issuer), None));
    }
    let asked_for = format!("{of_one}[identity]\nissuer = \"X-Authority\"\n");
    let edge = Edge::start(EDGE, &asked_for).await;
    assert_eq!(arrives(&edge, &one).await, (None, said_of(&one)));
}

#[tokio::test]
async fn the_upstream_can_check_who_signed_what_it_is_told() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let secret = "a secret of the edge and its upstream, long enough";
    let more = r#"
        [identity]
        agent_id = "X-Caller"
        [identity.signed]
        header = "X-Caller-Token"
        secret_file = "secret"
    "#;
    let configuration = configuration(&issuer, &upstream, ROUTES) + more;
    let edge = Edge::start_with(EDGE, &configuration, &[("secret", secret)]).await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let request = edge
        .request(Method::GET, "/artifacts/1")
        .header("x-caller-token", "forged")
        .header("x-agent-id", "forged");
    let arrived = Arrived::of(&Answer::to(request.bearer_auth(&token)).await);
    assert_eq!(arrived.header("x-caller"), Some(agent.id.clone()));
    assert_eq!(arrived.header("x-agent-id"), None);

    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&["upstream"]);
    validation.set_issuer(&["machineauth-edge"]);
    let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
    let signed = arrived.header("x-caller-token").unwrap();
    let claims = jsonwebtoken::decode::<Value>(&signed, &key, &validation).unwrap();
    assert_eq!(claims.header.typ.as_deref(), Some("machineauth-agent+jwt"));
    assert_eq!(claims.claims["sub"], agent.id);
    assert_eq!(claims.claims["client_id"], agent.client_id);
    assert_eq!(claims.claims["scope"], "read");
    assert_eq!(claims.claims["token_iss"], issuer.base);
}

/// V18
#[tokio::test]
async fn a_token_in_two_places_or_in_the_wrong_one_is_400() {
    let stage = Stage::with(ROUTES).await;
    let token = stage.token(&["read"]).await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let cookie = format!("Cookie: access_token={token}\r\n");
    let query = format!("/artifacts/1?access_token={token}");
    for (target, headers) in [
        ("/artifacts/1", format!("{bearer}{bearer}")),
        (
            "/artifacts/1",
            format!("{bearer}Authorization: Basic YTpi\r\n"),
        ),
        ("/artifacts/1", format!("{bearer}{cookie}")),
        ("/artifacts/1", cookie.clone()),
        (&query, bearer.clone()),
        (&query, String::new()),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let answer = stage.edge.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("invalid_request"), "{answer}");
    }
    assert_eq!(stage.upstream.count(), 0);
    let ended = stage.edge.process.terminate().await;
    assert!(
        !ended.printed.contains(&token),
        "no log has the query's token"
    );
}

/// V23
#[tokio::test]
async fn no_bytes_in_the_authorization_header_cost_more_than_a_4xx() {
    let stage = Stage::with(ROUTES).await;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
    let value = prop::collection::vec(
        any::<u8>().prop_filter("that would end the line", |byte| !b"\r\n".contains(byte)),
        0..60,
    );
    for _ in 0..60 {
        let value = value.new_tree(&mut runner).unwrap().current();
        let head =
            b"GET /artifacts/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ";
        let request = [&head[..], &value, b"\r\n\r\n"].concat();
        let answer = stage.edge.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{value:?}: {answer}");
    }
    let token = stage.token(&["read"]).await;
    assert_eq!(
        stage.edge.get("/artifacts/1", Some(&token)).await.status,
        200
    );
}

#[tokio::test]
async fn web_pages_that_may_call_are_told_so_and_others_not() {
    let stage = Stage::with(
        r#"
        [[route]]
        upstream = "api"
        authenticated = true
        cors = { origins = ["https://app.example"], methods = ["GET"], headers = ["authorization"], credentials = true }
        "#,
    )
    .await;
    let preflight = async |origin: &str| {
        let request = stage
            .edge
            .request(Method::OPTIONS, "/a")
            .header("origin", origin)
            .header("access-control-request-method", "GET");
        Answer::to(request).await
    };
    let allowed = preflight("https://app.example").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(allowed.header("access-control-allow-methods"), "GET");
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    let foreign = preflight("https://evil.example").await;
    assert_eq!(foreign.status, 403);
    assert_eq!(foreign.header("access-control-allow-origin"), "");
    // The page may read why it was refused.
    let refused = stage
        .edge
        .request(Method::GET, "/a")
        .header("origin", "https://app.example");
    let refused = Answer::to(refused).await;
    refused.expect_error(401, "unauthorized");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(refused.header("vary"), "Origin");
    assert_eq!(stage.upstream.count(), 0);
}

#[tokio::test]
async fn the_resource_says_who_issues_tokens_for_it() {
    let stage = Stage::with(&format!(
        "{ROUTES}
        [resource]
        id = \"https://api.example.com\"
        name = \"Artifacts\"
        realm = \"artifacts\"
        "
    ))
    .await;
    let refused = stage.edge.get("/artifacts/1", None).await;
    let url = "https://api.example.com/.well-known/oauth-protected-resource";
    let expected =
        format!("Bearer realm=\"artifacts\", scope=\"read\", resource_metadata=\"{url}\"");
    assert_eq!(refused.header("www-authenticate"), expected);
    let metadata = stage
        .edge
        .get("/.well-known/oauth-protected-resource", None)
        .await;
    assert_eq!(
        metadata.json()["authorization_servers"],
        json!([stage.issuer.base])
    );
    assert_eq!(stage.edge.get("/healthz", None).await.text, "ok\n");
}
