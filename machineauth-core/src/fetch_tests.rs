use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::ErrorKind;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::crypto::Algorithm;
use crate::jwks::JwksCache;
use crate::outbound::MAX_BODY;

const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"a",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

async fn answer(server: &MockServer, at: &str, response: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(response)
        .mount(server)
        .await;
}

fn ok(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "application/json")
}

fn metadata(issuer: &str, jwks_uri: &str) -> ResponseTemplate {
    ok(&json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string())
}

async fn asked(server: &MockServer, at: &str) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .filter(|request| request.url.path() == at)
        .count()
}

/// Takes connections, reads a request from each and hands it to `respond`.
async fn raw_server<F>(respond: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            tokio::spawn(respond(stream));
        }
    });
    url
}

#[tokio::test]
async fn keys_are_found_through_the_metadata_which_is_asked_once() {
    let server = MockServer::start().await;
    let jwks_uri = format!("{}/keys", server.uri());
    answer(&server, OAUTH, metadata(&server.uri(), &jwks_uri)).await;
    answer(&server, "/keys", ok(KEYS)).await;

    let keys = HttpKeys::discover(&server.uri()).unwrap();
    assert_eq!(keys.fetch().await.unwrap(), KEYS);
    assert_eq!(keys.fetch().await.unwrap(), KEYS);
    assert_eq!(asked(&server, OAUTH).await, 1);
    assert_eq!(asked(&server, "/keys").await, 2);
}

#[tokio::test]
async fn an_issuer_with_only_the_openid_document_is_understood() {
    let server = MockServer::start().await;
    let jwks_uri = format!("{}/keys", server.uri());
    answer(&server, OPENID, metadata(&server.uri(), &jwks_uri)).await;
    answer(&server, "/keys", ok(KEYS)).await;
    let keys = HttpKeys::discover(&server.uri()).unwrap();
    assert_eq!(keys.fetch().await.unwrap(), KEYS);
}

/// V8
#[tokio::test]
async fn metadata_that_names_another_issuer_is_refused_to_the_letter() {
    let server = MockServer::start().await;
    let jwks_uri = format!("{}/keys", server.uri());
    let with_slash = format!("{}/", server.uri());
    answer(&server, OAUTH, metadata(&with_slash, &jwks_uri)).await;
    answer(&server, "/keys", ok(KEYS)).await;
    let keys = HttpKeys::discover(&server.uri()).unwrap();
    assert_eq!(keys.fetch().await, Err(FetchError::WrongIssuer));
    assert_eq!(asked(&server, "/keys").await, 0);
}

#[tokio::test]
async fn metadata_without_its_members_is_refused() {
    for body in ["<html>", "{}", "[]", r#"{"issuer":1,"jwks_uri":2}"#, ""] {
        let server = MockServer::start().await;
        answer(&server, OAUTH, ok(body)).await;
        let keys = HttpKeys::discover(&server.uri()).unwrap();
        assert_eq!(
            keys.fetch().await,
            Err(FetchError::InvalidMetadata),
            "{body}"
        );
    }
}

#[tokio::test]
async fn keys_that_moved_are_found_again_at_the_next_attempt() {
    let server = MockServer::start().await;
    let place = |name: &str| metadata(&server.uri(), &format!("{}/{name}", server.uri()));
    answer(&server, OAUTH, place("old")).await;
    answer(&server, "/old", ok(KEYS)).await;
    let keys = HttpKeys::discover(&server.uri()).unwrap();
    keys.fetch().await.unwrap();

    server.reset().await;
    answer(&server, OAUTH, place("new")).await;
    answer(&server, "/new", ok(KEYS)).await;
    assert_eq!(keys.fetch().await, Err(FetchError::Status(404)));
    assert_eq!(keys.fetch().await.unwrap(), KEYS);
}

/// V7
#[tokio::test]
async fn redirects_are_not_followed() {
    let server = MockServer::start().await;
    for status in [301, 302, 303, 307, 308] {
        let at = format!("/moved-{status}");
        let redirect = ResponseTemplate::new(status).insert_header("location", "/keys");
        answer(&server, &at, redirect).await;
        let keys = HttpKeys::at(&format!("{}{at}", server.uri())).unwrap();
        assert_eq!(keys.fetch().await, Err(FetchError::Status(status)));
    }
    assert_eq!(asked(&server, "/keys").await, 0);
}

/// V9
#[tokio::test]
async fn an_answer_that_never_ends_is_cut_at_512_kib() {
    let url = raw_server(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"keys\":[";
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(&[b' '; 16 * 1024]).await.is_ok() {}
    })
    .await;
    let keys = HttpKeys::at(&url).unwrap();
    assert_eq!(keys.fetch().await, Err(FetchError::TooLarge));
}

/// V16
#[tokio::test]
async fn a_connection_reset_in_the_middle_of_the_body_is_a_failure() {
    let url = raw_server(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":[";
        let _ = stream.write_all(head.as_bytes()).await;
    })
    .await;
    let keys = HttpKeys::at(&url).unwrap();
    assert_eq!(keys.fetch().await, Err(FetchError::Unreachable));
}

