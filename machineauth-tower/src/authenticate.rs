//! Verify the access token of every request.
//!
//! [`MachineAuthLayer`] reads the `Authorization` header, has the token verified, and hands the request on with a
//! [`VerifiedAgent`] in its extensions. What cannot be verified is answered here (RFC 6750 §3): the inner service does
//! not see it. Tokens in the query string or in a cookie, and more than one token, are refused with 400.
//!
//! A token that is bound to a key is good only with a proof of that key: by [`MachineAuthLayer::dpop`], or with the
//! [`ClientCertificate`](machineauth_core::ClientCertificate) that whoever ends TLS puts into the request's extensions (RFC 8705 §3).
//!
//! # Example
//!
//! On a plain Tower stack:
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use machineauth_core::{KeySet, Verifier};
//! use machineauth_tower::{MachineAuthLayer, VerifiedAgent};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! # use machineauth_core::{crypto::{Algorithm, SigningKey}, jws};
//!
//! async fn handle(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let agent = request.extensions().get::<VerifiedAgent>().expect("only verified requests get here");
//!     Ok(Response::new(Full::from(agent.id().to_owned())))
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = SigningKey::generate(Algorithm::ES256)?;
//! # let keys = KeySet::from_jwks([key.public_jwk("k1")]);
//! # let claims = serde_json::json!({
//! #     "iss": "https://issuer.example", "aud": "my-api", "sub": "agent-7", "exp": 4_000_000_000_u64,
//! # });
//! # let token = jws::sign_compact(&key, jws::Type::Jwt, "k1", claims.to_string().as_bytes())?;
//! let verifier = Verifier::builder("https://issuer.example", "my-api").keys(keys).build()?;
//! let service = ServiceBuilder::new()
//!     .layer(MachineAuthLayer::new(verifier))
//!     .service_fn(handle);
//!
//! let request = Request::builder().header("authorization", format!("Bearer {token}")).body(())?;
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! let response = service.oneshot(Request::new(())).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use machineauth_core::authenticate::{Authenticator, Judgement, Undecided};
use machineauth_core::{Agent, Challenge, Dpop, Error, Protocol, ResourceMetadata, Verifier};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::agent::VerifiedAgent;
use crate::body::{AnswerBody, answer};

/// Layer that applies [`MachineAuth`]. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct MachineAuthLayer {
    authenticator: Arc<Authenticator>,
}

impl MachineAuthLayer {
    /// Lets requests through whose access token `verifier` accepts.
    pub fn new(verifier: Verifier) -> Self {
        Authenticator::new(verifier).into()
    }

    /// Lets requests without any token through as well, without a [`VerifiedAgent`]. A token that is there must still
    /// be good.
    #[must_use]
    pub fn optional(self) -> Self {
        self.with(Authenticator::optional)
    }

    /// Takes tokens that are bound to a key, in the scheme `DPoP` and with a proof (RFC 9449 §7). Tokens that are bound to
    /// none are still good as `Bearer`, and bound ones are not.
    ///
    /// The layer must see the whole path that the client called: put it outside of what strips a prefix from it, such as
    /// axum's `nest`.
    #[must_use]
    pub fn dpop(self, dpop: Dpop) -> Self {
        self.with(|authenticator| authenticator.dpop(dpop))
    }

    /// Names the protection space in challenges (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(self, realm: impl Into<String>) -> Self {
        self.with(|authenticator| authenticator.realm(realm))
    }

    /// Says in challenges where the protected resource's metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn resource_metadata(self, url: impl Into<String>) -> Self {
        self.with(|authenticator| authenticator.resource_metadata(url))
    }

    /// Serves the protected resource's metadata (RFC 9728 §3) at its well-known path, to everybody, and names it in
    /// challenges. Where it names no authorization server, the issuers of the verifier are named.
    ///
    /// That is all that an MCP server needs for its clients to find the way to a token. The layer must see the path as
    /// clients send it, so put it around the whole application.
    #[must_use]
    pub fn protects(self, metadata: ResourceMetadata) -> Self {
        self.with(|authenticator| authenticator.protects(metadata))
    }

    fn with(self, change: impl FnOnce(Authenticator) -> Authenticator) -> Self {
        change(Arc::unwrap_or_clone(self.authenticator)).into()
    }
}

