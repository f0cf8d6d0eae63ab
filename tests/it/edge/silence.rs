//! Who is told what when somebody falls silent in the middle of a request.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use machineauth_tests::edge::Edge;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::upstream::Upstream;
use tokio::time::timeout;

use super::EDGE;

const SOON: Duration = Duration::from_secs(20);

/// An edge before one server, of which `more` is said.
async fn edge(server: &Upstream, more: &str, limits: &str) -> Edge {
    let address = server.address;
    let configuration = format!(
        r#"
        [server]
        h2c = true
        [limits]
        {limits}
        [[upstream]]
        name = "api"
        servers = ["{address}"]
        {more}
        [[route]]
        upstream = "api"
        public = true
        "#
    );
    Edge::start(EDGE, &configuration).await
}

async fn blamed(edge: &Edge, kind: &str) -> Option<f64> {
    let failures = "machineauth_edge_upstream_failures_total{upstream=\"api\",kind=";
    edge.metric(&format!("{failures}{kind:?}}}")).await
}

async fn until_under_way(edge: &Edge, count: f64) {
    let counted = async {
        let under_way = "machineauth_edge_requests_in_flight";
        while edge.metric(under_way).await != Some(count) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let counted = timeout(SOON, counted).await;
    counted.unwrap_or_else(|_| panic!("there are not {count} requests under way"));
}

/// A client of HTTP/2 with one connection.
#[derive(Clone)]
struct Client(SendRequest<UnsyncBoxBody<Bytes, Infallible>>);

impl Client {
    async fn of(edge: &Edge) -> Self {
        let stream = TokioIo::new(edge.connect().await);
        let (client, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    /// Sends a whole request.
    async fn send(&mut self, path: &str) -> Response<Incoming> {
        self.post(path, Full::from("body").boxed_unsync()).await
    }

    /// Sends half a request, and never the rest.
    async fn send_half(&mut self, path: &str) -> Response<Incoming> {
        let half = stream::iter([Ok(Frame::data("five!".into()))]);
        let body = StreamBody::new(half.chain(stream::pending()));
        self.post(path, body.boxed_unsync()).await
    }

    async fn post(
        &mut self,
        path: &str,
        body: UnsyncBoxBody<Bytes, Infallible>,
    ) -> Response<Incoming> {
        let request = Request::post(format!("http://a{path}")).body(body).unwrap();
        let answer = timeout(SOON, self.0.send_request(request)).await;
        answer.expect("it is answered in time").unwrap()
    }
}

async fn text(answer: Response<Incoming>) -> String {
    let body = timeout(SOON, answer.into_body().collect()).await;
    let body = body.expect("the answer ends").unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_its_body_is_408() {
    let upstream = Upstream::echo("api").await;
    let edge = edge(&upstream, "timeout = \"1h\"", "client_timeout = \"200ms\"").await;
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!";
    let answer = edge.raw_to_end(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
}

/// Both are silent then, and Pingora cannot tell for whom a server waits.
#[tokio::test]
async fn where_the_server_is_waited_for_less_long_it_is_504() {
    let upstream = Upstream::echo("api").await;
    let edge = edge(&upstream, "timeout = \"200ms\"", "client_timeout = \"1h\"").await;
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!";
    let answer = edge.raw_to_end(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

#[tokio::test]
async fn over_http2_it_is_408_as_well_and_what_else_the_client_asks_goes_on() {
    let upstream = Upstream::echo("api").await;
    let edge = edge(&upstream, "timeout = \"1h\"", "client_timeout = \"2s\"").await;
    let mut client = Client::of(&edge).await;
    let mut silent = client.clone();
    let silent = tokio::spawn(async move { silent.send_half("/silent").await });
    until_under_way(&edge, 1.0).await;
    assert_eq!(client.send("/a").await.status(), 200);
    let answer = silent.await.unwrap();
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let answer = text(answer).await;
    assert!(answer.contains(r#""error":"request_timeout""#), "{answer}");
    assert_eq!(client.send("/b").await.status(), 200, "the same connection");

    assert_eq!(upstream.count(), 3, "nothing was tried again");
    for kind in ["timeout", "broken"] {
        assert_eq!(blamed(&edge, kind).await, None);
    }
    let refused =
        "machineauth_edge_refusals_total{route=\"/\",reason=\"request_timeout\",enforced=\"true\"}";
    assert_eq!(edge.metric(refused).await, Some(1.0));
    let refused = "\"status\":408";
    let log = edge.process.printed_until(refused).await;
    let line = log.lines().find(|line| line.contains(refused)).unwrap();
    for part in [r#""path":"/silent""#, "HTTP/2", "did not arrive in time"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// Pingora waits there for as long as the server does; the server is not to blame for it.
#[tokio::test]
async fn where_the_server_speaks_http2_too_it_is_408_once_the_server_has_waited_long_enough() {
    let upstream = Upstream::echo("api").await;
    let more = "protocol = \"http2\"\ntimeout = \"300ms\"";
    let edge = edge(&upstream, more, "client_timeout = \"100ms\"").await;
    let answer = Client::of(&edge).await.send_half("/a").await;
    assert_eq!(answer.status(), 408);
    assert_eq!(blamed(&edge, "timeout").await, None);
}

#[tokio::test]
async fn a_client_that_has_its_answer_and_never_ends_its_request_is_not_waited_for() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (hasty, _go_on) = Upstream::in_two_steps(whole, "").await;
    let edge = edge(&hasty, "timeout = \"1h\"", "client_timeout = \"200ms\"").await;
    let mut client = Client::of(&edge).await;
    let answer = client.send_half("/a").await;
    assert_eq!(text(answer).await, "ok");
    until_under_way(&edge, 0.0).await;
    assert_eq!(blamed(&edge, "broken").await, None);
}

#[tokio::test]
async fn a_client_that_hears_the_middle_of_an_answer_may_be_silent() {
    let first = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfirst";
    let (slow, go_on) = Upstream::in_two_steps(first, "!").await;
    let other = Upstream::echo("other").await;
    let address = other.address;
    let more = format!(
        r#"
        timeout = "1h"
        [[upstream]]
        name = "other"
        servers = ["{address}"]
        [[route]]
        path = "/other"
        upstream = "other"
        public = true
        "#
    );
    let edge = edge(&slow, &more, "client_timeout = \"200ms\"").await;
    let mut client = Client::of(&edge).await;
    let mut answer = client.send_half("/a").await;
    let heard = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(heard.into_data().unwrap(), "first");
    // Once somebody who began later is refused, the time is over.
    let head = "POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!";
    let later = edge.raw_to_end(head.as_bytes()).await;
    assert!(later.starts_with("HTTP/1.1 408 "), "{later}");
    go_on.notify_one();
    assert_eq!(text(answer).await, "!");
}

#[tokio::test]
async fn a_server_that_waits_in_the_middle_of_its_answer_for_a_silent_client_is_not_blamed() {
    let first = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfirst";
    let (waiting, _go_on) = Upstream::in_two_steps(first, "!").await;
    let limits = "client_timeout = \"100ms\"";
    let edge = edge(&waiting, "timeout = \"300ms\"", limits).await;
    let mut answer = Client::of(&edge).await.send_half("/a").await;
    let heard = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(heard.into_data().unwrap(), "first");
    let broken_off = timeout(SOON, answer.into_body().collect()).await;
    assert!(broken_off.expect("the answer ends").is_err());
    until_under_way(&edge, 0.0).await;
    for kind in ["timeout", "broken"] {
        assert_eq!(blamed(&edge, kind).await, None, "{kind}");
    }
}

/// It is the server that keeps the client from sending, whichever version either of them speaks.
#[tokio::test]
async fn a_server_that_takes_no_body_is_504_and_its_client_is_not_blamed() {
    // More than has room on the way.
    let body = vec![b'x'; 32 << 20];
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let over_http1 = [head.as_bytes(), &body].concat();
    let http2 = http::builder(&[]).http2_prior_knowledge().build().unwrap();
    for protocol in ["http1", "http2"] {
        let deaf = Upstream::deaf().await;
        let more = format!("timeout = \"500ms\"\nprotocol = \"{protocol}\"");
        let limits = "client_timeout = \"100ms\"\nmax_body = \"64MiB\"";
        let edge = edge(&deaf, &more, limits).await;
        let answer = edge.raw_to_end(&over_http1).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{protocol}: {answer}");
        let request = http2.post(format!("{}/a", edge.base)).body(body.clone());
        let answer = Answer::to(request).await;
        answer.expect_error(504, "gateway_timeout");
        assert_eq!(deaf.count(), 2, "{protocol}");
        assert_eq!(blamed(&edge, "timeout").await, Some(2.0), "{protocol}");
    }
}