/// V16: every way in which an issuer can break, behind a cache that has good keys.
#[tokio::test]
async fn no_broken_answer_takes_good_keys_away() {
    let broken = [
        ResponseTemplate::new(200).set_body_raw("<html>It works!</html>", "text/html"),
        ResponseTemplate::new(304),
        ResponseTemplate::new(204),
        ResponseTemplate::new(500).set_body_raw(KEYS, "application/json"),
        ok(r#"{"keys":[]}"#),
        ok(&" ".repeat(MAX_BODY + 1)),
    ];
    for response in broken {
        let server = MockServer::start().await;
        answer(&server, "/jwks", ok(KEYS)).await;
        let clock = ManualClock::new(Timestamp::from_secs(1_000_000));
        let keys = HttpKeys::at(&format!("{}/jwks", server.uri())).unwrap();
        let cache = JwksCache::builder(keys)
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
        cache.refresh().await;

        server.reset().await;
        answer(&server, "/jwks", response.clone()).await;
        clock.advance(Duration::from_secs(30));
        cache.refresh().await;
        assert_eq!(asked(&server, "/jwks").await, 1, "{response:?}");
        let good = cache.current(clock.now()).unwrap();
        assert!(
            good.set().find(Some("a"), Algorithm::ES256).is_ok(),
            "{response:?}"
        );
    }
}

/// V16
#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up_when_the_attempt_has_had_its_time() {
    let hung_up = Arc::new(Notify::new());
    let url = raw_server({
        let hung_up = Arc::clone(&hung_up);
        move |mut stream| {
            let hung_up = Arc::clone(&hung_up);
            async move {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                hung_up.notify_one();
            }
        }
    })
    .await;
    let cache = JwksCache::new(HttpKeys::at(&url).unwrap());
    let started = tokio::time::Instant::now();
    cache.refresh().await;
    assert_eq!(
        started.elapsed(),
        Duration::from_secs(5),
        "a request waits for this long"
    );
    hung_up.notified().await;
    assert!(started.elapsed() < Duration::from_secs(11));
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let keys = HttpKeys::discover(&url).unwrap();
    assert_eq!(keys.fetch().await, Err(FetchError::Unreachable));
}

#[test]
fn an_issuer_that_may_not_be_asked_is_refused_at_once() {
    for issuer in [
        "issuer.example",
        "http://issuer.example",
        "https://issuer.example/?a=b",
    ] {
        let error = HttpKeys::discover(issuer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{issuer}");
    }
    assert!(HttpKeys::danger_discover_over_plain_http("http://issuer.example").is_ok());
    assert!(HttpKeys::danger_at_over_plain_http("http://issuer.example/jwks").is_ok());
}

#[tokio::test]
async fn a_document_that_has_not_changed_is_asked_for_by_its_etag() {
    let server = MockServer::start().await;
    let unchanged = Mock::given(path("/jwks")).and(header("if-none-match", "\"v1\""));
    unchanged
        .respond_with(ResponseTemplate::new(304))
        .mount(&server)
        .await;
    let first = ok("{\"keys\":[]}")
        .insert_header("etag", "\"v1\"")
        .insert_header("cache-control", "public, max-age=120");
    answer(&server, "/jwks", first).await;
    let keys = HttpKeys::at(&format!("{}/jwks", server.uri())).unwrap();

    let answer = keys.fetch_if_changed(None).await.unwrap();
    assert_eq!(
        answer.document.as_deref(),
        Some(b"{\"keys\":[]}".as_slice())
    );
    assert_eq!(answer.etag.as_deref(), Some("\"v1\""));
    assert_eq!(answer.fresh_for, Some(Duration::from_secs(120)));
    let again = keys.fetch_if_changed(answer.etag.as_deref()).await.unwrap();
    assert_eq!(again.document, None);
}

/// V16
#[tokio::test]
async fn not_modified_is_a_failure_for_who_has_nothing() {
    let server = MockServer::start().await;
    answer(&server, "/jwks", ResponseTemplate::new(304)).await;
    let keys = HttpKeys::at(&format!("{}/jwks", server.uri())).unwrap();
    assert_eq!(
        keys.fetch_if_changed(None).await,
        Err(FetchError::Status(304))
    );
}

#[test]
fn cache_control_is_read_as_far_as_it_concerns_us() {
    for (text, seconds) in [
        ("max-age=60", Some(60)),
        ("public, Max-Age=\"60\" , must-revalidate", Some(60)),
        ("no-cache", Some(0)),
        ("max-age=60, no-store", Some(0)),
        ("max-age=-1", None),
        ("max-age", None),
        ("s-maxage=5", None),
        ("", None),
    ] {
        assert_eq!(fresh_for(text), seconds.map(Duration::from_secs), "{text}");
    }
}
