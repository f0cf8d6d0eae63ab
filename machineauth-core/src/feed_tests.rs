use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::clock::{ManualClock, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_000);
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// An issuer that a test plays by hand: each connection is handed over after its request has been read.
struct Issuer {
    url: String,
    connections: mpsc::UnboundedReceiver<Connection>,
}

struct Connection {
    request: String,
    stream: TcpStream,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (hand_over, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
                let _ = hand_over.send(Connection { request, stream });
            }
        });
        Self { url, connections }
    }

    async fn connection(&mut self) -> Connection {
        self.connections.recv().await.unwrap()
    }

    /// Up to and including a snapshot with one token.
    async fn live_connection(&mut self) -> Connection {
        let mut connection = self.connection().await;
        connection.send(STREAM).await;
        connection
            .send(&format!("event: snapshot\ndata: [{}]\n\n", token("a")))
            .await;
        connection
            .send("event: live\nid: 1\ndata: {\"at\":1000000}\n\n")
            .await;
        connection
    }
}

impl Connection {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }
}

fn token(jti: &str) -> String {
    format!(r#"{{"type":"token","jti":"{jti}","until":2000000000}}"#)
}

fn follow(issuer: &Issuer) -> (RevocationFeed, RevocationSet) {
    let set = RevocationSet::new();
    let feed = RevocationFeed::of(&issuer.url, set.clone())
        .clock(Arc::new(ManualClock::new(NOW)))
        .start()
        .unwrap();
    (feed, set)
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("what was waited for did not come about");
}

#[tokio::test]
async fn the_set_is_ready_after_the_snapshot_and_follows_from_there() {
    let mut issuer = Issuer::start().await;
    let (feed, set) = follow(&issuer);
    let mut connection = issuer.live_connection().await;
    feed.ready().await;
    assert_eq!(set.len(), 1);
    assert_eq!(set.staleness(NOW), Some(Duration::ZERO));
    assert!(feed.status().live);
    assert!(
        connection
            .request
            .starts_with("get /oauth/revocations http/1.1")
    );
    assert!(!connection.request.contains("authorization"));

    connection
        .send(&format!(
            "event: revocation\nid: 2\ndata: {}\n\n",
            token("b")
        ))
        .await;
    until(|| set.len() == 2).await;
}

/// V24
#[tokio::test]
async fn a_feed_that_is_down_is_connected_again_and_resumed() {
    let mut issuer = Issuer::start().await;
    let (feed, set) = follow(&issuer);
    let mut connection = issuer.live_connection().await;
    connection
        .send(&format!(
            "event: revocation\nid: 2\ndata: {}\n\n",
            token("b")
        ))
        .await;
    until(|| set.len() == 2).await;
    drop(connection);

    let mut connection = issuer.connection().await;
    assert!(
        connection.request.contains("last-event-id: 2\r\n"),
        "{}",
        connection.request
    );
    assert!(!feed.status().live);
    assert!(feed.status().ready);
    assert_eq!(set.len(), 2, "what is known stays in force");

    connection.send(STREAM).await;
    connection
        .send("event: heartbeat\nid: 3\ndata: {\"at\":1000000}\n\n")
        .await;
    until(|| feed.status().live).await;
    assert_eq!(feed.status().disconnects, 1);
}

/// V24
#[tokio::test]
async fn a_snapshot_that_is_truncated_is_asked_for_again_from_the_start() {
    let mut issuer = Issuer::start().await;
    let (feed, set) = follow(&issuer);
    let mut connection = issuer.connection().await;
    connection.send(STREAM).await;
    connection
        .send(&format!(
            "event: snapshot\ndata: [{}]\n\nevent: li",
            token("a")
        ))
        .await;
    drop(connection);

    let connection = issuer.live_connection().await;
    assert!(!connection.request.contains("last-event-id"));
    feed.ready().await;
    assert_eq!(set.len(), 1);
}

/// V24
#[tokio::test]
async fn an_answer_that_is_no_event_stream_is_not_read() {
    let mut issuer = Issuer::start().await;
    let (feed, set) = follow(&issuer);
    let snapshot = format!("event: snapshot\ndata: [{}]\n\n", token("a"));
    let live = "event: live\nid: 1\ndata: {\"at\":1000000}\n\n";
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/event-stream\r\n\r\n",
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-type: text/event-stream\r\n\r\n",
    ] {
        let mut connection = issuer.connection().await;
        connection.send(&format!("{head}{snapshot}{live}")).await;
    }
    let _connection = issuer.connection().await;
    assert!(!feed.status().ready);
    assert!(set.is_empty());
}

