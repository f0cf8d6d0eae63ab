//! `/`, health, metrics, and what is nowhere.

use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_service_says_what_it_is_and_that_it_is_well() {
    let issuer = Issuer::start().await;
    let about = issuer.get("/").await.json();
    assert_eq!(
        (&about["service"], &about["status"]),
        (&json!("MachineAuth"), &json!("running"))
    );
    assert!(
        about["endpoints"]
            .as_str()
            .unwrap()
            .contains("/oauth/token, ")
    );
    assert_eq!(
        issuer.get("/health").await.json(),
        json!({ "status": "ok" })
    );
    issuer.agent(&[]).await;
    let ready = issuer.get("/health/ready").await.json();
    assert_eq!(
        (&ready["status"], &ready["agents_count"]),
        (&json!("ok"), &json!(1))
    );
    assert!(ready["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn metrics_are_json_for_people_and_text_for_a_scraper() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    issuer.tokens(&agent).await;
    issuer.revoke(&token).await;
    let metrics = issuer.get("/metrics").await.json();
    assert_eq!(metrics["tokens_issued"], 2);
    assert_eq!(metrics["tokens_revoked"], 1);
    assert_eq!(metrics["active_tokens"], 1);
    assert_eq!(metrics["total_agents"], 1);
    assert!(metrics["requests"].as_u64().unwrap() >= 4);
    for (accept, content_type) in [
        ("text/plain;version=0.0.4", "text/plain"),
        (
            "application/openmetrics-text;q=0.9,text/plain;q=0.5",
            "application/openmetrics-text",
        ),
    ] {
        let scraped = Answer::to(
            issuer
                .request(Method::GET, "/metrics")
                .header("accept", accept),
        )
        .await;
        assert!(scraped.header("content-type").starts_with(content_type));
        for sample in [
            "machineauth_tokens_issued_total 2\n",
            "machineauth_agents 1\n",
            "machineauth_http_requests_total{method=\"POST\",route=\"/oauth/token\",status=\"200\"} 2\n",
            "machineauth_http_request_duration_seconds_count{route=\"/oauth/token\"} 2\n",
        ] {
            assert!(scraped.text.contains(sample), "{}", scraped.text);
        }
        let ends = scraped.text.ends_with("# EOF\n");
        assert_eq!(ends, content_type == "application/openmetrics-text");
    }
    for accept in ["*/*", "application/json"] {
        let asked = Answer::to(
            issuer
                .request(Method::GET, "/metrics")
                .header("accept", accept),
        )
        .await;
        assert_eq!(asked.json()["tokens_issued"], 2);
    }
}

/// What strangers invent costs no memory here.
#[tokio::test]
async fn no_invented_path_or_method_becomes_a_label() {
    let issuer = Issuer::start().await;
    for path in ["/invented", "/api/agents/invented", "/invented?x=1"] {
        let method = Method::from_bytes(b"INVENTED").unwrap();
        Answer::to(issuer.request(method, path)).await;
    }
    let scraped = Answer::to(
        issuer
            .request(Method::GET, "/metrics")
            .header("accept", "text/plain"),
    )
    .await;
    assert!(!scraped.text.to_lowercase().contains("invented"));
    assert!(scraped.text.contains("route=\"/api/agents/{id}\""));
}

#[tokio::test]
async fn what_is_nowhere_is_said_in_json() {
    let issuer = Issuer::start().await;
    for path in [
        "/nowhere",
        "/oauth",
        "/api/agents/x/y/z",
        "/oauth/token/",
        "//",
        "/%00",
    ] {
        issuer.get(path).await.expect_error(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::PUT, "/health", "GET,HEAD"),
        (Method::GET, "/oauth/revoke", "POST"),
        (Method::POST, "/.well-known/jwks.json", "GET,HEAD"),
        (Method::TRACE, "/oauth/token", "POST"),
    ] {
        let answer = Answer::to(issuer.request(method, path)).await;
        answer.expect_error(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}
