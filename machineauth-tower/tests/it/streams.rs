use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use machineauth_core::Revocation;
use machineauth_tower::EndStreamsLayer;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::support::{Issuer, NOW, send_token};

/// Sends on every piece that it is given, and never ends by itself.
struct Stream {
    issuer: Issuer,
    pieces: mpsc::UnboundedSender<&'static str>,
    body: Body,
}

impl Stream {
    async fn open(content_type: &str) -> Self {
        let issuer = Issuer::new();
        let (pieces, received) = mpsc::unbounded_channel::<&'static str>();
        let received = std::sync::Arc::new(std::sync::Mutex::new(Some(received)));
        let handler = move || {
            let received = received.lock().unwrap().take().unwrap();
            async move { Response::new(Body::new(StreamBody::new(Pieces(received)))) }
        };
        let app: Router = Router::new()
            .route("/", get(handler))
            .layer(EndStreamsLayer::new(issuer.verifier()))
            .layer(issuer.layer());
        let request = Request::get("/")
            .header("authorization", format!("Bearer {}", issuer.token("read")))
            .header("content-type", content_type)
            .body(Body::empty())
            .unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            issuer,
            pieces,
            body: response.into_body(),
        }
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, axum::Error>> {
        self.body.frame().await
    }

    async fn receives(&mut self, piece: &'static str) {
        self.pieces.send(piece).unwrap();
        let frame = self.next().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }

    fn revoke(&self) {
        self.issuer.revocations.apply(&revocation());
    }
}

fn revocation() -> Revocation {
    Revocation::Token {
        jti: "token-1".into(),
        until: NOW + 7200,
    }
}

struct Pieces(mpsc::UnboundedReceiver<&'static str>);

impl futures_util::Stream for Pieces {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_once_when_its_token_is_revoked_and_not_as_if_it_were_whole() {
    let mut stream = Stream::open("").await;
    stream.receives("one").await;
    stream.receives("two").await;
    let revocations = stream.issuer.revocations.clone();
    let (ended, ()) = tokio::join!(stream.next(), async move {
        tokio::task::yield_now().await;
        revocations.apply(&revocation());
    });
    let error = ended.unwrap().unwrap_err();
    assert!(error.to_string().contains("revoked"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_pauses_ends_too() {
    let mut stream = Stream::open("").await;
    for _ in 0..10 {
        stream.pieces.send("x").unwrap();
    }
    stream.receives("x").await;
    stream.receives("x").await;
    stream.revoke();
    assert!(stream.next().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_expires() {
    let mut stream = Stream::open("").await;
    stream.receives("one").await;
    let clock = stream.issuer.clock.clone();
    let (ended, ()) = tokio::join!(stream.next(), async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        clock.advance(Duration::from_secs(3600 + 60));
    });
    assert!(ended.unwrap().unwrap_err().to_string().contains("expired"));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_stream_ends_with_trailers() {
    let mut stream = Stream::open("application/grpc+proto").await;
    stream.receives("one").await;
    stream.receives("two").await;
    stream.revoke();
    let trailers: HeaderMap = stream
        .next()
        .await
        .unwrap()
        .unwrap()
        .into_trailers()
        .unwrap();
    assert_eq!(trailers["grpc-status"], "16");
    assert!(
        trailers["grpc-message"]
            .to_str()
            .unwrap()
            .contains("revoked")
    );
}

#[tokio::test]
async fn a_body_in_one_piece_is_left_alone() {
    let issuer = Issuer::new();
    let app = Router::new()
        .route("/", get(async || "whole"))
        .layer(EndStreamsLayer::new(issuer.verifier()))
        .layer(issuer.layer().optional());
    let answer = send_token(&app, "/", &issuer.token("read")).await;
    assert_eq!(answer.body, "whole");
    let anonymous = crate::support::send(&app, "/", &[]).await;
    assert_eq!(anonymous.body, "whole");
    let body = app
        .oneshot(Request::new(Body::empty()))
        .await
        .unwrap()
        .into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
}

#[tokio::test]
async fn a_whole_answer_is_whole_although_its_token_ended_meanwhile() {
    let issuer = Issuer::new();
    let revocations = issuer.revocations.clone();
    let goodbye = async move || {
        revocations.apply(&revocation());
        "goodbye"
    };
    let app = Router::new()
        .route("/", get(goodbye))
        .layer(EndStreamsLayer::new(issuer.verifier()))
        .layer(issuer.layer());
    let answer = send_token(&app, "/", &issuer.token("read")).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "goodbye"));
}
