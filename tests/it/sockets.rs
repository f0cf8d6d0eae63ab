//! WebSockets that end with their token, at a resource server that follows an issuer's feed.

use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use machineauth_core::{HttpKeys, JwksCache, RevocationFeed, RevocationSet, Verifier};
use machineauth_tests::issuer::Issuer;
use machineauth_tower::{EndStreamsLayer, MachineAuthLayer, TokenEnd};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{self, protocol};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Far more than the milliseconds that news takes; a test that fails waits this long.
const HEARS_WITHIN: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Says everything back, until the token ends.
async fn echo(upgrade: WebSocketUpgrade, end: TokenEnd) -> Response {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        let why = loop {
            tokio::select! {
                why = end.ended() => break why,
                heard = socket.recv() => {
                    let Some(Ok(message)) = heard else { return };
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            }
        };
        let farewell = CloseFrame {
            code: close_code::POLICY,
            reason: why.to_string().into(),
        };
        // Whoever has gone already needs no farewell.
        let _ = socket.send(Message::Close(Some(farewell))).await;
    })
}

/// Where the resource server listens, and the feed that it follows.
async fn serve(issuer: &Issuer) -> (String, RevocationFeed) {
    let revocations = RevocationSet::new();
    let feed = RevocationFeed::of(&issuer.base, revocations.clone())
        .start()
        .unwrap();
    feed.ready().await;
    let verifier = Verifier::builder(&issuer.base, "machineauth-api")
        .jwks(JwksCache::new(HttpKeys::discover(&issuer.base).unwrap()))
        .revocations(revocations)
        .build()
        .unwrap();
    let app: Router = Router::new()
        .route("/echo", get(echo))
        .layer(EndStreamsLayer::new(verifier.clone()))
        .layer(MachineAuthLayer::new(verifier));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/echo", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    (url, feed)
}

async fn connect(url: &str, token: Option<&str>) -> Result<Socket, tungstenite::Error> {
    let mut request = url.into_client_request()?;
    if let Some(token) = token {
        let value = format!("Bearer {token}").try_into()?;
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

async fn says(socket: &mut Socket, text: &str) -> String {
    socket.send(text.into()).await.unwrap();
    let heard = socket.next().await.unwrap().unwrap();
    heard.into_text().unwrap().to_string()
}

#[tokio::test]
async fn a_socket_is_closed_with_a_reason_when_its_token_is_revoked_and_others_go_on() {
    let issuer = Issuer::start().await;
    let (url, _feed) = serve(&issuer).await;
    let agent = issuer.agent(&["read"]).await;
    let (token, _) = issuer.tokens(&agent).await;
    let (other, _) = issuer.tokens(&agent).await;
    let mut socket = connect(&url, Some(&token)).await.unwrap();
    let mut spared = connect(&url, Some(&other)).await.unwrap();
    assert_eq!(says(&mut socket, "hello").await, "hello");

    issuer.revoke(&token).await;
    let last = tokio::time::timeout(HEARS_WITHIN, socket.next()).await;
    let last = last.expect("the socket ends").unwrap().unwrap();
    let tungstenite::Message::Close(Some(farewell)) = last else {
        panic!("{last:?} is no farewell");
    };
    assert_eq!(farewell.code, protocol::frame::coding::CloseCode::Policy);
    assert!(
        farewell.reason.contains("revoked"),
        "what ended it: {}",
        farewell.reason
    );
    assert_eq!(says(&mut spared, "still here").await, "still here");
    let again = connect(&url, Some(&token)).await.unwrap_err();
    assert_eq!(status(&again), Some(401));
}

#[tokio::test]
async fn a_socket_is_not_opened_without_a_token() {
    let issuer = Issuer::start().await;
    let (url, _feed) = serve(&issuer).await;
    let refused = connect(&url, None).await.unwrap_err();
    assert_eq!(status(&refused), Some(401));
}

/// How the opening of a socket was answered instead.
fn status(error: &tungstenite::Error) -> Option<u16> {
    match error {
        tungstenite::Error::Http(answer) => Some(answer.status().as_u16()),
        _ => None,
    }
}
