//! Call others with a token of one's own.
//!
//! [`ClientCredentialsLayer`] goes around any HTTP client that is a Tower service, a tonic channel among them. It sends
//! each request with a token from a [`TokenSource`], and when the other side refuses the token (401, or the gRPC status
//! `UNAUTHENTICATED`) it has the source replace it, and sends the request once more where its body allows that. Whatever
//! else the other side answers is the caller's: a 429 is handed on with its `Retry-After`, and nothing is sent again.
//!
//! # Example
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use machineauth_core::client::ClientCredentials;
//! use machineauth_tower::ClientCredentialsLayer;
//! use tower::{ServiceBuilder, ServiceExt as _};
//! # use machineauth_core::test_kit::MockIssuer;
//!
//! // Any HTTP client; here one that sends back what it was sent.
//! async fn send(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let sent = request.headers()["authorization"].as_bytes().to_vec();
//!     Ok(Response::new(Full::from(sent)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! # let issuer = MockIssuer::start().await?;
//! # let issuer = issuer.url();
//! let source = ClientCredentials::discover(issuer).client("reporter", "its-secret").build()?;
//! let client = ServiceBuilder::new()
//!     .layer(ClientCredentialsLayer::new(source))
//!     .service_fn(send);
//!
//! let request = Request::get("https://api.example.com/artifacts").body(Full::default())?;
//! let response = client.oneshot(request).await?;
//! # let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
//! # assert!(body.starts_with(b"Bearer ey"));
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use machineauth_core::ErrorKind;
use machineauth_core::client::{AccessToken, TokenSource};
use tower_layer::Layer;
use tower_service::Service;

/// What a call fails with: the client's own error, or [`TokenError`](machineauth_core::client::TokenError).
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Layer that applies [`Authorize`]. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct ClientCredentialsLayer<R = EmptyBodies> {
    settings: Arc<Settings>,
    resend: R,
}

#[derive(Clone, Debug)]
struct Settings {
    source: Arc<dyn TokenSource>,
    /// Scheme and authority of those who get a token; empty for everybody.
    origins: Vec<Uri>,
}

impl ClientCredentialsLayer {
    /// Sends a token of `source` with every request, in place of whatever `Authorization` it has.
    pub fn new(source: impl TokenSource + 'static) -> Self {
        Self {
            settings: Arc::new(Settings {
                source: Arc::new(source),
                origins: Vec::new(),
            }),
            resend: EmptyBodies,
        }
    }
}

impl<R> ClientCredentialsLayer<R> {
    /// Sends the token only to this origin, as in `https://api.example.com`, and to those of other calls of this method.
    /// For a client that also calls others: a token is for one audience, and whoever sees it can use it there.
    ///
    /// A request that names no host, as on a channel to one server, counts as one to the right place.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when it is no scheme and host.
    pub fn only_to(mut self, origin: &str) -> Result<Self, machineauth_core::Error> {
        let parsed = origin.parse::<Uri>().ok();
        let origin = parsed.filter(|uri| uri.scheme().is_some() && uri.authority().is_some());
        let origin = origin.ok_or(ErrorKind::InvalidConfiguration)?;
        Arc::make_mut(&mut self.settings).origins.push(origin);
        Ok(self)
    }

    /// Also sends requests with a body again, by cloning every body beforehand: for `Full<Bytes>` and its kind, whose
    /// clones share the bytes. By default only requests without a body are sent again.
    #[must_use]
    pub fn clone_bodies(self) -> ClientCredentialsLayer<ClonedBodies> {
        ClientCredentialsLayer {
            settings: self.settings,
            resend: ClonedBodies,
        }
    }
}

impl<S, R: Clone> Layer<S> for ClientCredentialsLayer<R> {
    type Service = Authorize<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Authorize {
            inner,
            settings: Arc::clone(&self.settings),
            resend: self.resend.clone(),
        }
    }
}

/// Which bodies can be sent a second time.
pub trait Resend<B> {
    /// What to send the second time; `None` when that cannot be done.
    fn copy(&self, body: &B) -> Option<B>;
}

/// Bodies that have nothing in them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EmptyBodies;

impl<B: Body + Default> Resend<B> for EmptyBodies {
    fn copy(&self, body: &B) -> Option<B> {
        body.is_end_stream().then(B::default)
    }
}

/// Bodies that can be cloned, all of them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClonedBodies;

impl<B: Clone> Resend<B> for ClonedBodies {
    fn copy(&self, body: &B) -> Option<B> {
        Some(body.clone())
    }
}

/// Middleware that sends a token with each request. See the [module](self) for an example.
#[derive(Clone, Debug)]
pub struct Authorize<S, R = EmptyBodies> {
    inner: S,
    settings: Arc<Settings>,
    resend: R,
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Authorize<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: Resend<ReqBody>,
    ReqBody: Send + 'static,
    ResBody: Send + 'static,
{
    type Response = Response<ResBody>;
    type Error = BoxError;
    type Future = ResponseFuture<ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The service that was polled ready goes with the request; a fresh clone stays here.
        let fresh = self.inner.clone();
        let inner = mem::replace(&mut self.inner, fresh);
        // One allocation beside a request over the network.
        ResponseFuture(if self.settings.admits(request.uri()) {
            let again = copy(&request, &self.resend);
            let source = Arc::clone(&self.settings.source);
            Box::pin(send(inner, request, again, source))
        } else {
            let mut inner = inner;
            let sent = inner.call(request);
            Box::pin(async move { sent.await.map_err(Into::into) })
        })
    }
}

impl Settings {
    fn admits(&self, uri: &Uri) -> bool {
        let same =
            |origin: &Uri| origin.scheme() == uri.scheme() && origin.authority() == uri.authority();
        self.origins.is_empty() || uri.authority().is_none() || self.origins.iter().any(same)
    }
}

async fn send<S, ReqBody, ResBody>(
    mut inner: S,
    request: Request<ReqBody>,
    again: Option<Request<ReqBody>>,
    source: Arc<dyn TokenSource>,
) -> Result<Response<ResBody>, BoxError>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
{
    let token = match source.current() {
        Some(token) => token,
        None => source.token().await?,
    };
    let sent = inner.call(authorized(request, &token)).await;
    let response = sent.map_err(Into::into)?;
    if !is_refused(&response) || !source.refused(&token) {
        return Ok(response);
    }
    // Without a body to send, or without another token, the refusal is the answer.
    let (Some(request), Ok(token)) = (again, source.token().await) else {
        return Ok(response);
    };
    drop(response);
    poll_fn(|cx| inner.poll_ready(cx))
        .await
        .map_err(Into::into)?;
    let sent = inner.call(authorized(request, &token)).await;
    sent.map_err(Into::into)
}

fn authorized<B>(mut request: Request<B>, token: &AccessToken) -> Request<B> {
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, token.authorization().clone());
    request
}

fn copy<B>(request: &Request<B>, resend: &impl Resend<B>) -> Option<Request<B>> {
    let mut copy = Request::new(resend.copy(request.body())?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// RFC 6750 §3.1, or `UNAUTHENTICATED` of a gRPC server that answers without a message.
fn is_refused<B>(response: &Response<B>) -> bool {
    let grpc_status = response.headers().get("grpc-status");
    response.status() == StatusCode::UNAUTHORIZED
        || grpc_status.is_some_and(|status| status.as_bytes() == b"16")
}

/// Response future of [`Authorize`].
pub struct ResponseFuture<B>(Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>);

impl<B> Future for ResponseFuture<B> {
    type Output = Result<Response<B>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<B> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
