//! V19: no request hides in another one. Each probe is followed by a request that an upstream may only see if the edge and it
//! disagree about where the first one ends.

use super::Stage;

const ROUTES: &str = r#"
    [[route]]
    upstream = "api"
    public = true
"#;

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// V19
#[tokio::test]
async fn requests_that_servers_measure_differently_are_refused_and_their_connection_is_closed() {
    let stage = Stage::with(ROUTES).await;
    let length = HIDDEN.len();
    for head in [
        // Both lengths.
        format!(
            "Host: a\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n".to_owned(),
        // Two lengths.
        format!("Host: a\r\nContent-Length: 0\r\nContent-Length: {length}\r\n\r\n"),
        format!("Host: a\r\nContent-Length: 0\r\nContent_Length: {length}\r\n\r\n"),
        "Host: a\r\nContent-Length: 0, 5\r\n\r\n".to_owned(),
        "Host: a\r\nContent-Length: +5\r\n\r\nabcde".to_owned(),
        "Host: a\r\nContent-Length: 0x5\r\n\r\nabcde".to_owned(),
        // Encodings that nobody or only somebody knows.
        "Host: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Host: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        "Host: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Host: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n".to_owned(),
        // Lines that end or go on in odd ways.
        "Host: a\nX: 1\r\n\r\n".to_owned(),
        "Host: a\r\nX: 1\n\r\n".to_owned(),
        "Host: a\r\nX: 1\r\n folded: 2\r\n\r\n".to_owned(),
        "Host: a\r\nX: 1\r\n\tTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "Host: a\r\nX: 1\r2\r\n\r\n".to_owned(),
        "Host: a\r\nX\0: 1\r\n\r\n".to_owned(),
        "Host: a\r\nno colon\r\n\r\n".to_owned(),
        // Hosts.
        "Host: a\r\nHost: b\r\n\r\n".to_owned(),
        "Host: a\r\nhost: a\r\n\r\n".to_owned(),
    ] {
        let request = format!("POST /first HTTP/1.1\r\n{head}{HIDDEN}");
        let answer = stage.edge.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    }
    assert_eq!(stage.upstream.count(), 0, "the upstream has seen nothing");
}

/// V19
#[tokio::test]
async fn a_length_that_is_no_number_or_has_an_underscore_in_its_name_goes_no_further() {
    let stage = Stage::with(ROUTES).await;
    for (head, said) in [
        ("Content-Length: 5, 5", "no number"),
        ("Content-Length: 5 ,5", "no number"),
        ("Content_Length: 5", "an underscore"),
        ("Transfer_Encoding: chunked", "an underscore"),
    ] {
        let request = format!("POST /first HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nabcde");
        let answer = stage.edge.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert!(answer.contains("invalid_request"), "{head:?}: {answer}");
        assert!(answer.contains(said), "{head:?}: {answer}");
    }
    assert_eq!(stage.upstream.count(), 0, "the upstream has seen nothing");
}

/// V19
#[tokio::test]
async fn what_pingora_does_not_read_is_no_request() {
    let stage = Stage::with(ROUTES).await;
    for (target, head) in [
        ("/", "Host: a\r\nHost: b\r\n"),
        ("http://a/", "Host: b\r\n"),
        ("/", "Host: a\r\nX: 1\r\n folded\r\n"),
        ("/", "Host: a\r\nContent-Length: 0, 5\r\n"),
        ("/", "Host: a\r\nContent-Length:\r\n"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\n{head}\r\n");
        let answer = stage.edge.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert!(answer.contains("Pingora"), "{head:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{head:?}: {answer}");
    }
    assert_eq!(stage.upstream.count(), 0, "the upstream has seen nothing");
    let counted = stage
        .edge
        .metric("machineauth_edge_requests_total{route=\"(none)\",status=\"4xx\"}")
        .await;
    assert_eq!(counted.unwrap_or_default(), 0.0);
}

/// V19
#[tokio::test]
async fn whoever_probes_uses_up_what_the_address_may() {
    let stage = Stage::with(&format!("[limits]\nper_address = \"2/m\"\n{ROUTES}")).await;
    let lengths = "Content-Length: 0\r\nContent_Length: 5\r\n";
    let probe = format!("POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n");
    for _ in 0..2 {
        let answer = stage.edge.raw(probe.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let refused = stage.edge.get("/", None).await;
    refused.expect_error(429, "too_many_requests");
}

/// V19
#[tokio::test]
async fn a_chunked_body_ends_where_its_last_chunk_does() {
    let stage = Stage::with(ROUTES).await;
    let chunked = |body: &str| {
        format!(
            "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{HIDDEN}"
        )
    };
    for body in ["5\r\nabcde\r\n0\r\n\r\n", "5;x=1\r\nabcde\r\n0\r\n\r\n"] {
        let answer = stage.edge.raw(chunked(body).as_bytes()).await;
        assert!(answer.contains(r#""body":"abcde""#), "{body:?}: {answer}");
    }
    let before = stage.upstream.count();
    for body in [
        "x\r\nabcde\r\n0\r\n\r\n",
        "-1\r\n",
        "ffffffffffffffffff\r\n",
        "5\r\nabcdeX\r\n0\r\n\r\n",
    ] {
        let answer = stage.edge.raw(chunked(body).as_bytes()).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{body:?}: {answer}");
        assert!(!answer.contains("/hidden"), "{body:?}: {answer}");
    }
    let hidden = "a request in the body of another one is no request";
    assert!(stage.upstream.count() <= before + 4, "{hidden}");
}
