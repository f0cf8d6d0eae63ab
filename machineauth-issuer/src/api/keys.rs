//! `/api/keys`: the signing keys, for the administrator of the server.

use std::str::FromStr as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, NoContent, Response};
use http::header::CONTENT_TYPE;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::Algorithm;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{JsonBody, OptionalJsonBody};
use super::caller::Caller;
use super::created::Created;
use crate::app::App;
use crate::date::Date;
use crate::domain::id::OrganizationId;
use crate::domain::keys::{self, KeyError, KeyRing, KeyState, RingKey, State as Keys};
use crate::error::ApiError;
use crate::openapi::{Conflict, NotFound};
use crate::store::KeyName;

/// A signing key as the API shows it. Never its private half.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningKey)]
pub struct KeyView {
    /// Names it in the key set and in the header of tokens.
    kid: String,
    algorithm: &'static str,
    /// `published`: it will sign; `signing`; `retiring`: its tokens may still be good.
    #[schema(pattern = "^(published|signing|retiring)$")]
    state: &'static str,
    created_at: Date,
    /// From when on it signs, unless a later key does.
    signs_from: Date,
    /// When it leaves the key set.
    #[serde(skip_serializing_if = "Option::is_none")]
    retires_at: Option<Date>,
}

impl KeyView {
    fn new(keys: &Keys, key: &RingKey, now: Timestamp) -> Self {
        Self {
            kid: key.kid.to_string(),
            algorithm: key.key.algorithm().as_str(),
            state: match keys.state_of(key, now) {
                KeyState::Published => "published",
                KeyState::Signing => "signing",
                KeyState::Retiring => "retiring",
            },
            created_at: Date(key.created_at),
            signs_from: Date(key.signs_from),
            retires_at: key.retires_at.map(Date),
        }
    }
}

/// The signing keys of one issuer.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyList {
    keys: Vec<KeyView>,
}

/// A key that was made or imported.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewKey {
    key: KeyView,
}

/// Whose keys are meant: an organization's that issues under its own name, or without it the server's.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct KeyQuery {
    /// Whose keys; without it the server's.
    #[param(format = Uuid)]
    organization_id: Option<String>,
}

/// The body of a rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = KeyRotation)]
pub struct RotateBody {
    /// Whose keys; without it the server's.
    organization_id: Option<String>,
    /// Signs at once instead of after the time that caches may need: for a key that is not to be trusted any more.
    #[serde(default)]
    immediately: bool,
}

/// The body of an import.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KeyImport)]
pub struct ImportBody {
    /// An unencrypted PKCS #8 private key.
    pem: String,
    /// One of ours; without it the usual one of the key's kind.
    algorithm: Option<String>,
    /// How the key is to be called.
    kid: Option<String>,
    /// Whose key; without it the server's.
    organization_id: Option<String>,
    /// Signs at once instead of after the time that caches may need.
    #[serde(default)]
    immediately: bool,
}

/// Which key.
#[derive(Debug, Deserialize, IntoParams)]
pub struct KeyParameter {
    /// The key.
    kid: String,
}

type QueryResult = Result<Query<KeyQuery>, axum::extract::rejection::QueryRejection>;

async fn ring(
    app: &App,
    caller: &Caller,
    organization: Option<&str>,
) -> Result<Arc<KeyRing>, ApiError> {
    caller.global()?;
    let Some(organization) = organization.filter(|id| !id.is_empty()) else {
        return Ok(Arc::clone(app.keys.server()));
    };
    let id: OrganizationId = organization
        .parse()
        .map_err(|_| ApiError::NO_SUCH_ORGANIZATION)?;
    let organization = app.organizations.find(id).await?.value;
    Ok(app.keys.of(&organization).await?)
}

async fn asked(app: &App, caller: &Caller, query: QueryResult) -> Result<Arc<KeyRing>, ApiError> {
    let Query(query) = query.map_err(|_| ApiError::invalid("organization_id: one identifier"))?;
    ring(app, caller, query.organization_id.as_deref()).await
}

