//! The layers without axum: any service over `http::Request`, any body made from bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use machineauth_tower::{RequireScopesLayer, VerifiedAgent};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt as _};

use crate::support::Issuer;

type Answer = Response<Full<Bytes>>;

async fn whoami(request: Request<&'static str>) -> Result<Answer, Infallible> {
    let agent = request.extensions().get::<VerifiedAgent>().unwrap();
    let body = format!("{} sent {}", agent.id(), request.body());
    Ok(Response::new(Full::from(body)))
}

fn request(token: &str) -> Request<&'static str> {
    Request::builder()
        .header("authorization", format!("Bearer {token}"))
        .body("a body of any type")
        .unwrap()
}

async fn text(response: Answer) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

#[tokio::test]
async fn a_plain_stack_accepts_and_rejects() {
    let issuer = Issuer::new();
    let service = ServiceBuilder::new()
        .layer(issuer.layer())
        .layer(RequireScopesLayer::new("read").unwrap())
        .service_fn(whoami);

    let accepted = service
        .clone()
        .oneshot(request(&issuer.token("read")))
        .await
        .unwrap();
    assert_eq!(accepted.status(), 200);
    assert_eq!(text(accepted).await, "agent-7 sent a body of any type");

    let lacking = service
        .clone()
        .oneshot(request(&issuer.token("list")))
        .await
        .unwrap();
    assert_eq!(lacking.status(), 403);

    let refused = service.oneshot(Request::new("no token")).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(text(refused).await.contains("\"message\""));
}

/// Counts how often it was made ready and called; panics when called without having been ready.
#[derive(Default)]
struct Counting {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Counting {
    /// A clone is not ready, whatever the original is.
    fn clone(&self) -> Self {
        Self {
            ready: false,
            calls: Arc::clone(&self.calls),
        }
    }
}

impl Service<Request<&'static str>> for Counting {
    type Response = Answer;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<&'static str>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without being ready"
        );
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::default()))
    }
}

#[tokio::test]
async fn the_service_that_was_made_ready_is_the_one_that_is_called() {
    let issuer = Issuer::new();
    let inner = Counting::default();
    let calls = Arc::clone(&inner.calls);
    let requirement = RequireScopesLayer::new("read").unwrap();
    let mut service = issuer.layer().layer(requirement.layer(inner));
    for _ in 0..3 {
        let service = service.ready().await.unwrap();
        service.call(request(&issuer.token("read"))).await.unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refused_request_does_not_reach_the_service() {
    let issuer = Issuer::new();
    let inner = Counting::default();
    let calls = Arc::clone(&inner.calls);
    let mut service = issuer.layer().layer(inner);
    for request in [Request::new("no token"), request("garbage")] {
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}