/// V24
#[tokio::test]
async fn a_malformed_event_costs_the_connection_and_the_next_one_takes_a_snapshot() {
    let mut issuer = Issuer::start().await;
    let (feed, set) = follow(&issuer);
    let mut connection = issuer.live_connection().await;
    feed.ready().await;
    connection
        .send("event: revocation\nid: 2\ndata: {\"type\":\"token\"}\n\n")
        .await;

    let connection = issuer.live_connection().await;
    assert!(!connection.request.contains("last-event-id"));
    until(|| feed.status().live).await;
    assert_eq!(set.len(), 1);
}

/// V24
#[tokio::test]
async fn a_connection_that_is_silent_or_only_makes_noise_is_given_up() {
    let mut issuer = Issuer::start().await;
    let set = RevocationSet::new();
    let feed = RevocationFeed::of(&issuer.url, set)
        .clock(Arc::new(ManualClock::new(NOW)))
        .idle_timeout(Duration::from_millis(100))
        .start()
        .unwrap();
    let mut connection = issuer.live_connection().await;
    feed.ready().await;
    let noise = tokio::spawn(async move {
        while connection
            .stream
            .write_all(b": still here\n\n")
            .await
            .is_ok()
        {
            sleep(Duration::from_millis(10)).await;
        }
    });
    let silent = issuer.connection().await;
    assert!(!feed.status().live);
    noise.await.unwrap();

    issuer.live_connection().await;
    drop(silent);
    until(|| feed.status().disconnects >= 2).await;
}

/// V24
#[tokio::test]
async fn an_issuer_that_is_not_there_yet_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let feed = RevocationFeed::of(format!("http://{address}"), RevocationSet::new())
        .start()
        .unwrap();
    until(|| feed.status().disconnects >= 2).await;

    let listener = TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let text =
        format!("{STREAM}event: snapshot\ndata: []\n\nevent: live\nid: 1\ndata: {{\"at\":1}}\n\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    feed.ready().await;
}

#[tokio::test]
async fn dropping_the_feed_closes_its_connection() {
    let mut issuer = Issuer::start().await;
    let (feed, _) = follow(&issuer);
    let mut connection = issuer.live_connection().await;
    feed.ready().await;
    drop(feed);
    let closed = connection.stream.read(&mut [0; 16]).await;
    assert!(matches!(closed, Ok(0) | Err(_)));
}

/// I21
#[tokio::test]
async fn credentials_are_sent_form_encoded_and_shown_nowhere() {
    let mut issuer = Issuer::start().await;
    let builder = RevocationFeed::of(&issuer.url, RevocationSet::new())
        .client_credentials("api:1", "s3cret/+ü");
    let sent = STANDARD.encode("api%3A1:s3cret%2F%2B%C3%BC");
    let shown = format!("{builder:?} {:?}", builder.authorization);
    assert!(
        !shown.contains("s3cret") && !shown.contains(&sent),
        "{shown}"
    );

    let _feed = builder.start().unwrap();
    let connection = issuer.connection().await;
    let expected = format!("authorization: basic {}\r\n", sent.to_lowercase());
    assert!(
        connection.request.contains(&expected),
        "{}",
        connection.request
    );
}

#[test]
fn a_feed_needs_a_runtime_and_a_url_that_may_be_asked() {
    let start = |issuer: &str| RevocationFeed::of(issuer, RevocationSet::new()).start();
    let kind = |result: Result<RevocationFeed, Error>| result.unwrap_err().kind();
    assert_eq!(
        kind(start("https://issuer.example")),
        ErrorKind::InvalidConfiguration
    );

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    for issuer in ["issuer.example", "http://issuer.example"] {
        assert_eq!(
            kind(start(issuer)),
            ErrorKind::InvalidConfiguration,
            "{issuer}"
        );
    }
    assert!(start("https://issuer.example").is_ok());
}
