//! The first and the last that happens to every request: where it comes from, whether it may come in, what every answer
//! carries.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Version};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::app::App;
use crate::context::{Origin, Peer, X_REQUEST_ID};
use crate::domain::event::Action;
use crate::error::ApiError;
use crate::protection::challenge;

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const NO_CONTENT_AT_ALL: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const TWO_YEARS: HeaderValue = HeaderValue::from_static("max-age=63072000");
/// Asked by machines beside the server, which know no certificates.
const HEALTH: &str = "/health";

/// Lets a request in, and finishes its answer. What does not say that it may be cached may not (I4).
pub async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let peer = request.extensions().get::<Peer>().copied();
    let settings = &app.config.protection;
    let origin = Origin::of(peer, request.headers(), &settings.trusted_proxies);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        id = %origin.request_id,
        method = %method,
        route,
        address = %origin.address,
    );
    let request_id = origin.request_id.header();
    let is_secure = origin.is_secure;
    let admitted = app.limits.admit(origin.address, app.clock.now());
    let is_of_page = challenge::is_of_page(request.headers());
    let is_health = request.uri().path().starts_with(HEALTH);
    let mut response = async {
        if !has_one_host(&request) {
            return ApiError::InvalidRequest("Host: once, and only once".into()).into_response();
        }
        if settings.require_https && !is_secure && !is_health {
            return ApiError::HttpsRequired.into_response();
        }
        match admitted {
            Err(exhausted) => {
                let exceeded = Action::LimitExceeded;
                app.count_stranger(exceeded, origin.address, "address", None, None);
                ApiError::TooManyRequests(exhausted).into_response()
            }
            Ok(_) => {
                request.extensions_mut().insert(origin);
                let response = next.run(request).await;
                tracing::debug!(status = response.status().as_u16(), "answered");
                response
            }
        }
    }
    .instrument(span)
    .await;
    let headers = response.headers_mut();
    finish(headers, is_secure && settings.require_https);
    if is_of_page {
        challenge::for_page(headers);
    }
    headers.insert(X_REQUEST_ID, request_id);
    if let Some(quota) = app.limits.quota_per_address()
        && let Some(remaining) = admitted.unwrap_or_else(|exhausted| Some(exhausted.into()))
    {
        quota.announce(headers, "address", remaining);
    }
    app.metrics
        .answered(&method, route, response.status(), begun.elapsed());
    response
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
