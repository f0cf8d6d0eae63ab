//! Connections: clients that dawdle, and a stop that lets requests finish.

use std::net::SocketAddr;
use std::num::NonZero;
use std::time::{Duration, Instant};

use machineauth_core::{RevocationFeed, RevocationSet};
use machineauth_issuer::server::Limits;
use machineauth_tests::issuer::Issuer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const BRIEF: Duration = Duration::from_millis(300);
/// More than a busy machine needs; where nothing ends, a test waits this long and fails.
const LONG: Duration = Duration::from_secs(30);

/// An issuer that gives its clients little time for a header, and much to finish a request.
async fn impatient() -> Issuer {
    let limits = Limits {
        header: BRIEF,
        write: BRIEF,
        drain: LONG,
        ..Limits::default()
    };
    Issuer::builder().limits(limits).start().await
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Whatever comes until the server hangs up.
async fn read_to_the_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = timeout(LONG, stream.read_to_end(&mut answer))
        .await
        .expect("the server hangs up");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_client_that_says_nothing_is_disconnected() {
    let issuer = impatient().await;
    let started = Instant::now();
    let mut stream = connect(issuer.address).await;
    assert_eq!(read_to_the_end(&mut stream).await, "");
    let elapsed = started.elapsed();
    assert!(elapsed >= BRIEF && elapsed < LONG / 2, "{elapsed:?}");
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_disconnected() {
    let issuer = impatient().await;
    let (_unread, mut to_server) = connect(issuer.address).await.into_split();
    let requests = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    // Once all buffers are full the server waits for us, and then no longer.
    let ask_on = async { while to_server.write_all(&requests).await.is_ok() {} };
    timeout(LONG, ask_on).await.expect("the server hangs up");
}

#[tokio::test]
async fn a_client_that_sends_its_header_byte_by_byte_is_disconnected() {
    let issuer = impatient().await;
    let started = Instant::now();
    let (mut from_server, mut to_server) = connect(issuer.address).await.into_split();
    let dawdle = async {
        for byte in b"GET /health HTTP/1.1\r\nhost: a\r\nx-slow: "
            .iter()
            .chain(std::iter::repeat(&b'a'))
        {
            if to_server.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(BRIEF / 20).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = dawdle => {}
        _ = from_server.read_to_end(&mut answer) => {}
        () = sleep(LONG) => panic!("the server goes on to wait"),
    }
    assert_eq!(String::from_utf8(answer).unwrap(), "");
    assert!(started.elapsed() >= BRIEF);
}

#[tokio::test]
async fn a_client_that_is_silent_after_its_request_is_disconnected() {
    let issuer = impatient().await;
    let mut stream = connect(issuer.address).await;
    let started = Instant::now();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_the_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(started.elapsed() >= BRIEF);
}

#[tokio::test]
async fn a_client_that_keeps_asking_in_time_is_not_disconnected() {
    let limits = Limits {
        header: Duration::from_secs(1),
        ..Limits::default()
    };
    let issuer = Issuer::builder().limits(limits.clone()).start().await;
    let mut stream = connect(issuer.address).await;
    for _ in 0..6 {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
        sleep(limits.header / 4).await;
    }
}

/// Waits until the issuer refuses connections.
async fn refuses_connections(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, refused)
        .await
        .expect("a server that stops accepts nobody");
}

#[tokio::test]
async fn a_stop_lets_a_request_in_flight_finish_and_accepts_no_other() {
    let issuer = Issuer::start().await;
    let agent = issuer.agent(&["read"]).await;
    let address = issuer.address;
    let body = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        agent.client_id, agent.client_secret
    );
    let (first, rest) = body.split_at(30);
    let mut stream = connect(address).await;
    let header = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(header.as_bytes()).await.unwrap();
    // The interim answer says that somebody waits for the body: the request is in flight.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(first.as_bytes()).await.unwrap();

    let stop = tokio::spawn(issuer.stop());
    refuses_connections(address).await;
    assert!(!stop.is_finished(), "a request is still in flight");
    stream.write_all(rest.as_bytes()).await.unwrap();
    let answer = read_to_the_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"access_token\""),
        "{answer}"
    );
    timeout(LONG, stop)
        .await
        .expect("the issuer stops")
        .unwrap();
}

