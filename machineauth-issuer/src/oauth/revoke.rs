//! `POST /oauth/revoke` (RFC 7009).

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::Serialize;

use super::client_auth::{self, Asker};
use super::params::Params;
use crate::app::App;
use crate::context::Origin;
use crate::domain::api_keys::ADMIN;
use crate::domain::tokens::Revoker;
use crate::error::OAuthError;

/// The documented answer; RFC 7009 §2.2 asks only for the status.
#[derive(Debug, Serialize)]
pub struct Revoked {
    status: &'static str,
}

/// `POST /oauth/revoke`
///
/// Who holds the token may end it; a client that authenticates ends only its own, an organization's API key those of the
/// organization.
pub async fn revoke(
    State(app): State<App>,
    origin: Origin,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Json<Revoked>, OAuthError> {
    let asker = client_auth::asker(&app, &origin, &headers, &mut params).await?;
    let revoker = match &asker {
        Asker::Anybody => Revoker::Holder,
        Asker::Client(client) => Revoker::Client(client.value.client_id),
        Asker::ApiKey(key) if key.scopes.contains(ADMIN) => {
            Revoker::Organization(key.organization_id)
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