impl From<Authenticator> for MachineAuthLayer {
    fn from(authenticator: Authenticator) -> Self {
        Self {
            authenticator: Arc::new(authenticator),
        }
    }
}

impl<S> Layer<S> for MachineAuthLayer {
    type Service = MachineAuth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MachineAuth {
            inner,
            authenticator: Arc::clone(&self.authenticator),
        }
    }
}

/// Middleware that verifies the access token of every request. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct MachineAuth<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for MachineAuth<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: AnswerBody,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let authenticator = &self.authenticator;
        if let Some(document) = authenticator.document_for(request.method(), request.uri().path()) {
            let document = Box::new(document);
            return ResponseFuture {
                state: State::Document { document },
            };
        }
        let (method, headers, uri) = (request.method(), request.headers(), request.uri());
        let certificate = request.extensions().get().copied();
        let state = match authenticator.judge(method, headers, uri, certificate) {
            Judgement::Verified(agent) => {
                request.extensions_mut().insert(VerifiedAgent(agent));
                State::Accepted {
                    future: self.inner.call(request),
                }
            }
            Judgement::Anonymous => State::Accepted {
                future: self.inner.call(request),
            },
            Judgement::Refused(error) => State::Refused {
                challenge: refusal(authenticator, error, Protocol::of(headers)),
            },
            Judgement::Undecided(undecided) => {
                // The service that was polled ready goes with the request; a fresh clone stays here.
                let fresh = self.inner.clone();
                let inner = mem::replace(&mut self.inner, fresh);
                State::Verifying {
                    pending: Pending::new(&self.authenticator, undecided, inner, request),
                }
            }
        };
        ResponseFuture { state }
    }
}

fn refusal(authenticator: &Authenticator, error: Error, protocol: Protocol) -> Box<Challenge> {
    Box::new(authenticator.challenge(error).protocol(protocol))
}

pin_project! {
    /// Response future of [`MachineAuth`].
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        Accepted {
            #[pin]
            future: S::Future,
        },
        Refused {
            challenge: Box<Challenge>,
        },
        // Boxed, as everything that few requests need.
        Document {
            document: Box<Response<Bytes>>,
        },
        // Boxed, so that it costs the others no room.
        Verifying {
            pending: Box<Pending<S, ReqBody>>,
        },
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: AnswerBody,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Accepted { future } => return future.poll(cx),
                StateProjection::Refused { challenge } => {
                    return Poll::Ready(Ok(answer(challenge)));
                }
                StateProjection::Document { document } => {
                    let document = mem::take(&mut **document);
                    return Poll::Ready(Ok(document.map(ResBody::answer)));
                }
                StateProjection::Verifying { pending } => ready!(pending.poll(cx)),
            };
            state.set(next);
        }
    }
}

impl<S, ReqBody> fmt::Debug for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A request whose token waits for its key.
struct Pending<S, ReqBody> {
    verifying: Pin<Box<dyn Future<Output = Result<Arc<Agent>, Error>> + Send>>,
    authenticator: Arc<Authenticator>,
    inner: S,
    /// Taken when the verification is over.
    request: Option<Request<ReqBody>>,
}

impl<S, ReqBody> Pending<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn new(
        authenticator: &Arc<Authenticator>,
        undecided: Undecided,
        inner: S,
        request: Request<ReqBody>,
    ) -> Box<Self> {
        let asking = Arc::clone(authenticator);
        let verifying = async move { undecided.decide(&asking).await };
        Box::new(Self {
            verifying: Box::pin(verifying),
            authenticator: Arc::clone(authenticator),
            inner,
            request: Some(request),
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<State<S, ReqBody>> {
        let verified = ready!(self.verifying.as_mut().poll(cx));
        let next = match verified {
            Ok(agent) => {
                let mut request = self
                    .request
                    .take()
                    .expect("the future is replaced once the verification is over");
                request.extensions_mut().insert(VerifiedAgent(agent));
                State::Accepted {
                    future: self.inner.call(request),
                }
            }
            Err(error) => {
                let headers = self.request.as_ref().map(Request::headers);
                let protocol = headers.map(Protocol::of).unwrap_or_default();
                State::Refused {
                    challenge: refusal(&self.authenticator, error, protocol),
                }
            }
        };
        Poll::Ready(next)
    }
}
