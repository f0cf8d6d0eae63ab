//! What clients are told when something behind the edge fails. The answers stand in docs/edge.md.

use std::time::{Duration, Instant};

use machineauth_tests::edge::Edge;
use machineauth_tests::fault_proxy::FaultProxy;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::process::free_port;
use machineauth_tests::upstream::{Arrived, Failure, Upstream};
use reqwest::Method;
use tokio::io::AsyncWriteExt as _;

use super::{EDGE, Stage, api, configuration, trusting};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn public(servers: &[&str], more: &str) -> String {
    format!(
        r#"
        [[upstream]]
        name = "api"
        servers = {servers:?}
        {more}

        [[route]]
        upstream = "api"
        public = true
        "#
    )
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_502() {
    let edge = Edge::start(EDGE, &public(&[NOWHERE], "")).await;
    edge.get("/a", None).await.expect_error(502, "bad_gateway");
    let failures = edge
        .metric("machineauth_edge_upstream_failures_total{upstream=\"api\",kind=\"connect\"}")
        .await;
    assert!(failures >= Some(1.0));
}

#[tokio::test]
async fn another_server_takes_over_whatever_the_method_when_nothing_was_sent() {
    let upstream = Upstream::echo("good").await;
    let good = upstream.address.to_string();
    let edge = Edge::start(EDGE, &public(&[NOWHERE, &good], "")).await;
    for method in [Method::GET, Method::POST, Method::DELETE] {
        for _ in 0..4 {
            let answer = Answer::to(edge.request(method.clone(), "/a").body("x")).await;
            assert_eq!(Arrived::of(&answer).str("name"), "good");
        }
    }
    assert_eq!(upstream.count(), 12);
}

#[tokio::test]
async fn an_upstream_that_is_silent_for_too_long_is_504_and_asked_once() {
    let slow = Upstream::failing(Failure::Silence).await;
    let address = slow.address.to_string();
    let edge = Edge::start(EDGE, &public(&[&address, &address], "timeout = \"200ms\"")).await;
    edge.get("/a", None)
        .await
        .expect_error(504, "gateway_timeout");
    assert_eq!(slow.count(), 1);
}

#[tokio::test]
async fn a_client_that_is_gone_before_it_is_answered_is_counted_as_that() {
    let silent = Upstream::failing(Failure::Silence).await;
    let address = silent.address.to_string();
    let edge = Edge::start(EDGE, &public(&[&address], "")).await;
    let mut stream = edge.connect().await;
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    silent.was_asked().await;
    drop(stream);
    let counted = async {
        let none = "machineauth_edge_requests_total{route=\"/\",status=\"none\"}";
        while edge.metric(none).await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted)
        .await
        .expect("it is counted");
}

#[tokio::test]
async fn what_is_sent_to_another_server_counts_anew() {
    let bad = Upstream::failing(Failure::Reset).await;
    let good = Upstream::echo("good").await;
    let (bad_address, good_address) = (bad.address, good.address);
    let configuration = format!(
        r#"
        [[upstream]]
        name = "api"
        servers = ["{bad_address}", "{good_address}"]
        [[route]]
        upstream = "api"
        public = true
        max_body = "64KiB"
        "#
    );
    let edge = Edge::start(EDGE, &configuration).await;
    for _ in 0..4 {
        let request = edge.request(Method::PUT, "/a").body("x".repeat(40 << 10));
        let arrived = Arrived::of(&Answer::to(request).await);
        assert_eq!(arrived.str("body").len(), 40 << 10);
    }
    assert!(bad.count() > 0, "it was asked first");
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_asked_again_only_for_what_may_be_done_twice() {
    let bad = Upstream::failing(Failure::Reset).await;
    let good = Upstream::echo("good").await;
    let (bad_address, good_address) = (bad.address.to_string(), good.address.to_string());
    let edge = Edge::start(EDGE, &public(&[&bad_address, &good_address], "")).await;
    for _ in 0..4 {
        let answer = edge.get("/a", None).await;
        assert_eq!(Arrived::of(&answer).str("name"), "good");
    }
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let request = edge.request(Method::POST, "/a").body("once");
        statuses.push(Answer::to(request).await.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
    assert_eq!(good.count(), 6, "no POST was sent twice");
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_the_middle_does_not_look_whole() {
    let half = Upstream::failing(Failure::HalfAnAnswer).await;
    let address = half.address.to_string();
    let edge = Edge::start(EDGE, &public(&[&address], "")).await;
    let answer = Answer::try_to(edge.request(Method::GET, "/a")).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_fails_its_health_checks_gets_nothing_until_it_is_back() {
    let good = Upstream::echo("good").await;
    let address = good.address;
    let health = "health = { path = \"/status/204\", every = \"50ms\", fall = 2 }";
    let edge = Edge::start(EDGE, &public(&[&address.to_string()], health)).await;
    assert_eq!(edge.get("/a", None).await.status, 200);
    drop(good);
    let down = edge.comes_to("/a", None, 503).await;
    down.expect_error(503, "temporarily_unavailable");
    assert_eq!(down.header("retry-after"), "1");
    let up =
        format!("machineauth_edge_upstream_server_up{{upstream=\"api\",server=\"{address}\"}}");
    assert_eq!(edge.metric(&up).await, Some(0.0));
    let _good = Upstream::echo_at(address, "good").await;
    edge.comes_to("/a", None, 200).await;
}

#[tokio::test]
async fn a_server_that_says_it_is_ill_gets_nothing() {
    let ill = Upstream::echo("ill").await;
    let well = Upstream::echo("well").await;
    let servers = [ill.address.to_string(), well.address.to_string()];
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let health = "health = { path = \"/status/500\", every = \"20ms\", fall = 1 }";
    let edge = Edge::start(EDGE, &public(&servers, health)).await;
    edge.comes_to("/a", None, 503).await;
}

/// V16
#[tokio::test]
async fn without_an_issuer_at_the_start_the_public_is_served_and_tokens_are_503_until_it_is_there()
{
    let reserved = Issuer::start().await;
    let (base, address) = (reserved.base.clone(), reserved.address);
    reserved.stop().await;
    let upstream = Upstream::echo("api").await;
    let routes = r#"
        [server]
        patience = "200ms"
        [[route]]
        path = "/public"
        upstream = "api"
        public = true
        [[route]]
        upstream = "api"
        authenticated = true
    "#;
    let configuration = format!("{routes}{}{}", trusting(&base), api(&upstream));
    let edge = Edge::start(EDGE, &configuration).await;
    assert_eq!(edge.get("/public", None).await.status, 200);
    edge.get("/a", None).await.expect_error(401, "unauthorized");
    // Somebody's token, of a key that nobody can know yet.
    let elsewhere = Issuer::builder().with("JWT_ISSUER", &base).start().await;
    let (foreign, _) = elsewhere.tokens(&elsewhere.agent(&["read"]).await).await;
    let refused = edge.get("/a", Some(&foreign)).await;
    refused.expect_error(503, "temporarily_unavailable");
    assert_eq!(refused.header("retry-after"), "5");
    let client = machineauth_tests::http::client();
    let ready = async || {
        Answer::to(client.get(format!("{}/readyz", edge.admin)))
            .await
            .status
    };
    assert_eq!(ready().await, 503);

    let issuer = Issuer::builder().listen(address).start().await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    edge.comes_to("/a", Some(&token), 200).await;
    assert_eq!(ready().await, 200);
}

/// V16
#[tokio::test]
async fn keys_that_are_kept_in_a_file_bridge_a_start_without_the_issuer() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let routes =
        "[server]\npatience = \"200ms\"\n[[route]]\nupstream = \"api\"\nauthenticated = true\n";
    let configuration = configuration(&issuer, &upstream, routes)
        .replace("audience =", "keys_file = \"keys.json\"\naudience =");
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    let first = Edge::start(EDGE, &configuration).await;
    first.comes_to("/a", Some(&token), 200).await;
    let keys = async {
        loop {
            if let Ok(keys) = std::fs::read_to_string(first.file("keys.json")) {
                return keys;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let keys = tokio::time::timeout(Duration::from_secs(20), keys)
        .await
        .expect("the keys are written");
    issuer.stop().await;
    let files = [("keys.json", keys.as_str())];
    let second = Edge::start_with(EDGE, &configuration, &files).await;
    assert_eq!(second.get("/a", Some(&token)).await.status, 200);
    let without = Edge::start(EDGE, &configuration).await;
    assert_eq!(without.get("/a", Some(&token)).await.status, 503);
}

/// V16
#[tokio::test]
async fn an_issuer_that_goes_away_later_is_not_missed() {
    let stage = Stage::with("[[route]]\nupstream = \"api\"\nauthenticated = true\n").await;
    let known = stage.token(&["read"]).await;
    let unknown = stage.token(&["read"]).await;
    assert_eq!(stage.edge.get("/a", Some(&known)).await.status, 200);
    let Stage { issuer, edge, .. } = stage;
    issuer.stop().await;
    assert_eq!(edge.get("/a", Some(&known)).await.status, 200);
    assert_eq!(edge.get("/a", Some(&unknown)).await.status, 200);
    edge.process
        .logged_until("the revocation feed is down")
        .await;
}

/// V24
#[tokio::test]
async fn a_feed_that_is_stale_refuses_when_it_is_told_to_and_heals() {
    // The issuer is known by the address of what stands before it.
    let address = ([127, 0, 0, 1], free_port()).into();
    let between = FaultProxy::start(address).await;
    let name = format!("http://{}", between.address());
    let issuer = Issuer::builder()
        .with("JWT_ISSUER", &name)
        .listen(address)
        .start()
        .await;
    let upstream = Upstream::echo("api").await;
    let routes = "[[route]]\nupstream = \"api\"\nauthenticated = true\n";
    let configuration = format!("{}{}{routes}", trusting(&name), api(&upstream)).replace(
        "revocations = {}",
        "revocations = { stale = \"refuse\", after = \"3s\" }",
    );
    let edge = Edge::start(EDGE, &configuration).await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    assert_eq!(edge.get("/a", Some(&token)).await.status, 200);
    between.set_silent(true);
    between.cut();
    let stale = edge.comes_to("/a", Some(&token), 503).await;
    stale.expect_error(503, "temporarily_unavailable");
    between.set_silent(false);
    edge.comes_to("/a", Some(&token), 200).await;
}

/// V24: bodies pass as well, whose parts are looked at while they come.
#[tokio::test]
async fn while_a_feed_is_stale_the_issuer_is_asked_when_that_is_the_policy() {
    let address = ([127, 0, 0, 1], free_port()).into();
    let between = FaultProxy::start(address).await;
    let name = format!("http://{}", between.address());
    let issuer = Issuer::builder()
        .with("JWT_ISSUER", &name)
        .listen(address)
        .start()
        .await;
    let upstream = Upstream::echo("api").await;
    let asker = issuer.agent(&["tokens:introspect"]).await;
    let policy = format!(
        "revocations = {{ stale = \"introspect\", after = \"1s\" }}\n\
         introspection = {{ client_id = \"{}\", client_secret_file = \"secret\", \
         endpoint = \"{}/oauth/introspect\", max_age = \"1s\" }}",
        asker.client_id, issuer.base
    );
    let routes = "[[route]]\nupstream = \"api\"\nauthenticated = true\n";
    let configuration = format!("{}{}{routes}", trusting(&name), api(&upstream));
    let configuration = configuration.replace("revocations = {}", &policy);
    let files = [("secret", asker.client_secret.as_str())];
    let edge = Edge::start_with(EDGE, &configuration, &files).await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    assert_eq!(edge.get("/a", Some(&token)).await.status, 200);

    between.set_silent(true);
    between.cut();
    let stale = async {
        while edge.metric("machineauth_edge_revocations_live").await != Some(0.0)
            || edge
                .metric("machineauth_edge_revocations_age_seconds")
                .await
                < Some(2.0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stale)
        .await
        .expect("the feed gets stale");
    let body = "x".repeat(100_000);
    let request = edge.request(Method::POST, "/a").bearer_auth(&token);
    let answer = Answer::to(request.body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    issuer.revoke(&token).await;
    edge.comes_to("/a", Some(&token), 401).await;
}

/// V24
#[tokio::test]
async fn a_feed_that_is_stale_is_reported_and_serves_by_default() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let routes = "[[route]]\nupstream = \"api\"\nauthenticated = true\n";
    let configuration = configuration(&issuer, &upstream, routes)
        .replace("revocations = {}", "revocations = { after = \"1s\" }");
    let edge = Edge::start(EDGE, &configuration).await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    assert_eq!(edge.get("/a", Some(&token)).await.status, 200);
    issuer.stop().await;
    let stopped = Instant::now();
    let told = async {
        while edge.metric("machineauth_edge_revocations_live").await != Some(0.0)
            || edge
                .metric("machineauth_edge_revocations_age_seconds")
                .await
                < Some(2.0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .unwrap();
    assert_eq!(edge.get("/a", Some(&token)).await.status, 200);
    edge.process.logged_until("the revocations are stale").await;
    assert!(stopped.elapsed() > Duration::from_secs(1));
}
