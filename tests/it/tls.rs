//! TLS served directly: the certificate, its replacement while the server runs, and clients that dawdle.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use machineauth_core::clock::{Clock as _, SystemClock, Timestamp};
use machineauth_issuer::server::Limits;
use machineauth_tests::certificate::{Pair, TlsFiles};
use machineauth_tests::command::Commands;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::issuer::{Builder, Issuer};
use machineauth_tests::process::{Process, free_port};
use reqwest::tls::Version;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const ISSUER: &str = env!("CARGO_BIN_EXE_issuer");
const BRIEF: Duration = Duration::from_millis(300);
/// More than a busy machine needs; where nothing happens, a test waits this long and fails.
const LONG: Duration = Duration::from_secs(30);
/// Longer than it takes until the server has looked at its files again.
const A_LOOK: Duration = Duration::from_millis(2_000);
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// An issuer that speaks TLS with a certificate of its own.
async fn secure() -> Issuer {
    secure_with(Issuer::builder()).await
}

async fn secure_with(builder: Builder) -> Issuer {
    let pair = Pair::new();
    builder
        .tls(&TlsFiles::holding(&pair), &[&pair])
        .start()
        .await
}

/// A TLS connection to the issuer, which shows one of `trusted`.
async fn try_connect(
    address: SocketAddr,
    trusted: &[&Pair],
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// The certificate that a new connection is shown.
async fn shown(address: SocketAddr, trusted: &[&Pair]) -> CertificateDer<'static> {
    let stream = try_connect(address, trusted, &[]).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

async fn is_shown_in_time(address: SocketAddr, wanted: &Pair, trusted: &[&Pair]) {
    let shows = async {
        while shown(address, trusted).await != wanted.der {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, shows)
        .await
        .expect("the new certificate is shown");
}

/// Asks for `/health` on a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(HEALTH).await.unwrap();
    let mut answer = [0; 2048];
    let read = timeout(LONG, stream.read(&mut answer))
        .await
        .expect("the server answers")
        .unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn tokens_are_issued_over_tls_1_2_and_1_3() {
    let pair = Pair::new();
    let issuer = Issuer::builder()
        .tls(&TlsFiles::holding(&pair), &[&pair])
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let token = issuer.token_answer(&agent).await.str("access_token");
    assert_eq!(issuer.introspect(&token).await["iss"], issuer.base);
    assert!(issuer.base.starts_with("https://"));
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let client = http::builder(&[&pair])
            .tls_version_min(version)
            .tls_version_max(version)
            .build()
            .unwrap();
        let answer = Answer::to(client.get(format!("{}/health", issuer.base))).await;
        assert_eq!(answer.status, 200, "{version:?}");
    }
}

#[tokio::test]
async fn a_client_that_speaks_only_http_2_learns_so_in_the_handshake() {
    let pair = Pair::new();
    let issuer = Issuer::builder()
        .tls(&TlsFiles::holding(&pair), &[&pair])
        .start()
        .await;
    let refused = try_connect(issuer.address, &[&pair], &[b"h2"]).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    let stream = try_connect(issuer.address, &[&pair], both).await.unwrap();
    let chosen = stream.get_ref().1.alpn_protocol();
    assert_eq!(chosen, Some(b"http/1.1".as_slice()));
}

#[tokio::test]
async fn a_new_certificate_is_served_and_no_request_notices() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = TlsFiles::holding(&old);
    let issuer = Issuer::builder().tls(&files, &[&old, &new]).start().await;
    let mut open = try_connect(issuer.address, &[&old], &[]).await.unwrap();
    ask(&mut open).await;

    let (going_on, asked) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    let traffic = {
        let client = http::builder(&[&old, &new]).pool_max_idle_per_host(0);
        let (client, url) = (client.build().unwrap(), format!("{}/health", issuer.base));
        let (going_on, asked) = (Arc::clone(&going_on), Arc::clone(&asked));
        tokio::spawn(async move {
            while going_on.load(Ordering::Relaxed) {
                assert_eq!(Answer::to(client.get(&url)).await.status, 200);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    while asked.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    files.put(&new.certificate, &new.key);
    is_shown_in_time(issuer.address, &new, &[&old, &new]).await;
    let before = asked.load(Ordering::Relaxed);
    while asked.load(Ordering::Relaxed) == before {
        sleep(Duration::from_millis(5)).await;
    }
    going_on.store(false, Ordering::Relaxed);
    traffic.await.expect("every request was answered");
    ask(&mut open).await;
}

#[tokio::test]
async fn what_cannot_be_served_leaves_the_certificate_in_force() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = TlsFiles::holding(&old);
    let issuer = Issuer::builder().tls(&files, &[&old, &new]).start().await;
    let half = &new.certificate[..new.certificate.len() / 2];
    for (certificate, key) in [
        (new.certificate.as_str(), old.key.as_str()),
        (half, new.key.as_str()),
        ("", ""),
        (new.certificate.as_str(), new.certificate.as_str()),
    ] {
        files.put(certificate, key);
        sleep(A_LOOK).await;
        assert_eq!(shown(issuer.address, &[&old]).await, old.der);
    }
    std::fs::remove_file(files.key()).unwrap();
    sleep(A_LOOK).await;
    assert_eq!(shown(issuer.address, &[&old]).await, old.der);
    files.put(&new.certificate, &new.key);
    is_shown_in_time(issuer.address, &new, &[&old, &new]).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up_and_holds_nobody_up() {
    let limits = Limits {
        handshake: 4 * BRIEF,
        ..Limits::default()
    };
    let issuer = secure_with(Issuer::builder().limits(limits)).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(issuer.address).await.unwrap());
    }
    // The first byte says that a handshake follows.
    silent[0].write_all(&[0x16]).await.unwrap();
    assert_eq!(issuer.get("/health").await.status, 200);
    for stream in &mut silent {
        let ended = timeout(LONG, stream.read(&mut [0; 8])).await;
        assert!(matches!(
            ended.expect("the server hangs up"),
            Ok(0) | Err(_)
        ));
    }
}

#[tokio::test]
async fn a_client_that_is_silent_after_its_handshake_is_disconnected() {
    let pair = Pair::new();
    let limits = Limits {
        header: BRIEF,
        ..Limits::default()
    };
    let issuer = Issuer::builder()
        .limits(limits)
        .tls(&TlsFiles::holding(&pair), &[&pair])
        .start()
        .await;
    let mut stream = try_connect(issuer.address, &[&pair], &[]).await.unwrap();
    let ended = timeout(LONG, stream.read(&mut [0; 8])).await;
    assert!(matches!(
        ended.expect("the server hangs up"),
        Ok(0) | Err(_)
    ));
}

#[tokio::test]
async fn neither_a_handshake_nor_an_idle_connection_holds_a_stop_up() {
    let pair = Pair::new();
    let limits = Limits {
        handshake: 10 * LONG,
        header: 10 * LONG,
        drain: 10 * LONG,
        ..Limits::default()
    };
    let issuer = Issuer::builder()
        .limits(limits)
        .tls(&TlsFiles::holding(&pair), &[&pair])
        .start()
        .await;
    let _silent = TcpStream::connect(issuer.address).await.unwrap();
    let mut idle = try_connect(issuer.address, &[&pair], &[]).await.unwrap();
    ask(&mut idle).await;
    timeout(LONG, issuer.stop())
        .await
        .expect("nobody holds the stop up");
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_without_tls_is_refused_and_the_connection_closed() {
    let issuer = secure().await;
    let mut stream = TcpStream::connect(issuer.address).await.unwrap();
    stream.write_all(HEALTH).await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer))
        .await
        .expect("the server hangs up")
        .expect("the end is clean");
    assert_eq!(answer.first(), Some(&0x15), "an alert and nothing else");
    assert!(answer.len() < 16, "{answer:?}");
}

#[tokio::test]
async fn a_connection_by_tls_is_what_require_https_asks_for() {
    let issuer = secure_with(Issuer::builder().with("REQUIRE_HTTPS", "true")).await;
    let answer = issuer.get("/").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("strict-transport-security")
            .starts_with("max-age=")
    );
    let by_hearsay = issuer
        .request(reqwest::Method::GET, "/")
        .header("x-forwarded-proto", "http");
    assert_eq!(
        Answer::to(by_hearsay).await.status,
        200,
        "a stranger's word"
    );
}

