//! End what outlives its token.
//!
//! A request is judged when it comes; a response that goes on for hours is not judged again. [`EndStreamsLayer`] goes
//! below [`MachineAuthLayer`](crate::MachineAuthLayer) and ends the body of a response when the token of its request
//! expires or is revoked: a gRPC stream with `UNAUTHENTICATED`, anything else with an error, so that nobody takes what
//! came for the whole. A body that is one piece costs nothing.
//!
//! What is not a body, as a WebSocket, can wait by itself: the layer puts a [`TokenEnd`] into the request's extensions.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use http_body_util::BodyExt as _;
//! use machineauth_core::{KeySet, Revocation, RevocationSet, Verifier};
//! use machineauth_tower::{EndStreamsLayer, MachineAuthLayer, TokenEnd};
//! # use machineauth_core::{crypto::{Algorithm, SigningKey}, jws};
//! # use tower::ServiceExt as _;
//!
//! /// Waits for news that never come, as the handler of a socket would.
//! async fn news(end: TokenEnd) -> String {
//!     tokio::select! {
//!         why = end.ended() => format!("goodbye: {why}"),
//!         () = std::future::pending() => unreachable!(),
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = SigningKey::generate(Algorithm::ES256)?;
//! # let keys = KeySet::from_jwks([key.public_jwk("k1")]);
//! # let claims = serde_json::json!({
//! #     "iss": "https://issuer.example", "aud": "my-api", "sub": "agent-7", "exp": 4_000_000_000_u64, "jti": "t1",
//! # });
//! # let token = jws::sign_compact(&key, jws::Type::Jwt, "k1", claims.to_string().as_bytes())?;
//! let revocations = RevocationSet::new();
//! let verifier = Verifier::builder("https://issuer.example", "my-api")
//!     .keys(keys)
//!     .revocations(revocations.clone())
//!     .build()?;
//! let app: Router = Router::new()
//!     .route("/news", get(news))
//!     .layer(EndStreamsLayer::new(verifier.clone()))
//!     .layer(MachineAuthLayer::new(verifier));
//!
//! let request = Request::get("/news").header("authorization", format!("Bearer {token}")).body(Body::empty())?;
//! let response = tokio::spawn(app.oneshot(request));
//! tokio::time::sleep(Duration::from_millis(10)).await;
//! revocations.apply(&Revocation::Token { jti: "t1".into(), until: 4_000_000_000 });
//! let body = response.await??.into_body().collect().await?.to_bytes();
//! assert_eq!(body, "goodbye: the access token has been revoked; request a new one");
//! # Ok(())
//! # }
//! ```

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use machineauth_core::{Challenge, Error, Protocol, Verifier};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::agent::VerifiedAgent;
use crate::body::AnswerBody;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Layer that applies [`EndStreams`]. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct EndStreamsLayer {
    verifier: Verifier,
}

impl EndStreamsLayer {
    /// Ends responses when their requests' tokens end; `verifier` is the one that accepted them.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier }
    }
}

impl<S> Layer<S> for EndStreamsLayer {
    type Service = EndStreams<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EndStreams {
            inner,
            verifier: self.verifier.clone(),
        }
    }
}

/// Middleware that ends responses with their tokens. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct EndStreams<S> {
    inner: S,
    verifier: Verifier,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for EndStreams<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<EndingBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let agent = request.extensions().get::<VerifiedAgent>().cloned();
        let end = agent.map(|agent| TokenEnd {
            verifier: self.verifier.clone(),
            agent,
        });
        if let Some(end) = &end {
            request.extensions_mut().insert(end.clone());
        }
        ResponseFuture {
            has_trailers: Protocol::of(request.headers()).has_trailers(),
            future: self.inner.call(request),
            end,
        }
    }
}

/// When the token of a request ends: in the request's extensions, and an extractor for axum.
#[derive(Clone, Debug)]
pub struct TokenEnd {
    verifier: Verifier,
    agent: VerifiedAgent,
}

impl TokenEnd {
    /// Waits until the token is no longer good; returns why. At a revocation that is at once.
    pub async fn ended(&self) -> Error {
        self.verifier.ended(&self.agent).await
    }

