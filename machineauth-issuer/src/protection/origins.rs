//! Which pages may call the API from a browser (CORS, Fetch Standard §3.2).

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use machineauth_core::quota::{RATE_LIMIT, RATE_LIMIT_POLICY};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;
use crate::domain::id::OrganizationId;

/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(600);
/// What an answer without `Origin` in its question depends on as well: a cache must not give it to a page.
const VARY: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);
/// Below which an organization's own origins count, too.
const ORGANIZATIONS: &str = "/api/organizations/";

/// Answers browsers that ask whether a page may call. Never with credentials that a browser adds by itself.
pub fn layer(app: &App) -> CorsLayer {
    let app = app.clone();
    let is_allowed = AllowOrigin::async_predicate(move |origin: HeaderValue, parts: &Parts| {
        let organization = organization_in(parts.uri.path());
        async move { allows(&app, &origin, organization).await }
    });
    CorsLayer::new()
        .allow_origin(is_allowed)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            HeaderName::from_static("x-api-key"),
        ])
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("x-request-id"),
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
        ])
        .max_age(MAX_AGE)
}

/// Whether a page of another origin may be asking. Without `Origin` none is, unless somebody only asks what is allowed.
pub fn concern<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS || request.headers().contains_key(header::ORIGIN)
}

/// Says on what else the answer depends to a request that the [`layer`] was spared.
pub fn vary(headers: &mut HeaderMap) {
    headers.append(header::VARY, VARY);
}

async fn allows(app: &App, origin: &HeaderValue, organization: Option<OrganizationId>) -> bool {
    let settings = &app.config.protection;
    if settings
        .allowed_origins
        .iter()
        .any(|allowed| allowed.as_str() == origin)
    {
        return true;
    }
    let Some(organization) = organization else {
        return false;
    };
    // A store that is away allows nothing.
    app.organizations
        .find(organization)
        .await
        .is_ok_and(|stored| {
            let mut allowed = stored.value.allowed_origins.iter();
            allowed.any(|allowed| allowed.as_str() == origin)
        })
}

fn organization_in(path: &str) -> Option<OrganizationId> {
    let rest = path.strip_prefix(ORGANIZATIONS)?;
    rest.split('/').next()?.parse().ok()
}
