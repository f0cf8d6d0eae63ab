//! `POST /oauth/revoke` (RFC 7009).

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::client_auth::{self, Asker, ClientParams};
use super::params::ParamsOf;
use crate::app::App;
use crate::context::Origin;
use crate::domain::api_keys::ADMIN;
use crate::domain::tokens::Revoker;
use crate::error::OAuthError;
use crate::openapi::InvalidClient;

/// The documented answer; RFC 7009 §2.2 asks only for the status.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revoked {
    /// `revoked`
    status: &'static str,
}

/// The parameters of a revocation.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevocationRequest {
    /// An access token, or a refresh token with all that came of it.
    pub token: String,
    /// Not needed.
    pub token_type_hint: Option<String>,
    /// Who asks.
    #[serde(flatten)]
    pub client: ClientParams,
}

/// End a token (RFC 7009)
///
/// Who holds a token may end it. A client that authenticates ends only its own, an organization's API key those of the
/// organization, or of its team.
#[utoipa::path(post, path = "", security(("client" = []), ("bearer" = []), ("api_key" = []), ()), responses(InvalidClient))]
pub async fn revoke(
    State(app): State<App>,
    origin: Origin,
    headers: HeaderMap,
    ParamsOf(mut params, _): ParamsOf<RevocationRequest>,
) -> Result<Json<Revoked>, OAuthError> {
    let asker = client_auth::asker(&app, &origin, &headers, &mut params).await?;
    let revoker = match &asker {
        Asker::Anybody => Revoker::Holder,
        Asker::Client(client) => Revoker::Client(client.value.client_id),
        Asker::ApiKey(key) if key.scopes.contains(ADMIN) => {
            Revoker::Tenant(key.organization_id, key.team_id)
        }
        Asker::ApiKey(_) => {
            return Err(OAuthError::UnauthorizedClient(
                "the API key lacks the scope admin",
            ));
        }
    };
    let token = params.require("token")?;
    let by = origin.by(asker.actor());
    app.tokens.revoke(&token, revoker, &by).await?;
    Ok(Json(Revoked { status: "revoked" }))
}
