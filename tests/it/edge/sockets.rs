//! WebSockets through the edge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use machineauth_tests::certificate::Pair;
use machineauth_tests::edge::Edge;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::upstream::{Arrived, Upstream};
use reqwest::Method;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{accept_async, client_async};

use super::{EDGE, Stage, api, trusting};

const SOON: Duration = Duration::from_secs(20);
const AUTHENTICATED: &str = "[[route]]\nupstream = \"api\"\nauthenticated = true\n";
const ASKS: &str = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A service that speaks WebSocket and says what it hears.
async fn websocket_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn websockets_pass_and_end_with_their_token() {
    let issuer = Issuer::start().await;
    let address = websocket_echo().await;
    let configuration = format!(
        "{}[[upstream]]\nname = \"api\"\nservers = [\"{address}\"]\n{AUTHENTICATED}",
        trusting(&issuer.base)
    );
    let edge = Edge::start(EDGE, &configuration).await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    let url = format!("{}/socket", edge.base.replace("http://", "ws://"));
    let request = |token: Option<&str>| {
        let mut request = url.as_str().into_client_request().unwrap();
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        request
    };
    let refused = client_async(request(None), edge.connect().await).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!(answer.status(), 401);

    let (mut socket, _) = client_async(request(Some(&token)), edge.connect().await)
        .await
        .unwrap();
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
        let heard = timeout(SOON, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(heard, Message::text(text));
    }
    // It ends at once, although nobody says anything.
    issuer.revoke(&token).await;
    let end = timeout(SOON, socket.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
    let log = edge.process.printed_until("\"status\":101").await;
    assert!(log.contains("/socket"), "{log}");
}

#[tokio::test]
async fn a_server_that_does_not_switch_gives_a_usual_answer() {
    let stage = Stage::with(AUTHENTICATED).await;
    let token = stage.token(&["read"]).await;
    let request = stage
        .edge
        .request(Method::GET, "/a")
        .bearer_auth(&token)
        .header("connection", "upgrade, x-agent-id")
        .header("upgrade", "websocket")
        .header("x-agent-id", "root")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let arrived = Arrived::of(&Answer::to(request).await);
    assert_eq!(arrived.header("upgrade").as_deref(), Some("websocket"));
    assert_ne!(arrived.header("x-agent-id").as_deref(), Some("root"));
    assert!(arrived.header("x-agent-id").is_some());
    assert_eq!(arrived.header("authorization"), None);
}

#[tokio::test]
async fn a_route_can_do_without_websockets() {
    let stage =
        Stage::with("[[route]]\nupstream = \"api\"\npublic = true\nwebsocket = false\n").await;
    let request = stage
        .edge
        .request(Method::GET, "/a")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let arrived = Arrived::of(&Answer::to(request).await);
    assert_eq!(arrived.header("upgrade"), None);
}

/// Sockets are carried over HTTP/1.1 only, whatever else the server would speak.
#[tokio::test]
async fn a_socket_is_502_where_the_server_turns_out_to_speak_http2_only() {
    let pair = Pair::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = http2_only(&pair);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shaking = acceptor.accept(stream);
            tokio::spawn(async move { assert!(shaking.await.is_err(), "they agree on nothing") });
        }
    });
    let configuration = format!(
        r#"
        [[upstream]]
        name = "api"
        servers = ["{address}"]
        protocol = "auto"
        tls = {{ ca = "ca.pem" }}
        [[route]]
        upstream = "api"
        public = true
        "#
    );
    let files = [("ca.pem", pair.certificate.as_str())];
    let edge = Edge::start_with(EDGE, &configuration, &files).await;
    let request = format!("GET /a HTTP/1.1\r\nHost: a\r\n{ASKS}\r\n");
    let answer = edge.raw_to_end(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains(r#""error":"bad_gateway""#), "{answer}");
    let failures = "machineauth_edge_upstream_failures_total{upstream=\"api\",kind=\"connect\"}";
    assert_eq!(edge.metric(failures).await, Some(2.0), "it was tried twice");
}

fn http2_only(pair: &Pair) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.der.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A service that switches to WebSocket and never reads again.
async fn deaf_websocket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let _socket = accept_async(stream).await.unwrap();
        std::future::pending::<()>().await;
    });
    address
}

#[tokio::test]
async fn a_socket_ends_with_its_token_although_its_server_does_not_read() {
    let issuer = Issuer::start().await;
    let upstream = Upstream::echo("api").await;
    let address = deaf_websocket().await;
    let configuration = format!(
        r#"{}{}{AUTHENTICATED}
        [[upstream]]
        name = "deaf"
        servers = ["{address}"]
        [[route]]
        path = "/deaf"
        upstream = "deaf"
        authenticated = true
        "#,
        trusting(&issuer.base),
        api(&upstream)
    );
    let edge = Edge::start(EDGE, &configuration).await;
    let (token, _) = issuer.tokens(&issuer.agent(&["read"]).await).await;
    let (mut reading, mut writing) = edge.connect().await.into_split();
    let request =
        format!("GET /deaf HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{ASKS}\r\n");
    writing.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 4096];
    let read = reading.read(&mut head).await.unwrap();
    assert!(head[..read].starts_with(b"HTTP/1.1 101 "));
    // Until nobody on the way has room for more.
    let part = vec![0; 256 << 10];
    while let Ok(written) = timeout(Duration::from_millis(500), writing.write_all(&part)).await {
        written.unwrap();
    }
    issuer.revoke(&token).await;
    let end = timeout(SOON, reading.read(&mut head)).await.unwrap();
    assert!(!matches!(end, Ok(1..)), "{end:?}");
}

#[tokio::test]
async fn a_socket_whose_token_ends_before_the_server_answers_is_refused() {
    let (slow, _go_on) = Upstream::in_two_steps("", "").await;
    let stage = Stage::with(AUTHENTICATED).await;
    let configuration = format!(
        "{}[[upstream]]\nname = \"slow\"\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/slow\"\nupstream = \"slow\"\nauthenticated = true\n",
        stage.configuration(AUTHENTICATED),
        slow.address
    );
    let edge = Edge::start(EDGE, &configuration).await;
    let token = stage.token(&["read"]).await;
    let request =
        format!("GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{ASKS}\r\n");
    let mut stream = edge.connect().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    slow.was_asked().await;
    stage.issuer.revoke(&token).await;
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("invalid_token"), "{answer}");
}

#[tokio::test]
async fn what_a_route_says_to_pages_and_of_limits_is_said_with_sockets_too() {
    let stage = Stage::with(
        r#"
        [[route]]
        upstream = "api"
        authenticated = true
        per_agent = "9/m"
        cors = { origins = ["https://app.example"] }
        "#,
    )
    .await;
    let token = stage.token(&["read"]).await;
    let fields =
        format!("{ASKS}Origin: https://app.example\r\nProxy-Authorization: Basic YTpi\r\n");
    let request =
        format!("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{fields}\r\n");
    let answer = stage.edge.raw(request.as_bytes()).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    for said in [
        "access-control-allow-origin: https://app.example",
        "\r\nratelimit: ",
    ] {
        assert!(answer.contains(said), "{said}: {answer}");
    }
    assert!(!answer.contains("ytpi"), "{answer}");
}
