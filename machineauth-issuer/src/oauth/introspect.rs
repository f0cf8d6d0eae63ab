//! `POST /oauth/introspect` (RFC 7662).

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::Serialize;

use super::client_auth;
use super::params::Params;
use crate::app::App;
use crate::domain::agents::StoredAgent;
use crate::domain::tokens::{ActiveToken, TokenKind, TokenState};
use crate::error::OAuthError;

/// Lets a client introspect the tokens of others.
const INTROSPECT_SCOPE: &str = "tokens:introspect";

/// What is said about a token (RFC 7662 §2.2), with the documented `revoked` and `reason` for one that is not active.
#[derive(Debug, Default, Serialize)]
pub struct Introspection {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aud: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl From<TokenState> for Introspection {
    fn from(state: TokenState) -> Self {
        match state {
            TokenState::Active(token) => Self::of_active(token),
            TokenState::Revoked => Self {
                revoked: Some(true),
                reason: Some("revoked"),
                ..Self::default()
            },
            TokenState::Expired => Self {
                reason: Some("expired"),
                ..Self::default()
            },
            TokenState::Unrecognized => Self::default(),
        }
    }
}

impl Introspection {
    fn of_active(token: ActiveToken) -> Self {
        let mut answer = Self {
            active: true,
            scope: Some(token.scope.to_string()),
            client_id: Some(token.client_id.to_string()),
            exp: Some(token.expires_at),
            token_type: Some(match token.kind {
                TokenKind::Access => "Bearer",
                TokenKind::Refresh => "refresh_token",
            }),
            ..Self::default()
        };
        if let Some(verified) = token.verified {
            let claims = verified.claims();
            answer.iat = claims.issued_at;
            answer.aud = claims.audience.iter().map(str::to_owned).collect();
            answer.iss = Some(claims.issuer.clone());
            answer.sub = Some(claims.subject.clone());
            answer.jti = claims.jwt_id.clone();
            answer.agent_id = claims.agent_id.clone();
        }
        answer
    }
}

/// `POST /oauth/introspect`
pub async fn introspect(
    State(app): State<App>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Json<Introspection>, OAuthError> {
    let presented = client_auth::read(&headers, &mut params)?;
    let caller =
        client_auth::authenticate(&app.agents, presented, app.config.access.introspection).await?;
    let token = params.require("token")?;
    let state = match app.tokens.state(&token).await? {
        // Whoever says who it is sees only what concerns it (RFC 7662 §4).
        TokenState::Active(token) if caller.is_some_and(|caller| !may_see(&caller, &token)) => {
            TokenState::Unrecognized
        }
        state => state,
    };
    Ok(Json(state.into()))
}

fn may_see(caller: &StoredAgent, token: &ActiveToken) -> bool {
    caller.value.client_id == token.client_id || caller.value.scopes.contains(INTROSPECT_SCOPE)
}
