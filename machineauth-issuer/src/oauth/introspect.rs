//! `POST /oauth/introspect` (RFC 7662).

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use machineauth_core::scope::ScopeSet;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::client_auth::{self, Asker, ClientParams};
use super::params::ParamsOf;
use crate::app::App;
use crate::context::Origin;
use crate::domain::event::Action;
use crate::domain::tokens::{IssuedToken, TokenState, Unrecognized};
use crate::error::{OAuthError, Unavailable};
use crate::openapi::InvalidClient;

/// Lets a client or an API key introspect the tokens of others.
const INTROSPECT_SCOPE: &str = "tokens:introspect";

/// What is said about a token (RFC 7662 §2.2), with the documented `revoked` and `reason` for one that is not active.
#[derive(Debug, Default, Serialize, ToSchema)]
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
    org_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<String>,
    /// With the token's `jti`, `agent_id` and `org_id`, what the revocation feed names: whoever remembers this answer can
    /// tell when it is outdated.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#gen: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fid: Option<String>,
    /// What the token's user must prove to have (RFC 9449 §6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    cnf: Option<Map<String, Value>>,
    /// The only dock that the token is good for.
    #[serde(rename = "dockId", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    dock_id: Option<Value>,
    /// Whom the client's acts are ascribed to.
    #[serde(rename = "partyId", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    party_id: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The parameters of an introspection.
#[derive(Debug, Serialize, ToSchema)]
pub struct IntrospectionRequest {
    /// An access token or a refresh token.
    pub token: String,
    /// Not needed.
    pub token_type_hint: Option<String>,
    /// Who asks.
    #[serde(flatten)]
    pub client: ClientParams,
}

impl Introspection {
    /// What is said of a token that the caller has no business with: as of one that is none of ours.
    fn unrecognized() -> Self {
        Self::default()
    }

    fn expired() -> Self {
        Self {
            reason: Some("expired"),
            ..Self::default()
        }
    }

    fn revoked() -> Self {
        Self {
            revoked: Some(true),
            reason: Some("revoked"),
            ..Self::default()
        }
    }

    fn active(token: &IssuedToken, scope: &ScopeSet) -> Self {
        let answer = Self {
            active: true,
            scope: Some(scope.to_string()),
            client_id: Some(token.client_id().to_string()),
            exp: Some(token.expires_at().as_secs()),
            ..Self::default()
        };
        match token {
            IssuedToken::Refresh(_) => Self {
                token_type: Some("refresh_token"),
                ..answer
            },
            IssuedToken::Access(token) => {
                let claims = token.claims();
                Self {
                    token_type: Some(match claims.confirmation {
                        None => "Bearer",
                        Some(_) => "DPoP",
                    }),
                    cnf: claims.confirmation.clone(),
                    iat: claims.issued_at,
                    aud: claims.audience.iter().map(str::to_owned).collect(),
                    iss: Some(claims.issuer.clone()),
                    sub: Some(claims.subject.clone()),
                    jti: claims.jwt_id.clone(),
                    agent_id: claims.agent_id.clone(),
                    org_id: claims.organization_id.clone(),
                    team_id: claims.team_id.clone(),
                    r#gen: claims.generation,
                    fid: claims.family_id.clone(),
                    dock_id: claims.extra.get("dockId").cloned(),
                    party_id: claims.extra.get("partyId").cloned(),
                    client_id: claims.client_id.clone().or(answer.client_id),
                    ..answer
                }
            }
        }
    }
}

/// Say whether a token is good (RFC 7662)
///
/// A caller that authenticates sees what concerns it; other tokens are inactive to it.
#[utoipa::path(post, path = "", security(("client" = []), ("bearer" = []), ("api_key" = []), ()), responses(InvalidClient))]
pub async fn introspect(
    State(app): State<App>,
    origin: Origin,
    headers: HeaderMap,
    ParamsOf(mut params, _): ParamsOf<IntrospectionRequest>,
) -> Result<Json<Introspection>, OAuthError> {
    let asker = client_auth::asker(&app, &origin, &headers, &mut params).await?;
    let unrecognized = |answer| {
        let failed = Action::TokenValidationFailed;
        app.count_stranger(failed, origin.address, "introspection", None, None);
        Ok(Json(answer))
    };
    let token = match app.tokens.recognize(&params.require("token")?).await {
        Ok(token) => token,
        Err(Unrecognized::LongExpired) => return unrecognized(Introspection::expired()),
        Err(Unrecognized::Unknown) => return unrecognized(Introspection::unrecognized()),
        Err(Unrecognized::KeysUnavailable) => {
            return Err(OAuthError::TemporarilyUnavailable(Unavailable::Store));
        }
    };
    if !may_see(&app, &asker, &token).await? {
        return unrecognized(Introspection::unrecognized());
    }
    let state = app.tokens.state(&token).await?;
    let by = origin.by(asker.actor());
    app.tokens.introspected(&token, &state, &by).await?;
    Ok(Json(match state {
        TokenState::Active(scope) => Introspection::active(&token, &scope),
        TokenState::Revoked => Introspection::revoked(),
        TokenState::Expired => Introspection::expired(),
    }))
}

/// Whoever says who it is sees only what concerns it (RFC 7662 §4): a client its own tokens, or with the right scope those
/// of its organization, and a client of no organization then all of them; an API key those of its organization. Who is in a
/// team, or made for one, sees those of the team.
async fn may_see(app: &App, asker: &Asker, token: &IssuedToken) -> Result<bool, OAuthError> {
    let (organization, team) = match asker {
        Asker::Anybody => return Ok(true),
        Asker::Client(client) if client.value.client_id == token.client_id() => return Ok(true),
        Asker::Client(client) if !client.value.scopes.contains(INTROSPECT_SCOPE) => {
            return Ok(false);
        }
        Asker::Client(client) => match client.value.organization_id {
            None => return Ok(true),
            Some(organization) => (organization, client.value.team_id),
        },
        Asker::ApiKey(key) if !key.scopes.contains(INTROSPECT_SCOPE) => return Ok(false),
        Asker::ApiKey(key) => (key.organization_id, key.team_id),
    };
    Ok(app.tokens.is_of(token, organization, team).await?)
}
