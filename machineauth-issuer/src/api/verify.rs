//! `GET /api/verify`: who a bearer is, in the body and in headers, so that a proxy can ask for every request.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use machineauth_core::scope::ScopeSet;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::bearer;
use crate::app::App;
use crate::context::Origin;
use crate::credential::{Credential, NoCredential};
use crate::domain::api_keys::ApiKey;
use crate::domain::id::{AgentId, ClientId, OrganizationId, TeamId};
use crate::domain::usage::Usage;
use crate::error::ApiError;
use crate::openapi::{InvalidToken, Scopes};

/// Whom the token must be meant for; without it, this server.
#[derive(Debug, Deserialize, IntoParams)]
pub struct VerifyQuery {
    /// Whom the token must be meant for; without it, this server.
    audience: Option<String>,
}

/// A bearer that was verified.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Verified {
    /// By an access token.
    Agent(VerifiedAgent),
    /// By an API key.
    Key(VerifiedKey),
}

/// An agent that was verified.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerifiedAgent {
    valid: bool,
    #[schema(pattern = "^access_token$")]
    auth_method: &'static str,
    agent_id: AgentId,
    client_id: ClientId,
    /// Empty where the agent belongs to no organization.
    organization_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<TeamId>,
    name: String,
    /// What the token still allows: no more than the agent may have now.
    #[schema(value_type = Scopes)]
    scopes: ScopeSet,
    is_active: bool,
    token_count: i64,
    /// When the token expires, in Unix seconds.
    exp: u64,
}

/// An API key that was verified.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerifiedKey {
    valid: bool,
    #[schema(pattern = "^api_key$")]
    auth_method: &'static str,
    organization_id: OrganizationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<TeamId>,
    #[schema(value_type = Scopes)]
    scopes: ScopeSet,
}

/// Say who a bearer is
///
/// In the body and in headers, so that a proxy can ask for every request.
#[utoipa::path(get, path = "", security(("agent" = []), ("api_key" = [])), responses(
    (status = 200, body = Verified, description = "The bearer.", headers(
        ("X-Auth-Method", description = "`access_token` or `api_key`."),
        ("X-Agent-Id", description = "The agent."),
        ("X-Client-Id", description = "The agent in OAuth."),
        ("X-Org-Id", description = "Its organization."),
        ("X-Team-Id", description = "Its team."),
        ("X-Agent-Scopes", description = "What it may, separated by spaces."),
        ("X-Token-Expires", description = "When the token expires, in Unix seconds."),
    )),
    InvalidToken,
))]
pub async fn verify(
    State(app): State<App>,
    origin: Origin,
    query: Result<Query<VerifyQuery>, axum::extract::rejection::QueryRejection>,
    parts: Parts,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|_| ApiError::invalid("audience: one text"))?;
    let credential = Credential::read(&parts.headers, &parts.uri).map_err(unproven)?;
    match credential {
        Credential::Basic(_) => Err(ApiError::TokenRequired),
        Credential::ApiKey(text) => {
            let key: Result<_, ApiError> = app.api_key(origin.address, &text).await;
            key?.map(verified_key).ok_or(ApiError::InvalidToken)
        }
        Credential::Token(text) => verified_agent(&app, &text, query.audience.as_deref()).await,
    }
}

/// A proxy that asks about somebody else's request takes 401 for a refusal, and 400 for a fault of its own.
fn unproven(why: NoCredential) -> ApiError {
    match why {
        NoCredential::Missing => ApiError::TokenRequired,
        NoCredential::Several | NoCredential::Malformed => ApiError::InvalidToken,
    }
}

async fn verified_agent(
    app: &App,
    text: &str,
    audience: Option<&str>,
) -> Result<Response, ApiError> {
    let audience = audience.unwrap_or(&app.config.tokens.audience);
    let (token, holder) = bearer::holder(app, text, audience).await?;
    let scopes = holder.allowed_by(&token);
    let agent = &holder.agent.value;
    if !agent.is_active {
        return Err(ApiError::InvalidToken);
    }
    let usage = Usage::read(&*app.store, agent).await?;
    let claims = token.claims();
    let body = VerifiedAgent {
        valid: true,
        auth_method: "access_token",
        agent_id: agent.id,
        client_id: agent.client_id,
        organization_id: agent
            .organization_id
            .map_or_else(String::new, |id| id.to_string()),
        team_id: agent.team_id,
        name: agent.name.clone(),
        scopes,
        is_active: agent.is_active,
        token_count: usage.token_count,
        exp: claims.expires_at,
    };
    let headers = [
        ("x-auth-method", Some("access_token".to_owned())),
        ("x-agent-id", Some(body.agent_id.to_string())),
        ("x-client-id", Some(body.client_id.to_string())),
        ("x-org-id", agent.organization_id.map(|id| id.to_string())),
        ("x-team-id", agent.team_id.map(|id| id.to_string())),
        ("x-agent-scopes", Some(body.scopes.to_string())),
        ("x-token-expires", Some(body.exp.to_string())),
    ];
    Ok(with_headers(
        Json(Verified::Agent(body)).into_response(),
        headers,
    ))
}

fn verified_key(key: ApiKey) -> Response {
    let headers = [
        ("x-auth-method", Some("api_key".to_owned())),
        ("x-org-id", Some(key.organization_id.to_string())),
        ("x-team-id", key.team_id.map(|id| id.to_string())),
        ("x-agent-scopes", Some(key.scopes.to_string())),
    ];
    let body = VerifiedKey {
        valid: true,
        auth_method: "api_key",
        organization_id: key.organization_id,
        team_id: key.team_id,
        scopes: key.scopes,
    };
    with_headers(Json(Verified::Key(body)).into_response(), headers)
}

fn with_headers<const N: usize>(
    mut response: Response,
    headers: [(&'static str, Option<String>); N],
) -> Response {
    for (name, value) in headers {
        let value = value.map(|value| {
            HeaderValue::try_from(value).expect("identifiers and scopes are printable ASCII")
        });
        if let Some(value) = value {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}
