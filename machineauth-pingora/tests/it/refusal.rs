//! What a client reads when the proxy refuses its request.

use proptest::prelude::*;

use crate::edge::{Answer, Client, Edge};
use crate::issuer::Issuer;

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn assert_is_refusal(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body["error"], code);
    assert_eq!(body["message"], body["error_description"]);
}

#[test]
fn no_token_is_401_with_a_challenge() {
    let issuer = Issuer::new();
    let module = issuer
        .module()
        .realm("artifacts")
        .resource_metadata("https://edge.example/.well-known/oauth-protected-resource");
    let answer = Edge::with(module).get(&[]);
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.field("www-authenticate"),
        Some(
            "Bearer realm=\"artifacts\", \
             resource_metadata=\"https://edge.example/.well-known/oauth-protected-resource\""
        )
    );
}

#[test]
fn a_bad_token_is_401_invalid_token() {
    let issuer = Issuer::new();
    let token = bearer(&Issuer::new().token("read"));
    let answer = Edge::with(issuer.module()).get(&[("Authorization", &token)]);
    assert_is_refusal(&answer, 401, "invalid_token");
    let challenge = answer.field("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer error=\"invalid_token\""));
}

#[test]
fn a_missing_scope_is_403_and_named() {
    let issuer = Issuer::new();
    let edge = Edge::with(issuer.module().require("read write").unwrap());
    let answer = edge.get(&[("Authorization", &bearer(&issuer.token("read")))]);
    assert_is_refusal(&answer, 403, "insufficient_scope");
    let challenge = answer.field("www-authenticate").unwrap();
    assert!(challenge.ends_with("scope=\"read write\""), "{challenge}");
}

/// V18
#[test]
fn two_authorization_headers_are_400_although_both_are_good() {
    let issuer = Issuer::new();
    let token = bearer(&issuer.token("read"));
    let answer =
        Edge::with(issuer.module()).get(&[("Authorization", &token), ("authorization", &token)]);
    assert_is_refusal(&answer, 400, "invalid_request");
}

/// V16
#[test]
fn keys_that_cannot_be_had_are_503_and_the_client_is_asked_back() {
    let issuer = Issuer::new();
    let edge = Edge::with(issuer.module_during_outage());
    let answer = edge.get(&[("Authorization", &bearer(&issuer.token("read")))]);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.field("retry-after"), Some("5"));
    assert_eq!(answer.field("www-authenticate"), None);
}

/// The next request on the connection of one that was refused.
fn assert_serves_another(client: &mut Client, issuer: &Issuer) {
    let token = bearer(&issuer.token("read"));
    let answer = client.send("GET", &[("Authorization", &token)], "");
    assert_eq!(answer.at_upstream().field("x-agent-id"), Some("agent-7"));
}

#[test]
fn the_connection_of_a_refused_request_serves_the_next() {
    let issuer = Issuer::new();
    let edge = Edge::with(issuer.module());
    let mut client = edge.connect();
    for method in ["GET", "HEAD", "DELETE"] {
        let answer = client.send(method, &[], "");
        assert_eq!(answer.status, 401);
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    assert_serves_another(&mut client, &issuer);
}

const SMUGGLED: &str = "GET / HTTP/1.1\r\nHost: edge\r\n\r\n";

#[test]
fn the_body_of_a_refused_request_is_not_taken_for_the_next_request() {
    let issuer = Issuer::new();
    let edge = Edge::with(issuer.module());
    let mut client = edge.connect();
    let length = SMUGGLED.len();
    let chunked = format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let bodies = [
        (("Content-Length", length.to_string()), SMUGGLED),
        (("Transfer-Encoding", "chunked".to_owned()), &chunked),
    ];
    for ((name, value), body) in bodies {
        let answer = client.send("POST", &[(name, &value)], body);
        assert_eq!(answer.status, 401);
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
    assert_serves_another(&mut client, &issuer);
}

#[test]
fn a_body_that_is_long_or_never_comes_closes_the_connection() {
    let edge = Edge::with(Issuer::new().module());
    let endless = format!("10001\r\n{}", "a".repeat(0x10001));
    let bodies: [(&[(&str, &str)], &str); 4] = [
        (&[("Content-Length", "10000000")], ""),
        (&[("Content-Length", "2")], "a"),
        (&[("Content-Length", "2"), ("Expect", "100-continue")], ""),
        (&[("Transfer-Encoding", "chunked")], &endless),
    ];
    for (headers, body) in bodies {
        let mut client = edge.connect();
        let answer = client.send("POST", headers, body);
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{headers:?}");
        assert!(client.is_closed(), "{headers:?}");
    }
}

#[test]
fn a_client_that_asks_to_close_is_obeyed() {
    let edge = Edge::with(Issuer::new().module());
    let mut client = edge.connect();
    let answer = client.send("GET", &[("Connection", "close")], "");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn what_the_module_did_not_refuse_is_answered_as_pingora_does() {
    let issuer = Issuer::new();
    let nobody_listens_here = ([127, 0, 0, 1], 1).into();
    let edge = Edge::before(issuer.module(), nobody_listens_here);
    let answer = edge.get(&[("Authorization", &bearer(&issuer.token("read")))]);
    assert_eq!(answer.status, 502);
    assert_eq!(answer.field("www-authenticate"), None);
}

/// V23
#[test]
fn no_bytes_in_the_authorization_header_cost_more_than_a_4xx() {
    let issuer = Issuer::new();
    let edge = Edge::with(issuer.module());
    proptest!(ProptestConfig::with_cases(300), |(
        value in any::<Vec<u8>>(),
        scheme in prop::sample::select(vec!["", "Bearer ", "bearer\t"]),
    )| {
        let mut client = edge.connect();
        client.write(b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nAuthorization: ");
        client.write(scheme.as_bytes());
        client.write(&value);
        client.write(b"\r\n\r\n");
        let status = client.read("GET").status;
        prop_assert!((400..500).contains(&status), "{}", status);
    });
    assert_serves_another(&mut edge.connect(), &issuer);
}
