//! `POST /oauth/token` (RFC 6749 §3.2) and `POST /oauth/refresh`, the documented short form of one of its grants.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use machineauth_core::dpop::{Dpop, Proof};
use machineauth_core::scope::ScopeSet;
use serde::Serialize;
use utoipa::ToSchema;

use super::client_auth::{self, ClientParams};
use super::params::{Params, ParamsOf};
use crate::app::App;
use crate::config::ClientAuth;
use crate::context::Origin;
use crate::domain::agent::MAX_SCOPE_TEXT;
use crate::domain::agents::{Credentials, Presented};
use crate::domain::event::Actor;
use crate::domain::grants::{GrantError, Granted, Requested};
use crate::domain::id::ClientId;
use crate::error::OAuthError;
use crate::openapi::{DescribeAnswer, Description, InvalidClient};
use crate::protection::failures::Attempt;

/// The answer to a granted request (RFC 6749 §5.1), with the documented `issued_at`.
#[derive(Serialize, ToSchema)]
struct TokenResponse {
    access_token: String,
    /// `Bearer`; `DPoP` when it is bound to a key
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    /// What was granted, separated by spaces.
    scope: String,
    /// Unix seconds.
    issued_at: u64,
    /// Good for one more access token, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// The parameters of a request for a token.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenRequest {
    /// `client_credentials` or `refresh_token`
    #[schema(pattern = "^(client_credentials|refresh_token)$")]
    pub grant_type: String,
    /// What is asked for, separated by spaces; without it, everything that the client may have.
    pub scope: Option<String>,
    /// Whom the token is to be for (RFC 8707 §2); without it, the server's own audience.
    pub resource: Option<String>,
    /// The same as `resource`; need be no URI.
    pub audience: Option<String>,
    /// For the grant `refresh_token`.
    pub refresh_token: Option<String>,
    /// Who asks.
    #[serde(flatten)]
    pub client: ClientParams,
}

/// The parameters of a request to redeem a refresh token.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefreshRequest {
    /// `refresh_token`, if anything.
    pub grant_type: Option<String>,
    /// The refresh token.
    pub refresh_token: String,
    /// What is asked for, separated by spaces; without it, as much as before.
    pub scope: Option<String>,
    /// Whom the token is to be for (RFC 8707 §2).
    pub resource: Option<String>,
    /// The same as `resource`; need be no URI.
    pub audience: Option<String>,
    /// Who asks.
    #[serde(flatten)]
    pub client: ClientParams,
}

impl IntoResponse for Granted {
    fn into_response(self) -> Response {
        Json(TokenResponse {
            access_token: self.access_token,
            token_type: if self.is_bound { "DPoP" } else { "Bearer" },
            expires_in: self.expires_in,
            scope: self.scope.to_string(),
            issued_at: self.issued_at.as_secs(),
            refresh_token: self.refresh_token,
        })
        .into_response()
    }
}

impl DescribeAnswer for Granted {
    fn describe(operation: &mut Description<'_>) {
        operation.json_answer::<TokenResponse>();
    }
}

/// Get an access token (RFC 6749 §3.2)
///
/// For client credentials (§4.4), or for a refresh token (§6).
#[utoipa::path(post, path = "", security(("client" = []), ()), responses(InvalidClient))]
pub async fn token(
    State(app): State<App>,
    origin: Origin,
    uri: Uri,
    headers: HeaderMap,
    ParamsOf(mut params, _): ParamsOf<TokenRequest>,
) -> Result<Granted, OAuthError> {
    let call = Call::new(&app, &origin, &uri, &headers)?;
    match params.require("grant_type")?.as_str() {
        "client_credentials" => client_credentials(&call, params).await,
        "refresh_token" => refresh_token(&call, params).await,
        _ => Err(OAuthError::UnsupportedGrantType),
    }
}

/// Redeem a refresh token
///
/// The documented short form of one of the grants.
#[utoipa::path(post, path = "", security(("client" = []), ()), responses(InvalidClient))]
pub async fn refresh(
    State(app): State<App>,
    origin: Origin,
    uri: Uri,
    headers: HeaderMap,
    ParamsOf(mut params, _): ParamsOf<RefreshRequest>,
) -> Result<Granted, OAuthError> {
    let call = Call::new(&app, &origin, &uri, &headers)?;
    match params.take("grant_type").as_deref() {
        None | Some("refresh_token") => refresh_token(&call, params).await,
        Some(_) => Err(OAuthError::UnsupportedGrantType),
    }
}

/// A request for a token, but for its parameters.
struct Call<'a> {
    app: &'a App,
    origin: &'a Origin,
    headers: &'a HeaderMap,
    /// Its proof of possession, which has not been used up (RFC 9449 §5).
    proof: Option<Proof>,
}

