//! How much clients may do, and what a dry run leaves of that.

use machineauth_tests::http::Answer;
use machineauth_tests::upstream::Arrived;
use reqwest::Method;

use super::Stage;

#[tokio::test]
async fn limits_count_agents_and_addresses_and_say_what_is_left() {
    let stage = Stage::with(
        r#"
        [limits]
        per_address = "8/m"

        [[route]]
        upstream = "api"
        authenticated = true
        per_agent = "2/m"
        "#,
    )
    .await;
    let (one, other) = (stage.token(&["read"]).await, stage.token(&["read"]).await);
    let first = stage.edge.get("/a", Some(&one)).await;
    assert_eq!(first.status, 200);
    let left = first.headers.get_all("ratelimit").iter();
    let left: Vec<_> = left.filter_map(|left| left.to_str().ok()).collect();
    for start in ["\"address\";r=7;", "\"route-agent\";r=1;"] {
        let is_said = left.iter().any(|left| left.starts_with(start));
        assert!(is_said, "{start}: {left:?}");
    }
    assert_eq!(stage.edge.get("/a", Some(&one)).await.status, 200);
    let refused = stage.edge.get("/a", Some(&one)).await;
    refused.expect_error(429, "too_many_requests");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(stage.edge.get("/a", Some(&other)).await.status, 200);
    for _ in 0..4 {
        let answer = stage.edge.get("/a", None).await;
        assert_eq!(answer.status, 401);
    }
    let refused = stage.edge.get("/a", Some(&other)).await;
    refused.expect_error(429, "too_many_requests");
    assert_eq!(stage.upstream.count(), 3);
    let counted = stage
        .edge
        .metric("machineauth_edge_refusals_total{route=\"/\",reason=\"too_many_requests\",enforced=\"true\"}")
        .await;
    // The address was refused before there was a route.
    assert_eq!(counted, Some(1.0));
}

/// I7
#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart_also_where_it_adds_their_ports() {
    let stage = Stage::with(
        r#"
        [limits]
        per_address = "1/m"
        trusted_proxies = ["127.0.0.0/8"]

        [[route]]
        upstream = "api"
        public = true
        "#,
    )
    .await;
    for (hop, status) in [
        ("203.0.113.1:5555", 200),
        ("203.0.113.2:5555", 200),
        ("203.0.113.1:5556", 429),
        ("203.0.113.2", 429),
        ("[2001:db8::1]:5555", 200),
        ("2001:db8::1", 429),
    ] {
        let request = stage.edge.request(Method::GET, "/a");
        let answer = Answer::to(request.header("x-forwarded-for", hop)).await;
        assert_eq!(answer.status, status, "{hop}");
    }
}

#[tokio::test]
async fn a_dry_run_refuses_nobody_and_reports_what_it_would() {
    let stage = Stage::with(
        r#"
        [[route]]
        upstream = "api"
        scopes = "write"
        per_agent = "1/m"
        dry_run = true
        "#,
    )
    .await;
    let (agent, token) = stage.agent_and_token(&["read"]).await;
    let forged = stage
        .edge
        .request(Method::GET, "/a")
        .header("x-agent-id", "root");
    let arrived = Arrived::of(&Answer::to(forged).await);
    assert_eq!(arrived.header("x-agent-id"), None);
    let arrived = Arrived::of(&stage.edge.get("/a", Some("garbage")).await);
    assert_eq!(arrived.header("x-agent-id"), None);
    assert_eq!(arrived.header("authorization"), None);
    let basic = stage.edge.request(Method::GET, "/a");
    let basic = basic.header("authorization", "Basic YTpi");
    let arrived = Arrived::of(&Answer::to(basic).await);
    assert_eq!(
        arrived.header("authorization").as_deref(),
        Some("Basic YTpi")
    );
    for _ in 0..2 {
        let arrived = Arrived::of(&stage.edge.get("/a", Some(&token)).await);
        assert_eq!(arrived.header("x-agent-id"), Some(agent.id.clone()));
    }
    let would = async |reason: &str| {
        let labels = format!("{{route=\"/\",reason=\"{reason}\",enforced=\"false\"}}");
        stage
            .edge
            .metric(&format!("machineauth_edge_refusals_total{labels}"))
            .await
    };
    assert_eq!(would("unauthorized").await, Some(2.0));
    assert_eq!(would("insufficient_scope").await, Some(2.0));
    assert_eq!(would("too_many_requests").await, Some(1.0));
    let log = stage
        .edge
        .process
        .printed_until("dry_run_status\":403")
        .await;
    assert!(log.contains("\"status\":200"));
}

#[tokio::test]
async fn what_holds_over_all_routes_holds_in_a_dry_run_too() {
    let stage = Stage::with(
        r#"
        [limits]
        per_agent = "1/m"
        [[route]]
        upstream = "api"
        authenticated = true
        dry_run = true
        "#,
    )
    .await;
    let token = stage.token(&["read"]).await;
    assert_eq!(stage.edge.get("/a", Some(&token)).await.status, 200);
    let refused = stage.edge.get("/a", Some(&token)).await;
    refused.expect_error(429, "too_many_requests");
    assert!(refused.header("ratelimit").starts_with("\"agent\";r=0"));
}

#[tokio::test]
async fn bodies_have_a_length_that_is_allowed() {
    let stage = Stage::with(
        r#"
        [[route]]
        upstream = "api"
        public = true
        max_body = "1KiB"
        "#,
    )
    .await;
    let send = async |body: reqwest::Body| {
        Answer::to(stage.edge.request(Method::POST, "/a").body(body)).await
    };
    let arrived = Arrived::of(&send("a".repeat(1024).into()).await);
    assert_eq!(arrived.str("body").len(), 1024);
    send("a".repeat(1025).into())
        .await
        .expect_error(413, "content_too_large");
    let parts =
        futures_util::stream::iter((0..30).map(|_| Ok::<_, std::io::Error>("a".repeat(100))));
    send(reqwest::Body::wrap_stream(parts))
        .await
        .expect_error(413, "content_too_large");
}
