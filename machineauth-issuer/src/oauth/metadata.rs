//! What clients and verifiers read first: metadata (RFC 8414, OpenID Connect Discovery 1.0) and keys, of the server and of
//! the organizations that issue under their own names.
//!
//! Which issuer is asked about is in the request: its host, and a path segment where the issuer has one. A host that is
//! no organization's is the server's.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::documents::{self, Metadata};
use crate::domain::keys::{KeyRing, RingName};
use crate::domain::organization::{Organization, location_at};
use crate::error::{ApiError, OAuthError};
use crate::openapi::NotFound;

/// How long the documents may be cached: [`crate::domain::keys::PUBLIC_CACHE`]. A verifier that meets an unknown key asks
/// again at once.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// How old the published keys are at most.
const FRESH: Duration = Duration::from_secs(1);

/// Which issuer.
#[derive(Debug, Deserialize, IntoParams)]
pub struct IssuerParameter {
    /// The path of the issuer.
    segment: String,
}

/// The keys that verify tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeySet {
    /// All that some token can be signed with.
    pub keys: Vec<PublicKey>,
}

/// A public key (RFC 7517 §4).
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicKey {
    /// `RSA`, `EC` or `OKP`
    pub kty: String,
    /// Names it in the header of tokens.
    pub kid: String,
    /// `sig`
    #[serde(rename = "use")]
    pub usage: String,
    /// The only algorithm that it is for.
    pub alg: String,
    /// The modulus of an RSA key.
    pub n: Option<String>,
    /// The exponent of an RSA key.
    pub e: Option<String>,
    /// The curve of another key.
    pub crv: Option<String>,
    /// A coordinate, or the whole key on an Edwards curve.
    pub x: Option<String>,
    /// The other coordinate.
    pub y: Option<String>,
}

fn document(body: Bytes) -> Response {
    let headers = [
        (CACHE_CONTROL, CACHEABLE),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    (headers, body).into_response()
}

/// The organization that the request asks about.
async fn asked_about(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    segment: Option<&str>,
) -> Result<Option<Organization>, OAuthError> {
    let host = uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| headers.get(HOST)?.to_str().ok());
    let Some(host) = host else { return Ok(None) };
    let location = location_at(host, segment);
    if location == app.organizations.server_location {
        return Ok(None);
    }
    let organization = app.organizations.issuing_at(location).await?;
    Ok(organization.map(|stored| stored.value))
}

/// Get the metadata of the issuer (RFC 8414, OpenID Connect Discovery 1.0)
///
/// Of the server, or of the organization that issues at this host.
#[utoipa::path(get, path = "", responses((status = 200, body = Metadata, description = "The metadata.")))]
pub async fn metadata(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    match asked_about(&app, &uri, &headers, None).await? {
        Some(organization) => Ok(metadata_of(&app, &organization)),
        None => Ok(document(app.metadata.clone())),
    }
}

/// Get the metadata of an organization that issues below a path
#[utoipa::path(get, path = "", responses((status = 200, body = Metadata, description = "The metadata."), NotFound))]
pub async fn metadata_at(
    State(app): State<App>,
    Path(IssuerParameter { segment }): Path<IssuerParameter>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match asked_about(&app, &uri, &headers, Some(&segment)).await {
        Ok(Some(organization)) => Ok(metadata_of(&app, &organization)),
        Ok(None) => Err(ApiError::NO_SUCH_PATH),
        Err(error) => Ok(error.into_response()),
    }
}

fn metadata_of(app: &App, organization: &Organization) -> Response {
    let server = &app.config.tokens.issuer;
    let issuer = organization
        .issuer
        .as_ref()
        .map_or(server.as_str(), |issuer| issuer.as_str());
    document(documents::metadata(
        issuer,
        server,
        app.config.keys.algorithm,
        &app.dpop.algorithms(),
    ))
}

/// Get the public signing keys (RFC 7517 §5)
///
/// Of the server, or of the organization that issues at this host.
#[utoipa::path(get, path = "", responses((status = 200, body = KeySet, description = "The keys.")))]
pub async fn jwks(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    match asked_about(&app, &uri, &headers, None).await? {
        Some(organization) => jwks_of(&app, &organization).await,
        None => Ok(keys_of(app.keys.server()).await),
    }
}

/// Get the public signing keys of an organization that issues below a path
#[utoipa::path(get, path = "", responses((status = 200, body = KeySet, description = "The keys."), NotFound))]
pub async fn jwks_at(
    State(app): State<App>,
    Path(IssuerParameter { segment }): Path<IssuerParameter>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match asked_about(&app, &uri, &headers, Some(&segment)).await {
        Ok(Some(organization)) => Ok(jwks_of(&app, &organization)
            .await
            .unwrap_or_else(IntoResponse::into_response)),
        Ok(None) => Err(ApiError::NO_SUCH_PATH),
        Err(error) => Ok(error.into_response()),
    }
}

async fn jwks_of(app: &App, organization: &Organization) -> Result<Response, OAuthError> {
    let ring = app
        .keys
        .signing(RingName::Organization(organization.id))
        .await?;
    Ok(keys_of(&ring).await)
}

/// Whoever asks may have met a key that another issuer made a moment ago.
async fn keys_of(ring: &KeyRing) -> Response {
    ring.refresh_if_older(FRESH).await;
    document(ring.state().document())
}
