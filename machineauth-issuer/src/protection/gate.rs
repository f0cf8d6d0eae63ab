//! The first and the last that happens to every request: where it comes from, whether it may come in, what every answer
//! carries.

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Version};
use machineauth_core::quota::{Exhausted, Remaining};
use tokio::time::Instant;
use tower::{Layer, Service};
use tower_http::cors::CorsLayer;
use tracing::{Instrument as _, Span};

use crate::app::App;
use crate::console;
use crate::context::{Origin, Peer, X_REQUEST_ID};
use crate::domain::event::Action;
use crate::error::ApiError;
use crate::protection::{challenge, origins};

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const NO_CONTENT_AT_ALL: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const TWO_YEARS: HeaderValue = HeaderValue::from_static("max-age=63072000");
/// Asked by machines beside the server, which know no certificates.
const HEALTH: &str = "/health";

/// Puts a [`Gate`] before each route.
#[derive(Clone, Debug)]
pub struct GateLayer {
    app: App,
    origins: Arc<CorsLayer>,
}

/// Lets requests in, and finishes their answers. What does not say that it may be cached may not (I4).
///
/// One service for all that, by hand: each of axum's layers copies the route behind it for every request.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    layer: GateLayer,
    inner: S,
}

/// What is known about a request before it is let in, and needed once it is answered.
struct Visit {
    app: App,
    begun: Instant,
    method: Method,
    route: Option<MatchedPath>,
    request_id: HeaderValue,
    is_secure: bool,
    admitted: Result<Option<Remaining>, Exhausted>,
    /// Whether a script in a page asks.
    is_of_page: bool,
    /// Whether a page of ours is asked for.
    is_for_page: bool,
}

impl GateLayer {
    /// Before the routes of `app`.
    pub fn new(app: App) -> Self {
        Self {
            origins: Arc::new(origins::layer(&app)),
            app,
        }
    }

    fn origin_of(&self, request: &Request) -> Origin {
        let peer = request.extensions().get::<Peer>().copied();
        let trusted = &self.app.config.protection.trusted_proxies;
        Origin::of(peer, request.headers(), trusted)
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            layer: self.clone(),
            inner,
        }
    }
}

impl<S> Service<Request> for Gate<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let origin = self.layer.origin_of(&request);
        let visit = Visit::begin(self.layer.app.clone(), &origin, &request);
        let span = visit.span(&origin);
        if let Some(refusal) = span.in_scope(|| visit.refusal(&origin, &request)) {
            let response = visit.finish(refusal.into_response());
            return Box::pin(std::future::ready(Ok(response)));
        }
        request.extensions_mut().insert(origin);
        let answer = span.in_scope(|| match origins::concern(&request) {
            true => {
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                Either::Left(self.layer.origins.layer(inner).call(request))
            }
            false => Either::Right(self.inner.call(request)),
        });
        let is_same_origin = matches!(answer, Either::Right(_));
        let answered = async move {
            let mut response = answer.await?;
            tracing::debug!(status = response.status().as_u16(), "answered");
            if is_same_origin {
                origins::vary(response.headers_mut());
            }
            Ok(visit.finish(response))
        };
        Box::pin(answered.instrument(span))
    }
}

impl Visit {
    fn begin(app: App, origin: &Origin, request: &Request) -> Self {
        Self {
            begun: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            request_id: origin.request_id.header(),
            is_secure: origin.is_secure,
            admitted: app.limits.admit(origin.address, app.clock.now()),
            is_of_page: challenge::is_of_page(request.headers()),
            is_for_page: console::failure::is_below_admin(request.uri().path()),
            app,
        }
    }

    /// As the table has it; empty where none matched.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }

    fn span(&self, origin: &Origin) -> Span {
        tracing::info_span!(
            "request",
            id = %origin.request_id,
            method = %self.method,
            route = self.route(),
            address = %origin.address,
        )
    }

    /// Why the request may not come in.
    fn refusal(&self, origin: &Origin, request: &Request) -> Option<ApiError> {
        if !has_one_host(request) {
            return Some(ApiError::InvalidRequest("Host: once, and only once".into()));
        }
        let is_health = request.uri().path().starts_with(HEALTH);
        if self.app.config.protection.require_https && !self.is_secure && !is_health {
            return Some(ApiError::HttpsRequired);
        }
        let exhausted = self.admitted.err()?;
        let exceeded = Action::LimitExceeded;
        self.app
            .count_stranger(exceeded, origin.address, "address", None, None);
        Some(ApiError::TooManyRequests(exhausted))
    }

    fn finish(self, mut response: Response) -> Response {
        if self.is_for_page {
            response = console::failure::as_page(response);
        }
        let app = &self.app;
        let headers = response.headers_mut();
        let is_https_only = self.is_secure && app.config.protection.require_https;
        finish(headers, is_https_only);
        if self.is_of_page {
            challenge::for_page(headers);
        }
        if let Some(quota) = app.limits.quota_per_address()
            && let Some(remaining) = self
                .admitted
                .unwrap_or_else(|exhausted| Some(exhausted.into()))
        {
            quota.announce(headers, "address", remaining);
        }
        let (route, took) = (self.route(), self.begun.elapsed());
        app.metrics
            .answered(&self.method, route, response.status(), took);
        response.headers_mut().insert(X_REQUEST_ID, self.request_id);
        response
    }
}

/// RFC 9112 §3.2: else a proxy in front might have meant another host than whoever reads this.
fn has_one_host(request: &Request) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

fn finish(headers: &mut HeaderMap, is_https_only: bool) {
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(NO_CONTENT_AT_ALL);
    if is_https_only {
        headers.insert(STRICT_TRANSPORT_SECURITY, TWO_YEARS);
    }
}
