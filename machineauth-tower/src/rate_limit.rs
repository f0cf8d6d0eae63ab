//! Limit how much each agent may do.
//!
//! [`RateLimitLayer`] goes below [`MachineAuthLayer`](crate::MachineAuthLayer) and counts by the verified agent, so that no
//! invented token and no shared address uses up anybody's allowance. The memory for it is constant, half a megabyte a
//! layer. All clones of a layer count together; other processes count for themselves.
//!
//! Every answer says in `RateLimit` and `RateLimit-Policy` what is left. A request too many is answered with 429 and
//! `Retry-After`, or to gRPC with the status `RESOURCE_EXHAUSTED`.
//!
//! Requests without a verified agent, behind [`MachineAuthLayer::optional`](crate::MachineAuthLayer::optional), share the
//! allowance of one.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use machineauth_core::quota::Quota;
//! use machineauth_tower::{MachineAuthLayer, RateLimitLayer};
//! # use machineauth_core::test_kit::MockIssuer;
//! # use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let issuer = MockIssuer::start().await?;
//! # let verifier = issuer.verifier("api").build()?;
//! # let token = issuer.token().sign();
//! let two_a_minute = Quota::new(2, Duration::from_secs(60));
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(RateLimitLayer::per_agent(two_a_minute))
//!     .layer(MachineAuthLayer::new(verifier));
//!
//! let request = || Request::get("/").header("authorization", format!("Bearer {token}")).body(Body::empty());
//! for expected in [200, 200, 429] {
//!     assert_eq!(app.clone().oneshot(request()?).await?.status(), expected);
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use machineauth_core::quota::{Buckets, Exhausted, Quota, Remaining};
use machineauth_core::{Clock, Protocol, SystemClock};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::agent::VerifiedAgent;
use crate::body::AnswerBody;

/// What the headers call the quota.
const NAME: &str = "agent";

/// Layer that applies [`RateLimit`]. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    buckets: Arc<Buckets>,
    clock: Arc<dyn Clock>,
}

impl RateLimitLayer {
    /// Lets each agent do as much as `quota` says.
    pub fn per_agent(quota: Quota) -> Self {
        Self {
            buckets: Arc::new(Buckets::new(quota)),
            clock: Arc::new(SystemClock),
        }
    }

    /// Where the time comes from. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit {
            inner,
            limit: self.clone(),
        }
    }
}

/// Middleware that limits how much each agent may do. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    limit: RateLimitLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: AnswerBody,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let RateLimitLayer { buckets, clock } = &self.limit;
        let agent = request.extensions().get::<VerifiedAgent>();
        // The issuer belongs to the name: another issuer's agent of the same name is somebody else.
        let subject = agent.map(|agent| (agent.claims().issuer.as_str(), agent.id()));
        let state = match buckets.take(subject, clock.now()) {
            Ok(remaining) => State::Admitted {
                future: self.inner.call(request),
                remaining,
            },
            Err(exhausted) => State::Refused {
                exhausted,
                protocol: Protocol::of(request.headers()),
            },
        };
        ResponseFuture {
            state,
            quota: buckets.quota(),
        }
    }
}

pin_project! {
    /// Response future of [`RateLimit`].
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        quota: Quota,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Admitted {
            #[pin]
            future: F,
            remaining: Remaining,
        },
        Refused {
            exhausted: Exhausted,
            protocol: Protocol,
        },
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: AnswerBody,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut response, remaining) = match this.state.project() {
            StateProjection::Admitted { future, remaining } => {
                (ready!(future.poll(cx))?, *remaining)
            }
            StateProjection::Refused {
                exhausted,
                protocol,
            } => {
                let refusal = exhausted.to_response(protocol).map(ResBody::answer);
                (refusal, Remaining::from(*exhausted))
            }
        };
        let headers = response.headers_mut();
        this.quota.announce(headers, NAME, remaining);
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
