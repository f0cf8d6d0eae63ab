//! V19: what the edge judges is what its upstream sees.

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use machineauth_tests::http::Answer;
use machineauth_tests::upstream::Arrived;
use reqwest::Method;

use super::Stage;

/// Everything is public but what lies below `/admin`, and both are behind the same upstream.
const ROUTES: &str = r#"
    [[route]]
    upstream = "api"
    public = true

    [[route]]
    path = "/admin"
    upstream = "api"
    scopes = "admin"

    [[route]]
    path = "/Reports"
    upstream = "api"
    scopes = "admin"
    ignore_case = true

    [[route]]
    hosts = ["internal.example"]
    upstream = "api"
    scopes = "admin"
"#;

async fn status_of(stage: &Stage, method: &str, target: &str, fields: &str) -> String {
    let request = format!("{method} {target} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    let answer = stage.edge.raw(request.as_bytes()).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// V19
#[tokio::test]
async fn no_spelling_of_a_protected_path_is_public() {
    let stage = Stage::with(ROUTES).await;
    let get = async |target: &str| status_of(&stage, "GET", target, "Host: a\r\n").await;
    assert_eq!(get("/open").await, "200");
    assert_eq!(get("/admin").await, "401");
    assert_eq!(get("/admin/x").await, "401");
    assert_eq!(get("/administration").await, "200", "another path");
    for target in [
        "//admin",
        "/x/../admin",
        "/./admin",
        "/%61dmin",
        "/x/%2e%2e/admin",
        "/x%2f..%2fadmin",
        "/admin%2fx",
        "/admin;x=1",
        "/x;/../admin",
        "/x\\..\\admin",
        "/%5cadmin",
        "/admin%00",
        "/admin%252f",
        "/%c0%afadmin",
        "/admin%",
        "*",
        "admin",
    ] {
        assert_eq!(get(target).await, "400", "{target}");
    }
    for target in ["/Reports", "/reports/x", "/REPORTS"] {
        assert_eq!(get(target).await, "401", "{target}");
    }
}

/// V19
#[tokio::test]
async fn methods_and_headers_change_nothing() {
    let stage = Stage::with(ROUTES).await;
    for method in ["HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        let status = status_of(&stage, method, "/admin/x", "Host: a\r\n").await;
        assert_eq!(status, "401", "{method}");
    }
    let connect = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n";
    let answer = stage.edge.raw(connect.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("method_not_allowed"), "{answer}");
    let log = stage.edge.process.printed_until("\"status\":405").await;
    assert!(log.contains("CONNECT"), "{log}");
    let token = stage.token(&["admin"]).await;
    let names = [
        "x-http-method-override",
        "x-method",
        "x-original-method",
        "x-forwarded-method",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-forwarded-prefix",
        "x_http_method_override",
        "x_original_url",
        "x.rewrite.url",
    ];
    // Frameworks that believe them would serve `/admin` to those who may only see the public part.
    for (path, token) in [("/admin/x", Some(&token)), ("/open", None)] {
        let mut request = stage.edge.request(Method::GET, path);
        for name in names {
            request = request.header(name, "/admin");
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let arrived = Arrived::of(&Answer::to(request).await);
        for name in names {
            assert_eq!(arrived.header(name), None, "{path}");
        }
    }
}

/// I7, V20
#[tokio::test]
async fn where_a_request_came_from_is_said_in_one_spelling_and_by_the_edge() {
    let stage = Stage::with(ROUTES).await;
    let mut request = stage.edge.request(Method::GET, "/open");
    let forged = [
        "x-forwarded-for",
        "x_forwarded_for",
        "x-forwarded-proto",
        "x_forwarded_proto",
        "x-forwarded-host",
        "x_forwarded_host",
        "x-request-id",
        "x_request_id",
        "x-forwarded-port",
        "x.forwarded_server",
        "x-real-ip",
        "x_real_ip",
        "x-client-ip",
        "true-client-ip",
        "forwarded",
    ];
    for name in forged {
        request = request.header(name, "forged");
    }
    let arrived = Arrived::of(&Answer::to(request).await);
    assert_eq!(
        arrived.header("x-forwarded-for").as_deref(),
        Some("127.0.0.1")
    );
    assert_eq!(arrived.header("x-forwarded-proto").as_deref(), Some("http"));
    for name in forged {
        assert!(!arrived.all(name).contains(&"forged".to_owned()), "{name}");
    }
}

/// I7
#[tokio::test]
async fn a_proxy_in_front_that_is_trusted_is_believed_in_what_it_says() {
    let trusted = "[limits]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let stage = Stage::with(&format!("{trusted}{ROUTES}")).await;
    let request = stage
        .edge
        .request(Method::GET, "/open")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "api.example.com");
    let arrived = Arrived::of(&Answer::to(request).await);
    let said = |name: &str| arrived.header(name).unwrap_or_default();
    assert_eq!(said("x-forwarded-proto"), "https");
    assert_eq!(said("x-forwarded-host"), "api.example.com");
    assert_eq!(said("x-forwarded-for"), "127.0.0.1");
    // It adds a line of its own to the client's.
    let request = stage.edge.request(Method::GET, "/open");
    let request = request
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-forwarded-for", "198.51.100.7");
    let arrived = Arrived::of(&Answer::to(request).await);
    assert_eq!(
        arrived.header("x-forwarded-for").as_deref(),
        Some("203.0.113.9, 198.51.100.7, 127.0.0.1")
    );
    let log = stage.edge.process.printed_until("198.51.100.7").await;
    assert!(!log.contains("203.0.113.9"), "{log}");
}

/// V19
#[tokio::test]
async fn a_target_in_absolute_form_is_judged_and_forwarded_by_its_path() {
    let stage = Stage::with(ROUTES).await;
    let status = async |target: &str, host: &str| {
        status_of(&stage, "GET", target, &format!("Host: {host}\r\n")).await
    };
    assert_eq!(status("http://a/admin", "a").await, "401");
    assert_eq!(status("http://a/open", "b").await, "400", "two hosts");
    assert_eq!(status("http://a@b/open", "b").await, "400");
    assert_eq!(
        status("http://internal.example/open", "internal.example").await,
        "401"
    );
    let request = "GET http://a/open?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = stage.edge.raw(request.as_bytes()).await;
    assert!(answer.contains(r#""target":"/open?x=1""#), "{answer}");
}

/// V19
#[tokio::test]
async fn a_host_has_its_own_routes_however_it_is_spelt() {
    let stage = Stage::with(ROUTES).await;
    let get = async |fields: &str| status_of(&stage, "GET", "/open", fields).await;
    assert_eq!(get("Host: a\r\n").await, "200");
    for host in [
        "internal.example",
        "INTERNAL.example",
        "internal.example:8080",
    ] {
        assert_eq!(get(&format!("Host: {host}\r\n")).await, "401", "{host}");
    }
    for host in ["internal.example.", "internal.example:x", "a b", ""] {
        assert_eq!(get(&format!("Host: {host}\r\n")).await, "400", "{host}");
    }
    for host in ["[::1]", "[::1]:80"] {
        assert_eq!(get(&format!("Host: {host}\r\n")).await, "200", "{host}");
    }
    assert_eq!(get("Host: [0::1]\r\n").await, "400", "another spelling");
    assert_eq!(get("").await, "400", "none");
    for target in ["/open", "http://internal.example/open"] {
        let request = format!("GET {target} HTTP/1.0\r\n\r\n");
        let answer = stage.edge.raw(request.as_bytes()).await;
        assert!(answer.contains(" 400 "), "none, in HTTP/1.0: {answer}");
    }
    assert_eq!(
        get("Host: a\r\nHost: internal.example\r\n").await,
        "400",
        "two"
    );
}

/// V19
#[tokio::test]
async fn the_upstream_sees_the_target_that_was_judged_byte_for_byte() {
    let stage = Stage::with(ROUTES).await;
    for target in [
        "/a%20b",
        "/%C3%A4?q=%2F..%2F",
        "/a/",
        "/a+b@c:d",
        "/a?b?c=/../",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = stage.edge.raw(request.as_bytes()).await;
        let arrived = format!(r#""target":"{target}""#);
        assert!(answer.contains(&arrived), "{target}: {answer}");
    }
}

/// V19
#[tokio::test]
async fn http2_is_judged_by_its_pseudo_headers() {
    let stage = Stage::with(&format!("{ROUTES}[server]\nh2c = true\n")).await;
    let stream = TokioIo::new(stage.edge.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut status = async |target: &str, fields: &[(&str, &str)]| -> StatusCode {
        let mut request = Request::get(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::<bytes::Bytes>::default()).unwrap();
        client.send_request(request).await.unwrap().status()
    };
    assert_eq!(status("http://a/open", &[]).await, 200);
    assert_eq!(status("http://a/admin/x", &[]).await, 401);
    assert_eq!(status("http://INTERNAL.example/open", &[]).await, 401);
    for target in [
        "//admin",
        "/x/../admin",
        "/%61dmin",
        "/admin;x",
        "/x%2f..%2fadmin",
    ] {
        assert_eq!(
            status(&format!("http://a{target}"), &[]).await,
            400,
            "{target}"
        );
    }
    // Servers of HTTP/1.1 behind the edge may read an underscore as a hyphen.
    for field in [("content_length", "6"), ("transfer_encoding", "chunked")] {
        assert_eq!(status("http://a/open", &[field]).await, 400, "{field:?}");
    }
    let other_host = status("http://a/open", &[("host", "internal.example")]).await;
    assert_eq!(other_host, 400);
    assert_eq!(status("http://a/open", &[("host", "a")]).await, 200);
    // With a body as well, the server hears of one host.
    let request = Request::post("http://a/open").header("host", "a");
    let request = request.body(Full::from("body")).unwrap();
    let answer = client.send_request(request).await.unwrap();
    let arrived = answer.into_body().collect().await.unwrap().to_bytes();
    let arrived = String::from_utf8_lossy(&arrived);
    assert_eq!(arrived.matches(r#"["host","a"]"#).count(), 1, "{arrived}");
    assert!(arrived.contains(r#""body":"body""#), "{arrived}");
}