    /// Whether the token is still good.
    ///
    /// # Errors
    /// As [`Verifier::recheck`].
    pub fn check(&self) -> Result<(), Error> {
        self.verifier.recheck(&self.agent)
    }
}

pin_project! {
    /// Response future of [`EndStreams`].
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        end: Option<TokenEnd>,
        has_trailers: bool,
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<EndingBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let guard = match this.end.take() {
            Some(end) => Guard::Fresh(end),
            None => Guard::Off,
        };
        let has_trailers = *this.has_trailers;
        Poll::Ready(Ok(response.map(|inner| EndingBody {
            inner,
            guard,
            has_trailers,
        })))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// A response body that ends with its request's token.
    pub struct EndingBody<B> {
        #[pin]
        inner: B,
        guard: Guard,
        has_trailers: bool,
    }
}

enum Guard {
    /// Nothing is guarded: there is no agent, or nothing more comes.
    Off,
    /// Nothing has been sent yet.
    Fresh(TokenEnd),
    /// The first piece has been sent, and it may be the only one.
    Started(TokenEnd),
    /// The last has been sent.
    Over,
    /// More came, or is waited for.
    Waiting(Pin<Box<dyn Future<Output = Error> + Send>>),
}

impl Guard {
    /// Why the token has ended, if it has; asks to be woken when it does.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Self::Started(end) = self {
            let end = end.clone();
            *self = Self::Waiting(Box::pin(async move { end.ended().await }));
        }
        match self {
            Self::Waiting(ended) => ended.as_mut().poll(cx),
            Self::Off | Self::Over | Self::Fresh(_) | Self::Started(_) => Poll::Pending,
        }
    }

    fn start(&mut self) {
        if let Self::Fresh(end) = self {
            *self = Self::Started(end.clone());
        }
    }
}

impl<B> Body for EndingBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if matches!(this.guard, Guard::Over) {
            return Poll::Ready(None);
        }
        // Who has got all of it is not told that something was cut off.
        if this.inner.is_end_stream() {
            *this.guard = Guard::Off;
        }
        if let Poll::Ready(error) = this.guard.poll_end(cx) {
            *this.guard = Guard::Over;
            return Poll::Ready(Some(farewell(error, *this.has_trailers)));
        }
        let frame = this.inner.poll_frame(cx);
        this.guard.start();
        match frame {
            // What is waited for is guarded from now on.
            Poll::Pending => match this.guard.poll_end(cx) {
                Poll::Ready(error) => {
                    *this.guard = Guard::Over;
                    Poll::Ready(Some(farewell(error, *this.has_trailers)))
                }
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.guard, Guard::Over) || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The last that is sent.
fn farewell(error: Error, has_trailers: bool) -> Result<Frame<Bytes>, BoxError> {
    if !has_trailers {
        return Err(error.into());
    }
    let protocol = Protocol::Grpc(http::HeaderValue::from_static("application/grpc"));
    let answer = Challenge::from(error)
        .protocol(protocol)
        .to_response::<Bytes>();
    let mut trailers = answer.into_parts().0.headers;
    trailers.remove(http::header::CONTENT_TYPE);
    trailers.remove(http::header::WWW_AUTHENTICATE);
    Ok(Frame::trailers(trailers))
}

/// The layers above answer in the place of this body.
impl<B: AnswerBody> AnswerBody for EndingBody<B> {
    fn answer(bytes: Bytes) -> Self {
        Self {
            inner: B::answer(bytes),
            guard: Guard::Off,
            has_trailers: false,
        }
    }
}

impl<B: Default> Default for EndingBody<B> {
    fn default() -> Self {
        Self {
            inner: B::default(),
            guard: Guard::Off,
            has_trailers: false,
        }
    }
}

impl<B> fmt::Debug for EndingBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndingBody").finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum_core::extract::FromRequestParts<S> for TokenEnd {
    type Rejection = crate::extract::NoVerifiedAgent;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or(crate::extract::NoVerifiedAgent)
    }
}
