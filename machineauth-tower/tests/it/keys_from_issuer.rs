//! A request whose key is not known yet waits for it; nobody else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use machineauth_core::JwksCache;
use machineauth_core::jwks::{FetchError, FetchFuture, FetchKeys};
use machineauth_tower::MachineAuthLayer;
use tokio::sync::Mutex;

use crate::support::{Issuer, app, send, send_token};

/// What the issuer publishes; `None` is an outage. Locked, it is slow.
#[derive(Clone, Debug, Default)]
struct Published {
    keys: Arc<Mutex<Option<Bytes>>>,
    asked: Arc<AtomicUsize>,
}

impl Published {
    fn by(issuer: &Issuer) -> Self {
        let keys = Bytes::from(issuer.key_set().to_json());
        Self {
            keys: Arc::new(Mutex::new(Some(keys))),
            asked: Arc::default(),
        }
    }

    fn app(&self, issuer: &Issuer) -> Router {
        let jwks = JwksCache::builder(self.clone())
            .clock(Arc::new(issuer.clock.clone()))
            .build()
            .unwrap();
        app(MachineAuthLayer::new(
            issuer.builder().jwks(jwks).build().unwrap(),
        ))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl FetchKeys for Published {
    fn fetch(&self) -> FetchFuture<'_> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            let keys = self.keys.lock().await;
            keys.clone().ok_or(FetchError::Unreachable)
        })
    }
}

#[tokio::test]
async fn the_first_request_waits_for_the_keys_and_the_second_does_not_ask() {
    let issuer = Issuer::new();
    let published = Published::by(&issuer);
    let app = published.app(&issuer);
    for _ in 0..2 {
        let answer = send_token(&app, "/read", &issuer.token("read")).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(published.asked(), 1);
}

/// V16
#[tokio::test]
async fn without_keys_the_answer_is_503_and_a_time_to_come_back() {
    let issuer = Issuer::new();
    let published = Published::default();
    let app = published.app(&issuer);
    let answer = send_token(&app, "/", &issuer.token("read")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert_eq!(
        send(&app, "/", &[]).await.status,
        401,
        "no token needs no keys"
    );

    *published.keys.lock().await = Some(issuer.key_set().to_json().into());
    issuer.clock.advance(Duration::from_secs(30));
    assert_eq!(
        send_token(&app, "/", &issuer.token("read")).await.status,
        200
    );
}

/// V15
#[tokio::test]
async fn tokens_of_unknown_keys_are_refused_without_asking_each_time() {
    let issuer = Issuer::new();
    let published = Published::by(&issuer);
    let app = published.app(&issuer);
    assert_eq!(
        send_token(&app, "/", &issuer.token("read")).await.status,
        200
    );
    let header = r#"{"alg":"EdDSA","typ":"JWT","kid":"?"}"#;
    for n in 0..1000 {
        let header = machineauth_core::base64url::encode(header.replace('?', &n.to_string()));
        let unknown = issuer.token("read");
        let (_, rest) = unknown.split_once('.').unwrap();
        let answer = send_token(&app, "/", &format!("{header}.{rest}")).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["error"], "invalid_token");
    }
    assert_eq!(published.asked(), 1);
}

/// V15
#[tokio::test]
async fn while_keys_are_fetched_valid_traffic_does_not_wait() {
    let issuer = Issuer::new();
    let published = Published::by(&issuer);
    let app = published.app(&issuer);
    let known = issuer.token("read");
    assert_eq!(send_token(&app, "/", &known).await.status, 200);

    issuer.clock.advance(Duration::from_secs(30));
    let rotated = Issuer::new();
    let slow = published.keys.lock().await;
    let mut waiting = std::pin::pin!(async {
        let header =
            machineauth_core::base64url::encode(r#"{"alg":"EdDSA","typ":"JWT","kid":"new"}"#);
        let token = rotated.token("read");
        let (_, rest) = token.split_once('.').unwrap();
        send_token(&app, "/", &format!("{header}.{rest}")).await
    });
    tokio::select! {
        _ = &mut waiting => panic!("answered before the keys were there"),
        () = async {
            for _ in 0..10 {
                assert_eq!(send_token(&app, "/", &known).await.status, 200);
                tokio::task::yield_now().await;
            }
        } => {}
    }
    drop(slow);
    assert_eq!(waiting.await.status, 401);
    assert_eq!(published.asked(), 2);
}