#[tokio::test]
async fn neither_listeners_nor_idle_connections_hold_a_stop_up() {
    let limits = Limits {
        header: 10 * LONG,
        write: 10 * LONG,
        drain: 10 * LONG,
        ..Limits::default()
    };
    let issuer = Issuer::builder().limits(limits).start().await;
    let mut silent = connect(issuer.address).await;
    let mut feeds = Vec::new();
    for _ in 0..3 {
        let feed = RevocationFeed::of(&issuer.base, RevocationSet::new())
            .start()
            .unwrap();
        feed.ready().await;
        feeds.push(feed);
    }
    let mut raw = connect(issuer.address).await;
    raw.write_all(b"GET /oauth/revocations HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut begin = [0; 15];
    raw.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    // This client keeps its connection for another request.
    assert_eq!(issuer.get("/health").await.status, 200);

    timeout(LONG, issuer.stop())
        .await
        .expect("nobody holds the stop up");
    let rest = read_to_the_end(&mut raw).await;
    assert!(
        rest.ends_with("\r\n0\r\n\r\n"),
        "the stream ends as a whole, not by a cut: {rest:?}"
    );
    assert_eq!(read_to_the_end(&mut silent).await, "");
}

#[tokio::test]
async fn a_request_that_never_finishes_holds_a_stop_up_for_a_limited_time() {
    let limits = Limits {
        drain: BRIEF,
        ..Limits::default()
    };
    let issuer = Issuer::builder().limits(limits).start().await;
    let mut stream = connect(issuer.address).await;
    stream
        .write_all(
            b"POST /oauth/token HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
              content-length: 100\r\nexpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    let started = Instant::now();
    timeout(LONG / 2, issuer.stop())
        .await
        .expect("the issuer stops all the same");
    assert!(started.elapsed() >= BRIEF);
}

/// Asks for `/health` on a connection that stays open.
async fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 2048];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn beyond_the_most_connections_others_wait_until_one_is_closed() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let issuer = Issuer::builder().limits(limits).start().await;
    let (mut first, mut second) = (connect(issuer.address).await, connect(issuer.address).await);
    ask(&mut first).await;
    ask(&mut second).await;
    let mut third = connect(issuer.address).await;
    assert!(timeout(BRIEF, ask(&mut third)).await.is_err());
    drop(first);
    let mut answer = [0; 15];
    timeout(LONG, third.read_exact(&mut answer))
        .await
        .expect("it is its turn")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    ask(&mut second).await;
    timeout(LONG, issuer.stop())
        .await
        .expect("a full house can be closed");
}

#[tokio::test]
async fn an_address_has_its_share_of_the_connections_and_a_proxy_all() {
    for (proxies, is_closed) in [
        (vec![], true),
        (vec!["127.0.0.1/32".parse().unwrap()], false),
    ] {
        let limits = Limits {
            connections_per_address: NonZero::new(2),
            proxies,
            ..Limits::default()
        };
        let issuer = Issuer::builder().limits(limits).start().await;
        let (mut first, mut second) =
            (connect(issuer.address).await, connect(issuer.address).await);
        ask(&mut first).await;
        ask(&mut second).await;
        let mut third = connect(issuer.address).await;
        if is_closed {
            assert_eq!(read_to_the_end(&mut third).await, "");
            drop(first);
            // The server notices in its own time.
            let admitted = async { while try_to_ask(issuer.address).await.is_err() {} };
            timeout(LONG, admitted).await.unwrap();
        } else {
            ask(&mut third).await;
        }
    }
}

/// Asks for `/health` on a connection of its own.
async fn try_to_ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = connect(address).await;
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        .await?;
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.map(|_| ())
}

#[tokio::test]
async fn a_request_names_one_host() {
    let issuer = Issuer::start().await;
    for (hosts, expected) in [
        ("", "HTTP/1.1 400 "),
        ("host: a\r\nhost: a\r\n", "HTTP/1.1 400 "),
        ("host: a\r\n", "HTTP/1.1 200 "),
    ] {
        let mut stream = connect(issuer.address).await;
        let request = format!("GET /health HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_the_end(&mut stream).await;
        assert!(answer.starts_with(expected), "{hosts:?}: {answer}");
    }
}