impl<'a> Call<'a> {
    fn new(
        app: &'a App,
        origin: &'a Origin,
        uri: &Uri,
        headers: &'a HeaderMap,
    ) -> Result<Self, OAuthError> {
        let proof = match Dpop::proof_of(headers)? {
            None => None,
            Some(proof) => {
                let proof = app.dpop.verify(proof, uri.path())?;
                // Before anything is granted: a refresh token would be redeemed for nothing.
                app.dpop.check_unused(&proof)?;
                Some(proof)
            }
        };
        Ok(Self {
            app,
            origin,
            headers,
            proof,
        })
    }

    /// What is asked for.
    fn requested(&self, params: &mut Params) -> Result<Requested, OAuthError> {
        Ok(Requested {
            scope: requested_scope(params)?,
            audience: requested_audience(params)?,
            key: self.proof.as_ref().map(Proof::thumbprint),
        })
    }

    /// The answer. The proof is used up last, so that only who gets tokens can fill the guard against replays.
    fn answered(
        &self,
        granted: Result<Granted, GrantError>,
        client: Option<ClientId>,
        credentials: Option<&Credentials>,
        attempt: Attempt<'_>,
    ) -> Result<Granted, OAuthError> {
        match (&granted, credentials) {
            (Ok(_), _) => {
                attempt.succeeded();
            }
            (Err(GrantError::InvalidClient), Some(credentials)) => {
                client_auth::failed(self.app, self.origin, credentials, attempt);
            }
            (Err(GrantError::TooMany(_)), _) => {
                client_auth::over_plan(self.app, self.origin, client);
            }
            _ => {}
        }
        let granted = granted?;
        if let Some(proof) = &self.proof {
            self.app.dpop.redeem(proof)?;
        }
        Ok(granted)
    }
}

async fn client_credentials(call: &Call<'_>, mut params: Params) -> Result<Granted, OAuthError> {
    let Call {
        app,
        origin,
        headers,
        ..
    } = call;
    let credentials = client_auth::require(client_auth::read(app, origin, headers, &mut params)?)?;
    let requested = call.requested(&mut params)?;
    let attempt = client_auth::attempt(app, origin, &credentials).await?;
    let by = origin.by(Actor::Anonymous);
    let granted = app
        .grants
        .client_credentials(&credentials, &requested, &by)
        .await;
    let client = Some(credentials.client_id);
    call.answered(granted, client, Some(&credentials), attempt)
}

async fn refresh_token(call: &Call<'_>, mut params: Params) -> Result<Granted, OAuthError> {
    let Call {
        app,
        origin,
        headers,
        ..
    } = call;
    let mut client = client_auth::read(app, origin, headers, &mut params)?;
    if app.config.access.refresh == ClientAuth::Required {
        client = Presented::Credentials(client_auth::require(client)?);
    }
    let token = params.require("refresh_token")?;
    let requested = call.requested(&mut params)?;
    let attempt = match client.credentials() {
        Some(credentials) => client_auth::attempt(app, origin, credentials).await?,
        None => Attempt::uncounted(),
    };
    let by = origin.by(Actor::Anonymous);
    let granted = app.grants.refresh(&token, &client, &requested, &by).await;
    call.answered(granted, client.client_id(), client.credentials(), attempt)
}

/// `resource` (RFC 8707 §2), or `audience`, which many clients send instead.
fn requested_audience(params: &mut Params) -> Result<Option<String>, OAuthError> {
    match (params.take("resource"), params.take("audience")) {
        (Some(resource), Some(audience)) if resource != audience => Err(OAuthError::InvalidTarget(
            "resource and audience name different targets; a token is for one",
        )),
        (Some(resource), _) => match is_resource(&resource) {
            true => Ok(Some(resource)),
            false => Err(OAuthError::InvalidTarget(
                "resource: an absolute URI without a fragment",
            )),
        },
        (None, audience) => Ok(audience),
    }
}

/// RFC 3986 §4.3
fn is_resource(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !text.contains('#')
}

fn requested_scope(params: &mut Params) -> Result<Option<ScopeSet>, OAuthError> {
    let Some(text) = params.take("scope") else {
        return Ok(None);
    };
    // No agent has more. Making a set compares each scope with all before it, and nobody has proven anything yet.
    if text.len() > MAX_SCOPE_TEXT {
        return Err(OAuthError::InvalidScope(
            "scope: longer than any client's scopes can be",
        ));
    }
    match ScopeSet::parse_lenient_separators(&text) {
        Ok(scope) => Ok(Some(scope)),
        Err(_) => Err(OAuthError::InvalidScope(
            "scope: names of printable ASCII without quotes, separated by spaces",
        )),
    }
}
