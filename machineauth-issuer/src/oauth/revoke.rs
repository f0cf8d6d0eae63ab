//! `POST /oauth/revoke` (RFC 7009).

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::Serialize;

use super::client_auth;
use super::params::Params;
use crate::app::App;
use crate::error::OAuthError;

/// The documented answer; RFC 7009 §2.2 asks only for the status.
#[derive(Debug, Serialize)]
pub struct Revoked {
    status: &'static str,
}

/// `POST /oauth/revoke`
///
/// Who holds the token may end it; a client that authenticates ends only its own.
pub async fn revoke(
    State(app): State<App>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Json<Revoked>, OAuthError> {
    let presented = client_auth::read(&headers, &mut params)?;
    let caller =
        client_auth::authenticate(&app.agents, presented, app.config.access.introspection).await?;
    let token = params.require("token")?;
    app.tokens
        .revoke(&token, caller.map(|caller| caller.value.client_id))
        .await?;
    Ok(Json(Revoked { status: "revoked" }))
}