/// List signing keys
///
/// Those of the server, or of an organization that issues under its own name.
#[utoipa::path(get, path = "", responses(NotFound, Conflict))]
pub async fn list(
    caller: Caller,
    State(app): State<App>,
    query: QueryResult,
) -> Result<Json<KeyList>, ApiError> {
    let keys = asked(&app, &caller, query).await?.state();
    let now = app.clock.now();
    let views = keys.keys().iter().map(|key| KeyView::new(&keys, key, now));
    Ok(Json(KeyList {
        keys: views.collect(),
    }))
}

/// Make a new signing key
///
/// It is published at once and signs when every cache of the key set can have it.
#[utoipa::path(post, path = "", responses(NotFound, Conflict))]
pub async fn rotate(
    caller: Caller,
    State(app): State<App>,
    OptionalJsonBody(body): OptionalJsonBody<RotateBody>,
) -> Result<Created<Json<NewKey>>, ApiError> {
    let ring = ring(&app, &caller, body.organization_id.as_deref()).await?;
    let kid = ring.rotate(body.immediately, &caller.by).await?;
    made(&app, &ring, kid.as_str())
}

/// Import a signing key
#[utoipa::path(post, path = "", responses(NotFound, Conflict))]
pub async fn import(
    caller: Caller,
    State(app): State<App>,
    JsonBody(body): JsonBody<ImportBody>,
) -> Result<Created<Json<NewKey>>, ApiError> {
    let ring = ring(&app, &caller, body.organization_id.as_deref()).await?;
    let algorithm = body
        .algorithm
        .as_deref()
        .map(Algorithm::from_str)
        .transpose();
    let key = keys::import(&body.pem, algorithm.map_err(|_| KeyError::WrongAlgorithm)?)?;
    let kid = body
        .kid
        .as_deref()
        .map(KeyName::try_from)
        .transpose()
        .map_err(|_| ApiError::invalid("kid: 1 to 128 of A-Z a-z 0-9 _ . -"))?;
    let kid = ring.import(kid, key, body.immediately, &caller.by).await?;
    made(&app, &ring, kid.as_str())
}

fn made(app: &App, ring: &KeyRing, kid: &str) -> Result<Created<Json<NewKey>>, ApiError> {
    let keys = ring.state();
    let key = found(&keys, kid)?;
    let key = KeyView::new(&keys, key, app.clock.now());
    Ok(Created(Json(NewKey { key })))
}

fn found<'a>(keys: &'a Keys, kid: &str) -> Result<&'a RingKey, KeyError> {
    let mut all = keys.keys().iter();
    all.find(|key| key.kid.as_str() == kid)
        .ok_or(KeyError::NotFound)
}

/// Get the public half of a signing key
///
/// For verifiers that know no key sets.
#[utoipa::path(get, path = "", responses(
    (status = 200, body = String, content_type = "application/x-pem-file", description = "PEM (RFC 7468)."),
    NotFound,
    Conflict,
))]
pub async fn public_pem(
    caller: Caller,
    State(app): State<App>,
    Path(KeyParameter { kid }): Path<KeyParameter>,
    query: QueryResult,
) -> Result<Response, ApiError> {
    let keys = asked(&app, &caller, query).await?.state();
    let pem = keys::public_pem(&found(&keys, &kid)?.key);
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}

/// Retire a signing key
///
/// One that does not sign; it leaves the key set when its last token can be good.
#[utoipa::path(post, path = "", responses(NotFound, Conflict))]
pub async fn retire(
    caller: Caller,
    State(app): State<App>,
    Path(KeyParameter { kid }): Path<KeyParameter>,
    query: QueryResult,
) -> Result<NoContent, ApiError> {
    let ring = asked(&app, &caller, query).await?;
    ring.retire(&kid, &caller.by).await?;
    tracing::info!(%kid, "a signing key retires");
    Ok(NoContent)
}

/// Revoke a signing key
///
/// From now on no verifier takes its tokens.
#[utoipa::path(delete, path = "", responses(NotFound, Conflict))]
pub async fn revoke(
    caller: Caller,
    State(app): State<App>,
    Path(KeyParameter { kid }): Path<KeyParameter>,
    query: QueryResult,
) -> Result<NoContent, ApiError> {
    let ring = asked(&app, &caller, query).await?;
    ring.revoke(&kid, &caller.by).await?;
    tracing::warn!(%kid, "revoked a signing key");
    Ok(NoContent)
}