#[tokio::test]
async fn the_end_of_the_certificate_is_a_metric() {
    let end = Timestamp::from_secs(32_503_680_000);
    let pair = Pair::until(end);
    let issuer = Issuer::builder()
        .tls(&TlsFiles::holding(&pair), &[&pair])
        .start()
        .await;
    let metrics = |issuer: &Issuer| {
        let request = issuer.request(reqwest::Method::GET, "/metrics");
        Answer::to(request.header("accept", "text/plain"))
    };
    let name = "machineauth_tls_certificate_expires_timestamp_seconds";
    let text = metrics(&issuer).await.text;
    assert!(
        text.contains(&format!("\n{name} {}\n", end.as_secs())),
        "{text}"
    );
    let text = metrics(&Issuer::start().await).await.text;
    assert!(!text.contains(name), "{text}");
}

/// Starts the binary in `directory` with the files and `more` variables.
async fn start(directory: &Path, port: u16, files: &TlsFiles) -> Process {
    let (certificate, key) = (files.certificate(), files.key());
    let variables = [
        ("PORT", &*port.to_string()),
        ("TLS_CERT_FILE", certificate.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    Process::start(Path::new(ISSUER), directory, port, &variables, &[]).await
}

#[tokio::test]
async fn the_binary_says_https_reads_again_on_sighup_and_warns_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(86_400);
    let soon = SystemClock.now().saturating_add(5 * day);
    let files = TlsFiles::holding(&Pair::until(soon));
    let port = free_port();
    let issuer = start(directory.path(), port, &files).await;
    let printed = issuer.printed_until("/oauth/introspect").await;
    let address = format!("https://127.0.0.1:{port}");
    assert!(
        printed.contains(&format!("listens on {address} and issues as {address}")),
        "{printed}"
    );
    issuer.logged_until("expires soon").await;
    let certificate = files.certificate().display().to_string();
    Commands::here(ISSUER)
        .with("PORT", &port.to_string())
        .with("TLS_CERT_FILE", &certificate)
        .done(&format!("health --cacert {certificate}"))
        .await;
    issuer.signal("HUP").await;
    issuer.logged_until("the certificate was read").await;
    let past = Pair::until(SystemClock.now().saturating_sub(day));
    files.put(&past.certificate, &past.key);
    issuer.logged_until("has expired").await;
    files.put(&past.certificate, "no key at all");
    issuer.logged_until("the certificate in force stays").await;
    let ended = issuer.terminate().await;
    assert!(ended.status.success());
    assert!(!ended.printed.contains("PRIVATE KEY"), "{}", ended.printed);
}

#[test]
fn a_pair_that_does_not_fit_is_refused_at_the_start_by_the_variables_name() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (Pair::new(), Pair::new());
    for (certificate, key, expected) in [
        (&*one.certificate, &*other.key, "TLS_KEY_FILE: this key"),
        (&*one.certificate, "", "TLS_KEY_FILE: holds no whole"),
        (&*one.key, &*one.key, "TLS_CERT_FILE: holds no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAA",
            &*one.key,
            "TLS_CERT_FILE: ",
        ),
    ] {
        let files = TlsFiles::holding(&one);
        files.put(certificate, key);
        let output = Command::new(ISSUER)
            .current_dir(directory.path())
            .env_clear()
            .env("TLS_CERT_FILE", files.certificate())
            .env("TLS_KEY_FILE", files.key())
            .output()
            .unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && complaint.contains(expected),
            "{complaint}"
        );
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            0,
            "nothing was created"
        );
    }
}
